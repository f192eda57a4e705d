//! The command line: `serve` (the default), `token`, `check-config`, `chat`.
//!
//! [`chat`] is the one place in this crate that names the client: it is a user of the server that happens to live in
//! the same binary.

pub mod chat;
pub mod serve;
pub mod token;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::config::Config;

/// Quail, a realtime messaging server over QUIC.
#[derive(Debug, Parser)]
// Flags before a subcommand would go unheard.
#[command(name = "quail", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    Serve(serve::Options),
    /// Sign a login token.
    Token(token::Options),
    /// Print the configuration in force, secrets hidden.
    CheckConfig(serve::Options),
    /// Chat in a terminal.
    Chat(chat::Options),
}

/// Where a command finds a server's files.
#[derive(Clone, Debug, Args)]
pub struct DataDir {
    /// The server's data directory.
    #[arg(long, value_name = "DIR", default_value = "quail-data")]
    data_dir: PathBuf,
}

/// Runs the command line and says how it ended. Errors are one sentence on standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell when the terminal is gone.
            _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(options) => block_on(serve::run(options)),
        Command::Token(options) => token::run(options),
        Command::CheckConfig(options) => check_config(options),
        Command::Chat(options) => block_on(chat::run(options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever closed standard error learns it from the exit code.
            _ = writeln!(io::stderr(), "quail: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(future);
    // Reading standard input blocks a thread that nothing can wake.
    runtime.shutdown_background();
    done
}

fn check_config(options: serve::Options) -> anyhow::Result<()> {
    let config: Config = options.config()?;
    print(format_args!("{}", config.to_toml()?))
}

/// Writes to standard output, which may be a pipe whose reader is gone.
fn print(text: fmt::Arguments<'_>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// An error and its causes on one line, those left out that the line says already.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.ends_with(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot use x: no such file").context("not started");
        assert_eq!(super::sentence(&error), "not started: cannot use x: no such file");
    }
}
