//! A disk whose power goes, and what is left of it then.
//!
//! A process of its own serves it as a file system, so that a test that fails or hangs can be freed. At each sync it
//! takes note of everything that was synced and everything that was not; [`Loss`] says what of that is left.

mod disk;
pub mod serve;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

pub use self::disk::{Data, Loss, Names, Random};

/// What a disk may pretend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Syncs of files say that they are done and do nothing.
    Files,
    /// Syncs of directories say so.
    Directories,
}

/// A mounted directory. Each directory in it is a disk; the one made last is watched.
pub struct Power {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    mount: TempDir,
}

impl Power {
    /// Mounts the file system that `binary` serves, for at most so many seconds.
    pub fn mount(binary: &Path, seconds: u64) -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is not there: a power loss can be tried only where FUSE is, load its kernel module"
        );
        let mount = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new(binary)
            .arg(mount.path())
            .arg(seconds.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the file system starts");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut power = Self { child, commands, answers, mount };
        let answer = power.answer();
        assert!(answer == "mounted", "FUSE is there, but {answer}; mounting takes root");
        power
    }

    /// A new disk, which is watched from now on.
    pub fn disk(&self, name: &str) -> PathBuf {
        let disk = self.mount.path().join(name);
        std::fs::create_dir(&disk).expect("a disk");
        disk
    }

    /// What is left after a power loss. The same again while it is not removed.
    pub fn after(&self, loss: &Loss) -> PathBuf {
        let disk = self.mount.path().join(loss.name());
        assert!(disk.is_dir(), "there was no sync point {}", loss.point);
        disk
    }

    /// Counts the sync points of this disk from now on, behind those that were counted.
    pub fn watch(&mut self, disk: &Path) {
        let name = disk.file_name().and_then(|name| name.to_str()).expect("a disk");
        self.command(&format!("watch {name}"));
    }

    /// Begins to lie, or stops.
    pub fn lie(&mut self, lie: Option<Lie>) {
        self.command(match lie {
            None => "ignore nothing",
            Some(Lie::Files) => "ignore files",
            Some(Lie::Directories) => "ignore directories",
        });
    }

    /// How many sync points there were.
    pub fn points(&mut self) -> usize {
        self.command("points")
    }

    /// Takes the moment for a sync point.
    pub fn cut(&mut self) -> usize {
        self.command("cut")
    }

    /// Forgets a disk.
    pub fn remove(&self, disk: &Path) {
        std::fs::remove_dir(disk).expect("a disk");
    }

    fn command(&mut self, command: &str) -> usize {
        writeln!(self.commands, "{command}").expect("the file system lives");
        let answer = self.answer();
        answer.parse().expect("a number of sync points")
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the file system answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        // It may be gone already; a file system without a process answers with errors and can be unmounted.
        _ = self.child.kill();
        _ = self.child.wait();
        serve::unmount(self.mount.path());
    }
}
