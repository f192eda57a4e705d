//! The `quail` command, built where tests can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    quail_server::cli::run(std::env::args_os())
}
