//! The engine of one machine: fjall in one directory, acks after the sync.
//!
//! Every commit is one batch of the engine with a number of ours in it, synced before anything is told; batches are
//! written one at a time. What fjall does not guarantee by itself is done around it: it is created aside and renamed
//! when it is whole, directories are synced, journals are looked through before it opens them, and a mark says how
//! far they must reach.

mod journal;
mod keys;
mod mark;
mod open;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use fjall::{Database, Keyspace, OwnedWriteBatch as WriteBatch, PersistMode, Readable, Snapshot};
use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Epoch, Seq, Timestamp,
    id::{AppId, UserId},
    message::Ack,
    user::Profile,
};
use serde::{Deserialize, Serialize};

pub use self::open::OpenError;
use self::{journal::BATCH_KEY, mark::Mark};
use super::{
    Append, Appended, ConversationKey, Head, Place, ProfileChange, Range, RangeQuery, Store, StoreError,
    entry::Remembered,
};
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

/// Rows against duplicates that are removed in one commit.
const FORGET_AT_ONCE: usize = 10_000;

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
    /// All that was synced. The engine itself shows a batch to readers before that, when it must not be told yet.
    durable: RwLock<Arc<Snapshot>>,
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
        *self.durable.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.database.snapshot());
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

    /// What may be told, as of one moment.
    fn durable(&self) -> Arc<Snapshot> {
        self.durable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn head(&self, writer: &mut Writer, key: &[u8]) -> Result<Head, StoreError> {
        if let Some(head) = writer.heads.get(key) {
            return Ok(*head);
        }
        let head = self.stored_head(&self.durable(), key)?;
        writer.heads.insert(key.to_vec(), head);
        Ok(head)
    }

    fn stored_head(&self, durable: &Snapshot, key: &[u8]) -> Result<Head, StoreError> {
        match durable.get(&self.heads, key).map_err(engine)? {
            Some(bytes) => keys::decode_head(&bytes, self.epoch).map_err(StoreError::new),
            None => Ok(Head::empty(self.epoch)),
        }
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
        let mut placed = HashMap::<Vec<u8>, Remembered>::new();
        for append in appends {
            let conversation = keys::conversation(&append.key);
            let content = append.content_hash();
            let dedup_key = keys::dedup(&conversation, &append.sender, append.client_id);
            let before = match placed.get(&dedup_key) {
                Some(row) => Some(*row),
                None => self.remembered(&self.durable(), &dedup_key)?,
            };
            if let Some(row) = before {
                outcomes.push(row.repeated(content));
                continue;
            }
            let mut head = match heads.get(&conversation) {
                Some(head) => *head,
                None => self.head(&mut writer, &conversation)?,
            };
            let keep = append.keep;
            let prev = head.advance(append.priority, append.time);
            let message = append.into_message(head.position, prev);
            let entry = keys::entry(&conversation, message.position.seq);
            batch.insert(&self.messages, entry, keys::encode_message(&message));
            for trimmed in head.trim(keep) {
                batch.remove(&self.messages, keys::entry(&conversation, Seq(trimmed)));
            }
            let row = Remembered { place: Place::of(&message), content };
            batch.insert(&self.dedup, dedup_key.clone(), keys::encode_dedup(&row));
            placed.insert(dedup_key, row);
            heads.insert(conversation, head);
            outcomes.push(Appended::Placed(message));
        }
        if !heads.is_empty() {
            for (conversation, head) in &heads {
                batch.insert(&self.heads, conversation.clone(), keys::encode_head(head));
            }
            self.commit(&mut writer, batch)?;
            writer.heads.extend(heads);
            self.mark(&mut writer)?;
        }
        Ok(outcomes)
    }

    fn remembered(&self, durable: &Snapshot, key: &[u8]) -> Result<Option<Remembered>, StoreError> {
        let bytes = durable.get(&self.dedup, key).map_err(engine)?;
        bytes.map(|bytes| keys::decode_dedup(&bytes)).transpose().map_err(StoreError::new)
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> Result<usize, StoreError> {
        let end = keys::day_of(older_than.0).to_be_bytes();
        let mut forgotten = 0;
        loop {
            // In pieces, so that messages are committed in between.
            let mut writer = self.writer();
            let mut batch = self.database.batch();
            for stored in self.dedup.range(..end).take(FORGET_AT_ONCE) {
                batch.remove(&self.dedup, stored.key().map_err(engine)?);
            }
            if batch.is_empty() {
                return Ok(forgotten);
            }
            forgotten += batch.len();
            self.commit(&mut writer, batch)?;
        }
    }

    fn put_profile(&self, app: &AppId, change: ProfileChange) -> Result<(), StoreError> {
        let key = keys::profile(app, &change.user);
        let changed = |stored: Option<Profile>| {
            let profile = change.clone().apply(stored.clone());
            (stored.as_ref() != Some(&profile)).then_some(profile)
        };
        // Most logins change nothing and need no turn at the writer.
        if changed(self.profile(&self.durable(), &key)?).is_none() {
            return Ok(());
        }
        let mut writer = self.writer();
        let Some(profile) = changed(self.profile(&self.durable(), &key)?) else { return Ok(()) };
        let mut batch = self.database.batch();
        batch.insert(&self.profiles, key, keys::encode_profile(&profile));
        self.commit(&mut writer, batch)
    }

    fn profile(&self, durable: &Snapshot, key: &[u8]) -> Result<Option<Profile>, StoreError> {
        let bytes = durable.get(&self.profiles, key).map_err(engine)?;
        bytes.map(|bytes| keys::decode_profile(&bytes)).transpose().map_err(StoreError::new)
    }

    fn read_range(&self, key: &ConversationKey, query: RangeQuery) -> Result<Range, StoreError> {
        let conversation = keys::conversation(key);
        let durable = self.durable();
        let head = self.stored_head(&durable, &conversation)?;
        let (from, to) = query.within(&head);
        if from > to {
            return Range::fill(head, query, []);
        }
        let wanted = keys::entry(&conversation, from)..=keys::entry(&conversation, to);
        let stored = durable.range(&self.messages, wanted);
        let entries = stored.map(|stored| {
            let value = stored.value().map_err(engine)?;
            keys::decode_message(&value).map_err(StoreError::new)
        });
        Range::fill(head, query, entries)
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

    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>> {
        let key = keys::dedup(&keys::conversation(&append.key), &append.sender, append.client_id);
        let content = append.content_hash();
        self.blocking(move |inner| {
            Ok(inner.remembered(&inner.durable(), &key)?.map(|row| row.repeated(content)))
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

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>> {
        let keys: Vec<_> = keys.iter().map(keys::conversation).collect();
        self.blocking(move |inner| {
            let durable = inner.durable();
            keys.iter().map(|key| inner.stored_head(&durable, key)).collect()
        })
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.blocking(move |inner| inner.forget_duplicates(older_than))
    }

    fn put_profile(&self, app: &AppId, change: ProfileChange) -> BoxFuture<'_, Result<(), StoreError>> {
        let app = app.clone();
        self.blocking(move |inner| inner.put_profile(&app, change))
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        let keys: Vec<_> = users.iter().map(|user| keys::profile(app, user)).collect();
        self.blocking(move |inner| {
            let durable = inner.durable();
            keys.iter().filter_map(|key| inner.profile(&durable, key).transpose()).collect()
        })
    }
}
