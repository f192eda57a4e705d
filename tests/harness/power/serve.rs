//! The file system process: `disk` behind FUSE, ruled by lines on standard input.
//!
//! In the mounted directory every directory is a disk of its own: those that were made there, and what power losses
//! left, which come to be when their name is looked up. Their files have numbers of their own, so that nothing the
//! kernel remembers of one disk is taken for another: looking at one is like starting a machine.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, BufRead, Write},
    path::Path,
    process::{Command, ExitCode},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::disk::{Disk, Loss, Node, ROOT};

/// A file's number is its disk's and its own.
const NODE_BITS: u32 = 32;

/// How long the kernel may keep names and sizes: it makes every change itself.
const KEEP: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct State {
    disks: BTreeMap<u64, Disk>,
    /// Disks by the name of their directory.
    mounted: BTreeMap<OsString, u64>,
    last: u64,
    /// Whose sync points count.
    watched: u64,
    points: Vec<Disk>,
    ignore_files: bool,
    ignore_directories: bool,
}

impl State {
    fn open_disk(&mut self, name: &OsStr, disk: Disk) -> u64 {
        self.last += 1;
        self.disks.insert(self.last, disk);
        self.mounted.insert(name.to_owned(), self.last);
        self.last
    }

    /// Which disk and node a number names.
    fn disk(&mut self, number: INodeNo) -> Option<(&mut Disk, u64)> {
        let disk = self.disks.get_mut(&(number.0 >> NODE_BITS))?;
        Some((disk, number.0 & ((1 << NODE_BITS) - 1)))
    }

    fn lookup(&mut self, parent: INodeNo, name: &OsStr) -> Option<FileAttr> {
        if parent == INodeNo::ROOT {
            let disk = match self.mounted.get(name) {
                Some(disk) => *disk,
                None => {
                    let loss: Loss = name.to_str()?.parse().ok()?;
                    let left = self.points.get(loss.point)?.after_power_loss(&loss);
                    self.open_disk(name, left)
                }
            };
            return self.attributes(INodeNo(disk << NODE_BITS | ROOT));
        }
        let (disk, directory) = self.disk(parent)?;
        let child = disk.child(directory, name)?;
        self.attributes(sibling(parent, child))
    }

    fn attributes(&mut self, number: INodeNo) -> Option<FileAttr> {
        if number == INodeNo::ROOT {
            return Some(attributes(number, None));
        }
        let (disk, node) = self.disk(number)?;
        Some(attributes(number, disk.node(node)))
    }

    fn add(&mut self, parent: INodeNo, name: &OsStr, node: Node) -> Option<FileAttr> {
        if parent == INodeNo::ROOT {
            let disk = self.open_disk(name, Disk::new());
            self.watched = disk;
            return self.lookup(parent, name);
        }
        let (disk, directory) = self.disk(parent)?;
        let child = disk.add(directory, name, node)?;
        self.attributes(sibling(parent, child))
    }

    fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Option<()> {
        if parent == INodeNo::ROOT {
            let disk = self.mounted.remove(name)?;
            self.disks.remove(&disk);
            return Some(());
        }
        let (disk, directory) = self.disk(parent)?;
        disk.remove(directory, name).map(drop)
    }

    /// The power may go while something is synced: before it takes effect, this is a sync point.
    fn sync(&mut self, number: INodeNo, ignored: bool) -> Option<()> {
        if number.0 >> NODE_BITS == self.watched {
            self.cut();
        }
        let (disk, node) = self.disk(number)?;
        if !ignored {
            disk.node_mut(node)?.sync();
        }
        Some(())
    }

    fn cut(&mut self) {
        if let Some(disk) = self.disks.get(&self.watched) {
            self.points.push(disk.clone());
        }
    }

    fn obey(&mut self, command: &str) {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("cut", _) => self.cut(),
            ("watch", name) => {
                if let Some(disk) = self.mounted.get(OsStr::new(name)) {
                    self.watched = *disk;
                }
            }
            ("ignore", what) => {
                (self.ignore_files, self.ignore_directories) = (what == "files", what == "directories");
            }
            _ => {}
        }
    }
}

fn sibling(number: INodeNo, node: u64) -> INodeNo {
    INodeNo((number.0 >> NODE_BITS) << NODE_BITS | node)
}

fn attributes(number: INodeNo, node: Option<&Node>) -> FileAttr {
    let (kind, size) = match node {
        Some(Node::File { now, .. }) => (FileType::RegularFile, now.length() as u64),
        _ => (FileType::Directory, 0),
    };
    FileAttr {
        ino: number,
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 4096,
    }
}

#[derive(Clone, Default)]
struct Mounted(Arc<Mutex<State>>);

impl Mounted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(attributes: Option<FileAttr>, reply: ReplyEntry) {
    match attributes {
        Some(attributes) => reply.entry(&KEEP, &attributes, Generation(0)),
        None => reply.error(Errno::ENOENT),
    }
}

fn done(outcome: Option<()>, reply: ReplyEmpty) {
    match outcome {
        Some(()) => reply.ok(),
        None => reply.error(Errno::ENOENT),
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Preallocated journals are read to their end; small requests would take most of the time.
        if let Err(most) = config.set_max_readahead(1 << 20) {
            _ = config.set_max_readahead(most);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.state().lookup(parent, name), reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state().attributes(number) {
            Some(attributes) => reply.attr(&KEEP, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let (Some(size), Some((disk, node))) = (size, self.state().disk(number)) {
            _ = disk.node_mut(node).and_then(|node| node.set_length(size as usize));
        }
        self.getattr(request, number, handle, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(self.state().add(parent, name, Node::directory()), reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        if parent == INodeNo::ROOT {
            return reply.error(Errno::EPERM);
        }
        match self.state().add(parent, name, Node::file()) {
            Some(attributes) => {
                reply.created(&KEEP, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().remove(parent, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().remove(parent, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let to = new_parent.0 & ((1 << NODE_BITS) - 1);
        let mut state = self.state();
        let renamed =
            state.disk(parent).and_then(|(disk, directory)| disk.rename((directory, name), (to, new_name)));
        done(renamed, reply);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        count: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        match state.disk(number).and_then(|(disk, node)| disk.node(node)) {
            Some(Node::File { now, .. }) => reply.data(&now.read(at as usize, count as usize)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        let node = state.disk(number).and_then(|(disk, node)| disk.node_mut(node));
        match node.and_then(|node| node.write(at as usize, bytes)) {
            Some(()) => reply.written(bytes.len() as u32),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.state();
        let ignored = state.ignore_files;
        done(state.sync(number, ignored), reply);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.state();
        let ignored = state.ignore_directories;
        done(state.sync(number, ignored), reply);
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, from: u64, mut reply: ReplyDirectory) {
        let mut state = self.state();
        if let Some((disk, directory)) = state.disk(number) {
            let names = disk.names(directory).into_iter().flatten();
            for ((name, node), place) in names.zip(1..).skip(from as usize) {
                let kind = attributes(number, disk.node(*node)).kind;
                if reply.add(sibling(number, *node), place, kind, name) {
                    break;
                }
            }
        }
        reply.ok();
    }
}

/// Mounts on a directory, says so, and obeys until standard input ends. After so many seconds it goes whatever the test
/// does, and whoever waits for it gets an error.
pub fn run(directory: &Path, seconds: u64) -> ExitCode {
    let mounted = Mounted::default();
    let session = match fuser::spawn_mount(mounted.clone(), directory, &Config::default()) {
        Ok(session) => session,
        Err(error) => {
            println!("no file system can be mounted on {}: {error}", directory.display());
            return ExitCode::FAILURE;
        }
    };
    println!("mounted");
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let mut state = mounted.state();
            state.obey(&line);
            if writeln!(io::stdout(), "{}", state.points.len()).is_err() {
                break;
            }
        }
        _ = ended.send(());
    });
    let in_time = end.recv_timeout(Duration::from_secs(seconds)).is_ok();
    unmount(directory);
    drop(session);
    if in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whatever still waits for the file system gets an error, and the directory is empty again.
pub(super) fn unmount(directory: &Path) {
    for how in ["-f", "-l"] {
        // The first may have done it.
        _ = Command::new("umount").arg(how).arg(directory).stderr(std::process::Stdio::null()).status();
    }
}
