//! The mark: a synced note of the last committed batch, outside of the engine's files.
//!
//! The engine takes a journal that was cut in the middle for a shorter one. The mark says how far it must reach. Two
//! slots are written in turn, so that a torn write leaves the other.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"quailmrk";

/// A slot fills a disk sector, so that writing one does not touch the other.
const SLOT_BYTES: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    batch: u64,
    /// Where the next mark goes: not over the newest.
    next: u64,
}

impl Mark {
    /// Makes the file, preallocated and synced, at batch 0.
    pub(super) fn create(path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all_at(&[0; 2 * SLOT_BYTES as usize], 0)?;
        file.write_all_at(&slot(0), 0)?;
        file.sync_all()
    }

    /// Opens the file. An error of kind `InvalidData` says that neither slot is whole.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let read = |at| {
            let mut bytes = [0; 24];
            file.read_exact_at(&mut bytes, at).ok()?;
            let batch = u64::from_be_bytes(*bytes[8..].first_chunk()?);
            (bytes == slot(batch)).then_some(batch)
        };
        let (first, second) = (read(0), read(SLOT_BYTES));
        let batch = first.max(second);
        let batch = batch.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the mark is damaged"))?;
        let next = if first == Some(batch) { SLOT_BYTES } else { 0 };
        Ok(Self { file, batch, next })
    }

    /// The batch that was marked last.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    /// Marks `batch` and syncs. Lower numbers than the last are ignored.
    pub(super) fn set(&mut self, batch: u64) -> io::Result<()> {
        if batch <= self.batch {
            return Ok(());
        }
        self.write(batch)
    }

    /// Marks `batch` even if it is lower: what was above it is given up.
    pub(super) fn reset(&mut self, batch: u64) -> io::Result<()> {
        self.write(batch)?;
        // The other slot holds a higher one.
        self.write(batch)
    }

    fn write(&mut self, batch: u64) -> io::Result<()> {
        self.file.write_all_at(&slot(batch), self.next)?;
        self.file.sync_data()?;
        self.batch = batch;
        self.next = SLOT_BYTES - self.next;
        Ok(())
    }
}

fn slot(batch: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&batch.to_be_bytes());
    let sum = xxh3_64(&bytes[..16]);
    bytes[16..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_slot_counts() {
        let directory = std::env::temp_dir().join(format!("quail-mark-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("mark");
        _ = std::fs::remove_file(&path);
        Mark::create(&path).unwrap();
        let mut mark = Mark::open(&path).unwrap();
        assert_eq!(mark.batch(), 0);
        for batch in [1, 2, 7, 3] {
            mark.set(batch).unwrap();
        }
        assert_eq!(Mark::open(&path).unwrap().batch(), 7);
        mark.file.write_all_at(b"torn", SLOT_BYTES - mark.next + 4).unwrap();
        assert_eq!(Mark::open(&path).unwrap().batch(), 2);
        mark.file.write_all_at(b"torn", mark.next + 4).unwrap();
        assert_eq!(Mark::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
