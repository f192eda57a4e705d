//! The real binary as a process of its own.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use quail_tests::PATIENCE;

pub(crate) const QUAIL: &str = env!("CARGO_BIN_EXE_quail-under-test");

/// Flags that let a server listen wherever there is room.
pub(crate) const ANYWHERE: [&str; 6] =
    ["--quic", "127.0.0.1:0", "--websocket", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// The `quail` command in `directory`, with nothing of this process's own configuration.
pub(crate) fn quail<S: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(QUAIL);
    command.current_dir(directory).args(arguments).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"QUAIL_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a process said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Ended {
    Process::start(&mut command).end()
}

/// A running process. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    seen: String,
}

impl Process {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        Self { child, stdout: lines(stdout), stderr: lines(stderr), seen: String::new() }
    }

    /// A development server that has announced itself; its data directory is `quail-data` in `directory`.
    #[track_caller]
    pub(crate) fn serve(directory: &Path) -> Self {
        let mut server = Self::start(&mut quail(directory, ANYWHERE));
        server.until("--as bob");
        server
    }

    /// Types a line.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("standard input is piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Reads standard output up to a line with `text` and returns all of it so far.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> &str {
        loop {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(line) => self.seen += &line,
                Err(_) => panic!("{text:?} never came; stdout so far: {}", self.seen),
            }
            if self.seen.lines().last().is_some_and(|line| line.contains(text)) {
                return &self.seen;
            }
        }
    }

    /// The word behind `label` in what a server announced.
    #[track_caller]
    pub(crate) fn announced(&self, label: &str) -> &str {
        let line = self.seen.lines().find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label} in {}", self.seen)).trim()
    }

    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs").success());
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let mut stdout = std::mem::take(&mut self.seen);
        let mut stderr = String::new();
        for (lines, text) in [(&self.stdout, &mut stdout), (&self.stderr, &mut stderr)] {
            loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) => *text += &line,
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("it goes on: {text}"),
                }
            }
        }
        Ended { status: self.child.wait().expect("it has ended"), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already in the good case.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}
