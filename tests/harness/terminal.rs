//! Terminals: programs run in tmux, typed to and read as a person would.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
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
    /// One for every line that tmux says about this window, its output among them.
    changes: Receiver<()>,
    watcher: Child,
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
        let mut watcher = self.command();
        let watcher = watcher.args(["-C", "attach-session", "-f", "ignore-size,read-only", "-t", name]);
        let mut watcher =
            watcher.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tmux is installed");
        let said = BufReader::new(watcher.stdout.take().expect("standard output is piped"));
        let (change, changes) = mpsc::channel();
        thread::spawn(move || {
            for _ in said.split(b'\n').map_while(Result::ok) {
                if change.send(()).is_err() {
                    break;
                }
            }
        });
        Terminal { terminals: self, name: name.into(), changes, watcher }
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("tmux is installed")
    }

    /// tmux, with the environment of a person and not that of a test: its shells inherit it.
    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if (name.starts_with("CARGO_") && name != "CARGO_HOME") || name.starts_with("QUAIL_") {
                command.env_remove(&*name);
            }
        }
        command.args(["-L", &self.socket, "-f", "/dev/null"]);
        command
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
            let left = deadline.saturating_duration_since(Instant::now());
            let changed = self.changes.recv_timeout(left);
            assert!(changed.is_ok(), "{text:?} never appeared in {}:\n{}", self.name, self.screen());
            while self.changes.try_recv().is_ok() {}
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // It ends by itself when the window is gone.
        _ = self.watcher.kill();
        _ = self.watcher.wait();
    }
}
