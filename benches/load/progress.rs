//! One line that says what is going on.

use std::io::{IsTerminal, Write};

/// The line, on standard error.
pub(crate) struct Progress {
    terminal: bool,
    width: usize,
}

impl Progress {
    /// Nothing said yet.
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), width: 0 }
    }

    /// Replaces the line; where there is no terminal, adds one.
    pub(crate) fn say(&mut self, text: &str) {
        let mut err = std::io::stderr().lock();
        // Who does not want to see it loses nothing.
        _ = if self.terminal {
            write!(err, "\r{text:<width$}", width = self.width)
        } else {
            writeln!(err, "{text}")
        };
        _ = err.flush();
        self.width = text.chars().count();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.width > 0 {
            eprint!("\r{:width$}\r", "", width = self.width);
        }
    }
}
