//! The `quail` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    quail_server::cli::run(std::env::args_os())
}
