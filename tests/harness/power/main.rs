//! The disk that loses its power, as a process: a test that hangs on it can be freed by killing it.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = |text: String| text.parse().ok();
    match (arguments.next(), arguments.next().and_then(seconds)) {
        (Some(directory), Some(seconds)) => quail_tests::power::serve::run(Path::new(&directory), seconds),
        _ => ExitCode::FAILURE,
    }
}
