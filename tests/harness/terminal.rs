//! Terminals: programs run in tmux, typed to and read as a person would.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A tmux server of its own; killed when dropped.
pub struct Terminals {
    socket: String,
}

/// One window.
pub struct Terminal<'a> {
    terminals: &'a Terminals,
    name: String,
}

impl Terminals {
    /// None yet.
    pub fn new(name: &str) -> Self {
        Self { socket: format!("quail-{name}-{}", std::process::id()) }
    }

    /// A shell in `directory`.
    pub fn open(&self, name: &str, directory: &Path) -> Terminal<'_> {
        let directory = directory.to_str().expect("a printable path");
        let size = ["-x", "160", "-y", "200"];
        let made =
            self.tmux(&[&["new-session", "-d", "-s", name, "-c", directory], &size[..], &["sh"]].concat());
        assert!(made.status.success(), "tmux: {}", String::from_utf8_lossy(&made.stderr));
        Terminal { terminals: self, name: name.into() }
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-L", &self.socket, "-f", "/dev/null"])
            .args(arguments)
            .output()
            .expect("tmux is installed")
    }
}

impl Drop for Terminals {
    fn drop(&mut self) {
        // It is gone already if every shell ended.
        _ = self.tmux(&["kill-server"]);
    }
}

impl Terminal<'_> {
    /// Types a line.
    pub fn type_line(&self, line: &str) {
        self.terminals.tmux(&["send-keys", "-t", &self.name, "-l", line]);
        self.terminals.tmux(&["send-keys", "-t", &self.name, "Enter"]);
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        self.terminals.tmux(&["send-keys", "-t", &self.name, "C-c"]);
    }

    /// What stands on the screen.
    pub fn screen(&self) -> String {
        let captured = self.terminals.tmux(&["capture-pane", "-p", "-J", "-t", &self.name]);
        String::from_utf8_lossy(&captured.stdout).into_owned()
    }

    /// Waits until `text` stands on the screen.
    #[track_caller]
    pub fn expect(&self, text: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.screen().contains(text) {
            assert!(
                Instant::now() < deadline,
                "{text:?} never appeared in {}:\n{}",
                self.name,
                self.screen()
            );
            // tmux tells nobody when a screen changes; asking again costs a process, which is pause enough.
            std::thread::yield_now();
        }
    }
}
