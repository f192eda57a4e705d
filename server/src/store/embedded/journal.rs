//! Reads the engine's journals before the engine does.
//!
//! fjall 3.1 has two weaknesses that power loss and damage find: a torn last batch of large values keeps it from
//! opening, and a batch damaged in the middle ends the journal silently. So this looks first: every batch must be whole
//! and our numbers must follow each other; what is torn behind the last batch is cut; anything else is refused and left
//! untouched. The format read here is that of fjall 3.1's `journal/entry.rs`, and the dependency is pinned to it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

/// Each commit writes its number under this key, in the keyspace of single values.
pub(super) const BATCH_KEY: &[u8] = b"quail.batch";

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// Ends every batch, behind its checksum.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Type, compression, keyspace, lengths of key and value, and the value's length on disk.
const ITEM_HEADER_BYTES: usize = 1 + 1 + 8 + 2 + 4 + 4;

/// Longer values are no values of ours.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// What the journals hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Our first and last batch number, if there is one.
    pub(super) batches: Option<(u64, u64)>,
    /// A file whose end is torn, and how much of it is whole.
    pub(super) torn: Option<(PathBuf, u64)>,
    /// Whole batches stand behind something that is not one, or numbers are missing.
    pub(super) damage: Option<String>,
}

/// Reads every journal in `directory`, oldest first.
pub(super) fn scan(directory: &Path) -> io::Result<Scan> {
    let mut journals = vec![];
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jnl"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            journals.push((number, path));
        }
    }
    journals.sort();
    let mut scan = Scan::default();
    for (_, path) in &journals {
        if let Some((torn, _)) = &scan.torn {
            scan.damage = Some(format!("{} ends in the middle and is not the last", torn.display()));
            break;
        }
        scan_file(path, &mut scan)?;
    }
    Ok(scan)
}

/// Cuts a torn end off and syncs.
pub(super) fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn scan_file(path: &Path, scan: &mut Scan) -> io::Result<()> {
    let mut reader = Reader { inner: BufReader::with_capacity(1 << 16, File::open(path)?), position: 0 };
    loop {
        let whole = reader.position;
        match read_batch(&mut reader)? {
            Batch::Whole(None) => {}
            Batch::Whole(Some(number)) => {
                let (first, last) = scan.batches.unwrap_or((number, number.wrapping_sub(1)));
                if number != last.wrapping_add(1) {
                    scan.damage.get_or_insert(format!("batch {number} stands behind batch {last}"));
                }
                scan.batches = Some((first, number));
            }
            Batch::End => return Ok(()),
            Batch::Broken => {
                // Batches are synced one by one: a whole one behind this one says that this one was whole, too.
                if followed_by_batch(path, whole)? {
                    let text = format!("{} is damaged at byte {whole}", path.display());
                    scan.damage.get_or_insert(text);
                }
                scan.torn = Some((path.to_owned(), whole));
                return Ok(());
            }
        }
    }
}

enum Batch {
    /// A batch that is whole, and its number if it is ours.
    Whole(Option<u64>),
    /// Neither a batch nor the beginning of one: the preallocated rest, or the end of the file.
    End,
    /// Something that is no whole batch.
    Broken,
}

struct Reader<R> {
    inner: R,
    position: u64,
}

impl<R: Read> Reader<R> {
    /// Reads exactly so many bytes; `None` if the file ends before.
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<Option<()>> {
        match self.inner.read_exact(bytes) {
            Ok(()) => {
                self.position += bytes.len() as u64;
                Ok(Some(()))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok(self.take(&mut bytes)?.map(|()| bytes))
    }
}

fn read_batch(reader: &mut Reader<impl Read>) -> io::Result<Batch> {
    match reader.array()? {
        None => return Ok(Batch::End),
        // The rest of a preallocated file, if nothing but zeros follows.
        Some([0]) => return Ok(if only_zeros(reader)? { Batch::End } else { Batch::Broken }),
        Some([START]) => {}
        Some(_) => return Ok(Batch::Broken),
    }
    Ok(read_body(reader)?.map_or(Batch::Broken, Batch::Whole))
}

/// Reads what follows a start marker; `None` if it is not a whole batch.
fn read_body(reader: &mut Reader<impl Read>) -> io::Result<Option<Option<u64>>> {
    let Some(start) = reader.array::<12>()? else { return Ok(None) };
    let mut items = u32::from_le_bytes([start[0], start[1], start[2], start[3]]);
    let mut checksum = Xxh3::new();
    let mut number = None;
    loop {
        let Some([tag]) = reader.array()? else { return Ok(None) };
        match tag {
            ITEM if items > 0 => {
                items -= 1;
                let Some(header) = reader.array::<ITEM_HEADER_BYTES>()? else { return Ok(None) };
                let key_bytes = usize::from(u16::from_le_bytes([header[10], header[11]]));
                let value_bytes =
                    u32::from_le_bytes([header[16], header[17], header[18], header[19]]) as usize;
                if value_bytes > VALUE_BYTES_MAX {
                    return Ok(None);
                }
                let mut item = vec![0; key_bytes + value_bytes];
                if reader.take(&mut item)?.is_none() {
                    return Ok(None);
                }
                checksum.update(&[ITEM]);
                checksum.update(&header);
                checksum.update(&item);
                let (key, value) = item.split_at(key_bytes);
                if key == BATCH_KEY {
                    number = value.try_into().ok().map(u64::from_be_bytes);
                }
            }
            CLEAR if items > 0 => {
                items -= 1;
                let Some(keyspace) = reader.array::<8>()? else { return Ok(None) };
                checksum.update(&[CLEAR]);
                checksum.update(&keyspace);
            }
            END if items == 0 => {
                let Some(sum) = reader.array::<8>()? else { return Ok(None) };
                let trailer = reader.array()?;
                let whole = trailer == Some(TRAILER) && u64::from_le_bytes(sum) == checksum.digest();
                return Ok(whole.then_some(number));
            }
            _ => return Ok(None),
        }
    }
}

fn only_zeros(reader: &mut Reader<impl Read>) -> io::Result<bool> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut bytes = [0; 1 << 16];
    loop {
        match reader.inner.read(&mut bytes)? {
            0 => return Ok(true),
            count if bytes[..count] == ZEROS[..count] => {}
            _ => return Ok(false),
        }
    }
}

/// True if a whole batch of ours begins anywhere behind `position`.
fn followed_by_batch(path: &Path, position: u64) -> io::Result<bool> {
    let bytes = fs::read(path)?;
    let behind = bytes.get(usize::try_from(position).unwrap_or(usize::MAX)..).unwrap_or_default();
    for (i, _) in behind.iter().enumerate().skip(1).filter(|(_, byte)| **byte == START) {
        let mut reader = Reader { inner: &behind[i + 1..], position: 0 };
        if let Some(Some(_)) = read_body(&mut reader)? {
            return Ok(true);
        }
    }
    Ok(false)
}
