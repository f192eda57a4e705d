//! The engine of one machine: fjall in one directory, acks after the sync.
//!
//! Every commit is one batch of the engine with a number of ours in it, synced before anything is told; batches are
//! written one at a time. What fjall does not guarantee by itself is done around it: it is created aside and renamed
//! when it is whole, directories are synced, journals are looked through before it opens them, and a mark says how
//! far they must reach.

mod journal;
mod keys;
mod mark;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode};
use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Epoch, Position, Seq,
    id::{AppId, ClientMessageId, UserId},
    message::{Ack, Message},
    user::Profile,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use self::{
    journal::BATCH_KEY,
    keys::{Dedup, Head},
    mark::Mark,
};
use super::{Append, Appended, ConversationKey, ProfileChange, Range, RangeQuery, Store, StoreError};
use crate::clock::Clock;

/// How the engine behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory for blocks that were read. Default 64MiB.
    pub cache: ByteSize,
    /// Journals are kept below about this, which bounds the time to start. Default 128MiB.
    pub journals: ByteSize,
    /// The mark is at most this far behind the last ack: damage to the youngest part of a journal, not power loss, can
    /// hide so much. `0s` marks every commit, at the price of a second sync. Default 100ms.
    #[serde(with = "humantime_serde")]
    pub mark_interval: Duration,
    /// What a keyspace gathers in memory before it becomes a table. No key of the configuration: tests make it small to
    /// see tables written and merged.
    #[serde(skip, default = "memtable")]
    pub memtable: ByteSize,
}

fn memtable() -> ByteSize {
    ByteSize::mib(64)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache: ByteSize::mib(64),
            journals: ByteSize::mib(128),
            mark_interval: Duration::from_millis(100),
            memtable: memtable(),
        }
    }
}

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

/// Heads kept in memory; past it they are read again when needed.
const HEADS_MAX: usize = 1_000_000;

/// See the module.
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    /// Single values.
    singles: Keyspace,
    messages: Keyspace,
    dedup: Keyspace,
    heads: Keyspace,
    profiles: Keyspace,
    epoch: Epoch,
    writer: Mutex<Writer>,
    /// Heads as they were before the batch that is being committed. The engine shows a batch to readers before it is
    /// synced; what is behind these heads must not be told yet.
    in_flight: Mutex<HashMap<Vec<u8>, Seq>>,
    mark_interval: Duration,
    clock: Clock,
}

/// What only one commit at a time may touch.
struct Writer {
    batch: u64,
    mark: Mark,
    marked_at: Instant,
    heads: HashMap<Vec<u8>, Head>,
}

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
        let missing = scan.damage.clone().or_else(|| match (scan.batches, &scan.torn) {
            (Some((_, last)), _) if last < mark.batch() => Some(ends_early(last, mark.batch())),
            (None, Some((path, _))) if mark.batch() > 0 => Some(format!("{} holds no batch", path.display())),
            _ => None,
        });
        if let Some(what) = missing {
            if !accept_data_loss {
                return Err(damaged(what));
            }
            keep_aside(directory).map_err(failed)?;
            tracing::error!(what, "going on with a damaged store");
        }
        if let Some((path, length)) = &scan.torn {
            tracing::warn!(path = %path.display(), length, "cutting what was never acknowledged off a journal");
            journal::cut(path, *length).map_err(failed)?;
        }
        Self::open_engine(directory, config, accept_data_loss, mark, clock)
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
        let (database, [singles, messages, dedup, heads, profiles]) =
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
        if accept_data_loss {
            // What is left is no continuation of what clients have seen, and a new epoch tells them.
            generation += 1;
            batch += 1;
            let mut writes = database.batch();
            writes.insert(&singles, GENERATION_KEY, generation.to_be_bytes());
            writes.insert(&singles, BATCH_KEY, batch.to_be_bytes());
            writes.commit().and_then(|()| database.persist(PersistMode::SyncAll)).map_err(refused)?;
            mark.reset(batch).map_err(failed)?;
        }
        sync_directories(directory).map_err(failed)?;
        let writer = Writer { batch, mark, marked_at: clock.now(), heads: HashMap::new() };
        let inner = Inner {
            database,
            singles,
            messages,
            dedup,
            heads,
            profiles,
            epoch: Epoch(generation),
            writer: Mutex::new(writer),
            in_flight: Mutex::default(),
            mark_interval: config.mark_interval,
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `read` where blocking is allowed.
    fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let inner = self.inner.clone();
        async move {
            tokio::task::spawn_blocking(move || read(&inner))
                .await
                .unwrap_or_else(|error| Err(StoreError(Box::new(error))))
        }
        .boxed()
    }
}

fn ends_early(batch: u64, mark: u64) -> String {
    format!("it ends at batch {batch}, and batch {mark} was acknowledged")
}

const ENGINE: &str = "engine";
const MARK: &str = "mark";
const KEYSPACES: [&str; 5] = ["singles", "messages", "dedup", "heads", "profiles"];

fn open_database(path: &Path, config: &Config) -> fjall::Result<(Database, [Keyspace; 5])> {
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

impl Inner {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits one batch under the next number and syncs it.
    fn commit(&self, writer: &mut Writer, mut batch: WriteBatch) -> Result<(), StoreError> {
        let number = writer.batch + 1;
        batch.insert(&self.singles, BATCH_KEY, number.to_be_bytes());
        batch.commit().map_err(engine)?;
        self.database.persist(PersistMode::SyncAll).map_err(engine)?;
        writer.batch = number;
        Ok(())
    }

    fn mark(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let now = self.clock.now();
        if now.duration_since(writer.marked_at) >= self.mark_interval {
            writer.mark.set(writer.batch).map_err(StoreError::new)?;
            writer.marked_at = now;
        }
        Ok(())
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Seq>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest number that is on disk.
    fn durable_seq(&self, key: &[u8]) -> Result<Seq, StoreError> {
        // In this order: whoever sees the engine's new head finds the old one here until it is synced.
        let stored = self.stored_head(key)?.seq;
        Ok(self.in_flight().get(key).copied().unwrap_or(stored))
    }

    fn head(&self, writer: &mut Writer, key: &[u8]) -> Result<Head, StoreError> {
        if let Some(head) = writer.heads.get(key) {
            return Ok(*head);
        }
        let head = self.stored_head(key)?;
        writer.heads.insert(key.to_vec(), head);
        Ok(head)
    }

    fn stored_head(&self, key: &[u8]) -> Result<Head, StoreError> {
        match self.heads.get(key).map_err(engine)? {
            Some(bytes) => keys::decode_head(&bytes).map_err(StoreError::new),
            None => Ok(Head::default()),
        }
    }

    fn message(&self, conversation: &[u8], seq: Seq) -> Result<Option<Message>, StoreError> {
        let bytes = self.messages.get(keys::entry(conversation, seq)).map_err(engine)?;
        bytes.map(|bytes| keys::decode_message(&bytes)).transpose().map_err(StoreError::new)
    }

    fn position(&self, seq: Seq) -> Position {
        Position { epoch: self.epoch, seq }
    }

    fn append_batch(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let mut writer = self.writer();
        if writer.heads.len() >= HEADS_MAX {
            writer.heads.clear();
        }
        let mut batch = self.database.batch();
        let mut outcomes = Vec::with_capacity(appends.len());
        // What this batch changes, seen by what comes later in it; the shared heads follow when it is committed.
        let mut heads = HashMap::<Vec<u8>, Head>::new();
        let mut placed = HashMap::<Vec<u8>, (u64, Message)>::new();
        for append in appends {
            let conversation = keys::conversation(&append.key);
            let content = content_hash(&append);
            let dedup_key = keys::dedup(&conversation, &append.sender, append.client_id);
            if let Some((hash, message)) = placed.get(&dedup_key) {
                outcomes.push(repeated(*hash == content, message.clone()));
                continue;
            }
            if let Some(row) = self.dedup.get(&dedup_key).map_err(engine)? {
                let row = keys::decode_dedup(&row).map_err(StoreError::new)?;
                let message = self.message(&conversation, row.seq)?;
                outcomes.push(
                    message.map_or(Appended::Conflict, |message| repeated(row.content == content, message)),
                );
                continue;
            }
            let mut head = match heads.get(&conversation) {
                Some(head) => *head,
                None => self.head(&mut writer, &conversation)?,
            };
            head.seq = head.seq.next();
            let prev = std::mem::replace(&mut head.last_by_priority[append.priority.index()], head.seq);
            let message = append.into_message(self.position(head.seq), prev);
            batch.insert(
                &self.messages,
                keys::entry(&conversation, head.seq),
                keys::encode_message(&message),
            );
            batch.insert(
                &self.dedup,
                dedup_key.clone(),
                keys::encode_dedup(&Dedup { seq: head.seq, content }),
            );
            heads.insert(conversation, head);
            placed.insert(dedup_key, (content, message.clone()));
            outcomes.push(Appended::Placed(message));
        }
        if !heads.is_empty() {
            for (conversation, head) in &heads {
                batch.insert(&self.heads, conversation.clone(), keys::encode_head(head));
            }
            let before = |(key, _): (&Vec<u8>, &Head)| {
                (key.clone(), writer.heads.get(key).copied().unwrap_or_default().seq)
            };
            *self.in_flight() = heads.iter().map(before).collect();
            self.commit(&mut writer, batch)?;
            self.in_flight().clear();
            writer.heads.extend(heads);
            self.mark(&mut writer)?;
        }
        Ok(outcomes)
    }

    fn put_profile(&self, app: &AppId, change: ProfileChange) -> Result<(), StoreError> {
        let key = keys::profile(app, &change.user);
        let changed = |stored: Option<Profile>| {
            let profile = change.clone().apply(stored.clone());
            (stored.as_ref() != Some(&profile)).then_some(profile)
        };
        // Most logins change nothing and need no turn at the writer.
        if changed(self.profile(&key)?).is_none() {
            return Ok(());
        }
        let mut writer = self.writer();
        let Some(profile) = changed(self.profile(&key)?) else { return Ok(()) };
        let mut batch = self.database.batch();
        batch.insert(&self.profiles, key, keys::encode_profile(&profile));
        self.commit(&mut writer, batch)
    }

    fn profile(&self, key: &[u8]) -> Result<Option<Profile>, StoreError> {
        let bytes = self.profiles.get(key).map_err(engine)?;
        bytes.map(|bytes| keys::decode_profile(&bytes)).transpose().map_err(StoreError::new)
    }

    fn read_range(&self, key: &ConversationKey, query: RangeQuery) -> Result<Range, StoreError> {
        let conversation = keys::conversation(key);
        let head = self.durable_seq(&conversation)?;
        let mut range = Range { head: self.position(head), messages: vec![], next: None };
        let (from, to) = (query.from.max(Seq(1)), query.to.min(head));
        if from > to {
            return Ok(range);
        }
        let mut bytes = 0;
        for stored in self.messages.range(keys::entry(&conversation, from)..=keys::entry(&conversation, to)) {
            let value = stored.value().map_err(engine)?;
            let message = keys::decode_message(&value).map_err(StoreError::new)?;
            bytes += message.content_bytes();
            let full = range.messages.len() == query.entries_max || bytes > query.bytes_max;
            if full && !range.messages.is_empty() {
                range.next = Some(message.position.seq);
                break;
            }
            range.messages.push(message);
        }
        Ok(range)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        let batch = writer.batch;
        if let Err(error) = writer.mark.set(batch) {
            tracing::error!(%error, "the last mark could not be written");
        }
    }
}

fn repeated(same: bool, message: Message) -> Appended {
    if same { Appended::Duplicate(message) } else { Appended::Conflict }
}

/// What a repetition must have in common with the first. Stored, so it may never change.
fn content_hash(append: &Append) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&append.kind.number().to_be_bytes());
    hash.update(&[append.priority as u8]);
    hash.update(&append.body);
    hash.digest()
}

fn engine(error: fjall::Error) -> StoreError {
    StoreError::new(error)
}

impl Store for Embedded {
    fn ack(&self) -> Ack {
        Ack::Durable
    }

    /// Blocks: the committer has a thread of its own.
    fn append_batch(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>> {
        std::future::ready(self.inner.append_batch(batch)).boxed()
    }

    fn find(
        &self,
        key: &ConversationKey,
        sender: &UserId,
        client_id: ClientMessageId,
    ) -> BoxFuture<'_, Result<Option<Message>, StoreError>> {
        let conversation = keys::conversation(key);
        let dedup = keys::dedup(&conversation, sender, client_id);
        self.blocking(move |inner| {
            let Some(row) = inner.dedup.get(&dedup).map_err(engine)? else { return Ok(None) };
            let row = keys::decode_dedup(&row).map_err(StoreError::new)?;
            if row.seq > inner.durable_seq(&conversation)? {
                return Ok(None);
            }
            inner.message(&conversation, row.seq)
        })
    }

    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>> {
        let key = key.clone();
        self.blocking(move |inner| inner.read_range(&key, query))
    }

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Position>, StoreError>> {
        let keys: Vec<_> = keys.iter().map(keys::conversation).collect();
        self.blocking(move |inner| {
            keys.iter().map(|key| Ok(inner.position(inner.durable_seq(key)?))).collect()
        })
    }

    fn put_profile(&self, app: &AppId, change: ProfileChange) -> BoxFuture<'_, Result<(), StoreError>> {
        let app = app.clone();
        self.blocking(move |inner| inner.put_profile(&app, change))
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        let keys: Vec<_> = users.iter().map(|user| keys::profile(app, user)).collect();
        self.blocking(move |inner| keys.iter().filter_map(|key| inner.profile(key).transpose()).collect())
    }
}
