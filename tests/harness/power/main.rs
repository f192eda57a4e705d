//! The disk that loses its power, as a process: a test that hangs on it can be freed by killing it.

use std::process::ExitCode;

fn main() -> ExitCode {
    quail_tests::power::serve::run(std::env::args_os().nth(1))
}
