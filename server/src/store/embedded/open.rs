//! Making a store, finding what is damaged in it, and opening it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use quail_protocol::{Epoch, id::ClientMessageId};

use super::{
    Config, Embedded, Inner,
    journal::{self, BATCH_KEY},
    keys,
    mark::Mark,
    reads::Short,
    write::Writer,
};
use crate::clock::Clock;

/// Why the store of a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read or written.
    #[error("store {path} cannot be used: {source}")]
    Io {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Messages that were acknowledged are not there. Nothing was changed.
    #[error(
        "store {path} is damaged: {what}. Nothing was changed. Restore a backup, or start once with \
         --accept-data-loss to go on with what is left; the directory as it is will be kept beside it"
    )]
    Damaged {
        /// Which directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The engine refused.
    #[error("store {path} cannot be opened: {source}")]
    Engine {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: fjall::Error,
    },
    /// Another version of Quail wrote it.
    #[error("store {path} has layout {found}, this version reads {}", keys::SCHEMA)]
    Schema {
        /// Which directory.
        path: PathBuf,
        /// What was found.
        found: String,
    },
}

const SCHEMA_KEY: &[u8] = b"quail.schema";
const GENERATION_KEY: &[u8] = b"quail.generation";
const ENGINE: &str = "engine";
const MARK: &str = "mark";
const KEYSPACES: [&str; 10] =
    ["singles", "entries", "changes", "dedup", "heads", "profiles", "views", "feeds", "news", "rooms"];

impl Embedded {
    /// Opens the store of `directory`, or makes it. `accept_data_loss` goes on where messages are missing, and keeps
    /// the directory as it was beside it.
    pub fn open(
        directory: &Path,
        config: &Config,
        accept_data_loss: bool,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: directory.to_owned(), source };
        if !directory.exists() {
            create(directory, config)?;
        }
        let damaged = |what| OpenError::Damaged { path: directory.to_owned(), what };
        let mut mark = Mark::open(&directory.join(MARK)).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound => damaged(format!("its mark: {error}")),
            _ => failed(error),
        });
        if accept_data_loss && matches!(mark, Err(OpenError::Damaged { .. })) {
            keep_aside(directory).map_err(failed)?;
            _ = fs::remove_file(directory.join(MARK));
            Mark::create(&directory.join(MARK)).map_err(failed)?;
            mark = Mark::open(&directory.join(MARK)).map_err(failed);
        }
        let mark = mark?;
        let engine = directory.join(ENGINE);
        let scan = journal::scan(&engine).map_err(failed)?;
        let missing = scan.damage.clone().or_else(|| {
            let (_, last) = scan.batches.filter(|(_, last)| *last < mark.batch())?;
            Some(ends_early(last, mark.batch()))
        });
        // Without a batch in a journal it is only the engine that can miss something.
        if accept_data_loss && (missing.is_some() || scan.batches.is_none()) {
            keep_aside(directory).map_err(failed)?;
        }
        if let Some(what) = missing {
            if !accept_data_loss {
                return Err(damaged(what));
            }
            tracing::error!(what, "going on with a damaged store");
        }
        let Some((path, length)) = &scan.torn else {
            return Self::open_engine(directory, config, accept_data_loss, mark, clock);
        };
        // Journals whose batches are all in tables are gone. If there is nothing but a torn batch, only the engine knows
        // whether its tables reach the mark, and it cannot say so before the cut.
        let uncut = if scan.batches.is_none() { Some(fs::read(path).map_err(failed)?) } else { None };
        tracing::warn!(path = %path.display(), length, "cutting what was never acknowledged off a journal");
        journal::cut(path, *length).map_err(failed)?;
        let opened = Self::open_engine(directory, config, accept_data_loss, mark, clock);
        if let (Err(OpenError::Damaged { .. }), Some(bytes)) = (&opened, uncut) {
            fs::write(path, bytes).and_then(|()| File::open(path)?.sync_all()).map_err(failed)?;
        }
        opened
    }

    fn open_engine(
        directory: &Path,
        config: &Config,
        accept_data_loss: bool,
        mut mark: Mark,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let path = || directory.to_owned();
        let failed = |source| OpenError::Io { path: path(), source };
        let refused = |source| OpenError::Engine { path: path(), source };
        let damaged = |what: String| OpenError::Damaged { path: path(), what };
        let (database, [singles, entries, changes, dedup, heads, profiles, views, feeds, news, rooms]) =
            open_database(&directory.join(ENGINE), config).map_err(refused)?;
        let single = |key| singles.get(key).map_err(refused);
        let schema = single(SCHEMA_KEY)?.ok_or_else(|| damaged("its layout is gone".into()))?;
        if *schema != keys::SCHEMA.to_be_bytes() {
            return Err(OpenError::Schema { path: path(), found: crate::data::hex(&schema) });
        }
        let number = |bytes: Option<fjall::UserValue>| Some(u64::from_be_bytes((*bytes?).try_into().ok()?));
        let mut generation =
            number(single(GENERATION_KEY)?).ok_or_else(|| damaged("its generation is gone".into()))?;
        let mut batch =
            number(single(BATCH_KEY)?).ok_or_else(|| damaged("its batch number is gone".into()))?;
        if batch < mark.batch() && !accept_data_loss {
            return Err(damaged(ends_early(batch, mark.batch())));
        }
        let epoch = |bytes: Option<fjall::UserValue>| match bytes {
            Some(bytes) => keys::decode_epoch(&bytes).map_err(|error| damaged(error.to_string())),
            None => Ok(Epoch::default()),
        };
        let mut rooms_anew = epoch(single(keys::ROOMS_ANEW)?)?;
        if accept_data_loss {
            // What is left is no continuation of what clients have seen, and a new epoch tells them: of rooms one that is
            // above that of every room there was, as the clock is.
            generation += 1;
            batch += 1;
            let last = epoch(single(keys::LAST_ROOM_EPOCH)?)?;
            rooms_anew = Epoch(clock.timestamp().0.max(last.0 + 1));
            let mut writes = database.batch();
            for key in [keys::ROOMS_ANEW, keys::LAST_ROOM_EPOCH] {
                writes.insert(&singles, key, keys::encode_epoch(rooms_anew));
            }
            writes.insert(&singles, GENERATION_KEY, generation.to_be_bytes());
            writes.insert(&singles, BATCH_KEY, batch.to_be_bytes());
            writes.commit().and_then(|()| database.persist(PersistMode::SyncAll)).map_err(refused)?;
            mark.reset(batch).map_err(failed)?;
        }
        sync_directories(directory).map_err(failed)?;
        let largest = match single(keys::LARGEST_ID)? {
            Some(id) => ClientMessageId(
                (*id).try_into().map_err(|_| damaged("the largest id cannot be read".into()))?,
            ),
            None => above_all(&dedup).map_err(refused)?,
        };
        let writer = Writer::new(batch, mark, largest, clock.now());
        let inner = Inner {
            durable: RwLock::new(Arc::new(database.snapshot())),
            database,
            singles,
            entries,
            changes,
            dedup,
            heads,
            profiles,
            views,
            feeds,
            news,
            rooms,
            epoch: Epoch(generation),
            rooms_anew,
            writer: Mutex::new(writer),
            mark_interval: config.mark_interval,
            short: Short::new(clock.now()),
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// An id that is above all of the rows against duplicates, for a store that does not say which is the largest. They sort by
/// day.
fn above_all(dedup: &Keyspace) -> fjall::Result<ClientMessageId> {
    let Some(last) = dedup.last_key_value() else { return Ok(ClientMessageId([0; 16])) };
    let key = last.key()?;
    let day = key.first_chunk().map_or(u32::MAX, |day| u32::from_be_bytes(*day));
    let end_ms = (u64::from(day) + 1) * 24 * 3600 * 1000;
    Ok(ClientMessageId::at(end_ms, [u8::MAX; 10]))
}

fn ends_early(batch: u64, mark: u64) -> String {
    format!("it ends at batch {batch}, and batch {mark} was acknowledged")
}

fn open_database(path: &Path, config: &Config) -> fjall::Result<(Database, [Keyspace; KEYSPACES.len()])> {
    let database = Database::builder(path)
        .cache_size(config.cache.as_u64())
        .max_journaling_size(config.journals.as_u64())
        // Journals are read by us too, and bodies may be encrypted anyway.
        .journal_compression(fjall::CompressionType::None)
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()?;
    let mut keyspaces = vec![];
    for name in KEYSPACES {
        keyspaces.push(database.keyspace(name, || {
            KeyspaceCreateOptions::default().max_memtable_size(config.memtable.as_u64())
        })?);
    }
    let keyspaces = keyspaces.try_into().unwrap_or_else(|_| unreachable!("one keyspace for each name"));
    Ok((database, keyspaces))
}

/// Makes a store aside and renames it when all of it is on disk.
fn create(directory: &Path, config: &Config) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: directory.to_owned(), source };
    let aside = directory.with_extension("new");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(failed)?;
    }
    fs::create_dir_all(&aside).map_err(failed)?;
    Mark::create(&aside.join(MARK)).map_err(failed)?;
    let made = || {
        let (database, [singles, ..]) = open_database(&aside.join(ENGINE), config)?;
        let mut batch = database.batch();
        batch.insert(&singles, SCHEMA_KEY, keys::SCHEMA.to_be_bytes());
        batch.insert(&singles, GENERATION_KEY, 1u64.to_be_bytes());
        batch.insert(&singles, BATCH_KEY, 1u64.to_be_bytes());
        batch.commit()?;
        database.persist(PersistMode::SyncAll)
    };
    made().map_err(|source| OpenError::Engine { path: directory.to_owned(), source })?;
    sync_directories(&aside).map_err(failed)?;
    fs::rename(&aside, directory).map_err(failed)?;
    directory.parent().map_or(Ok(()), sync_directory).map_err(failed)
}

/// Syncs a directory, its parent and all directories in it: names are data too.
fn sync_directories(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

/// Copies a store beside itself before it is changed.
fn keep_aside(directory: &Path) -> io::Result<()> {
    let mut number = 1;
    let aside = loop {
        let aside = directory.with_extension(format!("damaged-{number}"));
        if !aside.exists() {
            break aside;
        }
        number += 1;
    };
    tracing::warn!(copy = %aside.display(), "keeping the store as it is");
    copy(directory, &aside)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
