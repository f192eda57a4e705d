//! A storage in one file: a log of changes, each checked, rewritten when most of it is of the past.
//!
//! A record is a head of 16 bytes and a body. The head is the body's length (u32), its checksum (u64), and the first half
//! of the checksum of those twelve bytes (u32), little-endian. The head's own checksum tells a length that was damaged
//! from a record that was not written to its end.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use super::{Entry, Storage};

/// What a file begins with.
const MAGIC: &[u8] = b"quail-c1";

const HEAD_BYTES: usize = 16;

/// A file below this size is not worth rewriting.
const COMPACT_BYTES_MIN: u64 = 64 * 1024;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another client uses it, in this process or another.
    #[error("{} is in use", .0.display())]
    InUse(PathBuf),
    /// It is no file of a client, or of a newer one.
    #[error("{} is no storage of a client", .0.display())]
    Foreign(PathBuf),
    /// What stands at a place was changed since it was written, and more follows. Without the file, the app begins anew.
    #[error("{} is damaged at byte {at}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first record that cannot be read begins.
        at: u64,
    },
    /// The file system failed.
    #[error("cannot open {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
}

/// Keeps everything in one file per app, user and device, and next to it one that ends in `.lock` and stays empty.
///
/// The file has the conversations and the messages that were not sent yet in it; on Unix only its owner may read it. It
/// outlives the end of the process at any moment. After a power cut the last changes may be missing: some events come
/// again, and a message that was just being sent may not be among the unsent ones.
///
/// ```no_run
/// # fn f() -> Result<(), quail_client::storage::OpenError> {
/// use quail_client::{Client, storage::File};
///
/// let builder = Client::builder("chat.example.org:443").app("demo").user("alice").storage(File::open("alice.quail")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Length of the file.
    bytes: u64,
    /// What of it the entries would take if they were written once.
    live: u64,
    /// A change could be written in part only, and not be taken back.
    torn: bool,
    _lock: fs::File,
}

impl File {
    /// Opens a file, or makes it; its directory must exist. What the last change left unfinished is cut off.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let failed = |source| OpenError::Io { path: path.clone(), source };
        let lock = private().write(true).create(true).open(beside(&path, ".lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(path.clone()),
            TryLockError::Error(source) => failed(source),
        })?;
        let mut file = private().read(true).write(true).create(true).open(&path).map_err(failed)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let mut entries = BTreeMap::new();
        let good = read(&text, &mut entries).map_err(|fault| match fault {
            Fault::Foreign => OpenError::Foreign(path.clone()),
            Fault::Damaged(at) => OpenError::Damaged { path: path.clone(), at: at as u64 },
        })?;
        let live = MAGIC.len() as u64 + entries.iter().map(|(key, value)| size(key, value)).sum::<u64>();
        let mut storage =
            Self { path: path.clone(), file, entries, bytes: good as u64, live, torn: false, _lock: lock };
        storage.begin(text.len()).map_err(failed)?;
        Ok(storage)
    }

    /// Cuts off what is unfinished and writes what every file begins with.
    fn begin(&mut self, length: usize) -> io::Result<()> {
        if length as u64 > self.bytes {
            tracing::debug!(path = %self.path.display(), at = self.bytes, length, "an unfinished change is cut off");
            self.file.set_len(self.bytes)?;
        }
        self.file.seek(SeekFrom::Start(self.bytes))?;
        if self.bytes == 0 {
            self.file.write_all(MAGIC)?;
            self.bytes = MAGIC.len() as u64;
        }
        Ok(())
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("a change before could not be written"));
        }
        let record = record(key, value)?;
        if let Err(error) = self.file.write_all(&record) {
            let cut =
                self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            self.torn = cut.is_err();
            return Err(error);
        }
        self.bytes += record.len() as u64;
        Ok(())
    }

    /// Writes the file anew if most of it is of the past. If that fails the long file is as good.
    fn compact(&mut self) {
        if self.bytes >= COMPACT_BYTES_MIN
            && self.bytes / 2 >= self.live
            && let Err(error) = self.rewrite()
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot be written anew");
        }
    }

    /// It is the old or the new file at any moment.
    fn rewrite(&mut self) -> io::Result<()> {
        let aside = beside(&self.path, ".new");
        let mut file = private().write(true).create(true).truncate(true).open(&aside)?;
        let mut text = MAGIC.to_vec();
        for (key, value) in &self.entries {
            text.extend(record(key, Some(value))?);
        }
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&aside, &self.path)?;
        (self.file, self.bytes, self.live) = (file, text.len() as u64, text.len() as u64);
        Ok(())
    }
}

impl Storage for File {
    fn load(&mut self) -> io::Result<Vec<Entry>> {
        Ok(self.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.append(key, Some(value))?;
        self.live += size(key, value);
        if let Some(before) = self.entries.insert(key.to_vec(), value.to_vec()) {
            self.live -= size(key, &before);
        }
        self.compact();
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> io::Result<()> {
        if !self.entries.contains_key(key) {
            return Ok(());
        }
        self.append(key, None)?;
        if let Some(before) = self.entries.remove(key) {
            self.live -= size(key, &before);
        }
        self.compact();
        Ok(())
    }
}

/// Only the owner may read what is made.
fn private() -> OpenOptions {
    let mut options = fs::File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Length of the key, the key, and 0 for a removal or 1 and the value.
fn record(key: &[u8], value: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(key.len() + value.map_or(0, <[u8]>::len) + 3);
    let length = u16::try_from(key.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    body.extend(length.to_le_bytes());
    body.extend(key);
    body.push(value.is_some().into());
    body.extend(value.unwrap_or_default());
    let mut record = Vec::with_capacity(HEAD_BYTES + body.len());
    record.extend(u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes());
    record.extend(xxh3_64(&body).to_le_bytes());
    record.extend(&xxh3_64(&record).to_le_bytes()[..4]);
    record.extend(body);
    Ok(record)
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (HEAD_BYTES + 3 + key.len() + value.len()) as u64
}

enum Fault {
    Foreign,
    Damaged(usize),
}

/// Reads records and returns where the last good one ends. What a process or the power left unfinished can only stand at
/// the end.
fn read(text: &[u8], entries: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<usize, Fault> {
    if MAGIC.starts_with(text) && text.len() < MAGIC.len() {
        return Ok(0);
    }
    let mut rest = text.strip_prefix(MAGIC).ok_or(Fault::Foreign)?;
    loop {
        let at = text.len() - rest.len();
        let Some((head, behind)) = rest.split_first_chunk::<HEAD_BYTES>() else { return Ok(at) };
        if xxh3_64(&head[..12]).to_le_bytes()[..4] != head[12..] {
            // A file that grew without its bytes.
            let empty = rest.iter().all(|byte| *byte == 0);
            return if empty { Ok(at) } else { Err(Fault::Damaged(at)) };
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((body, after)) = behind.split_at_checked(length) else { return Ok(at) };
        if xxh3_64(body).to_le_bytes() != head[4..12] {
            return if after.is_empty() { Ok(at) } else { Err(Fault::Damaged(at)) };
        }
        let (key, value) = parts(body).ok_or(Fault::Damaged(at))?;
        match value {
            Some(value) => entries.insert(key.to_vec(), value.to_vec()),
            None => entries.remove(key),
        };
        rest = after;
    }
}

fn parts(body: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    match rest.split_first()? {
        (0, []) => Some((key, None)),
        (1, value) => Some((key, Some(value))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
