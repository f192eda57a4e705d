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
mod reads;
mod room;
mod write;

use std::{
    ops::Bound,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytesize::ByteSize;
use fjall::{Database, Keyspace, Readable, Snapshot};
use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Conversation, Epoch, Position, Rev, Seq, Timestamp,
    conversation::Summary,
    id::{AppId, UserId},
    message::{Ack, Direction},
    user::{FeedEntry, FeedPage, Profile},
};
use serde::{Deserialize, Serialize};

pub use self::open::OpenError;
use self::{
    reads::{SHORT_ROWS_MAX, Short},
    write::Writer,
};
use super::{
    Append, Appended, ChangesRead, ConversationKey, Head, Overview, Range, RangeQuery, RoomsKept, Store,
    StoreError, Write, Written,
    entry::{Entry, Remembered},
    feed::Ends,
    user::summary,
};
use crate::{clock::Clock, domain::conversation::View};

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

/// See the module.
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    /// Single values.
    singles: Keyspace,
    /// Placed messages.
    entries: Keyspace,
    /// Which entries were changed, by the number of the change.
    changes: Keyspace,
    dedup: Keyspace,
    heads: Keyspace,
    profiles: Keyspace,
    /// How users see their conversations.
    views: Keyspace,
    /// Where feeds begin and end, and what is in them.
    feeds: Keyspace,
    news: Keyspace,
    /// What is kept of rooms.
    rooms: Keyspace,
    epoch: Epoch,
    /// Rooms that were made before go on under this epoch: messages of theirs were lost.
    rooms_anew: Epoch,
    writer: Mutex<Writer>,
    /// All that was synced. The engine itself shows a batch to readers before that, when it must not be told yet.
    durable: RwLock<Arc<Snapshot>>,
    mark_interval: Duration,
    clock: Clock,
    short: Short,
}

impl Inner {
    /// What may be told, as of one moment.
    fn durable(&self) -> Arc<Snapshot> {
        self.durable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The head of a conversation, whose incarnation is `epoch`.
    fn stored_head(&self, durable: &Snapshot, key: &[u8], epoch: Epoch) -> Result<Head, StoreError> {
        match durable.get(&self.heads, key).map_err(engine)? {
            Some(bytes) => keys::decode_head(&bytes, epoch).map_err(StoreError::new),
            None => Ok(Head::empty(epoch)),
        }
    }

    fn remembered(
        &self,
        durable: &Snapshot,
        key: &[u8],
        epoch: Epoch,
    ) -> Result<Option<Remembered>, StoreError> {
        let bytes = durable.get(&self.dedup, key).map_err(engine)?;
        bytes.map(|bytes| keys::decode_dedup(&bytes, epoch)).transpose().map_err(StoreError::new)
    }

    fn profile(&self, durable: &Snapshot, key: &[u8]) -> Result<Option<Profile>, StoreError> {
        let bytes = durable.get(&self.profiles, key).map_err(engine)?;
        bytes.map(|bytes| keys::decode_profile(&bytes)).transpose().map_err(StoreError::new)
    }

    fn view(&self, durable: &Snapshot, key: &[u8]) -> Result<View, StoreError> {
        match durable.get(&self.views, key).map_err(engine)? {
            Some(bytes) => keys::decode_view(&bytes, self.epoch).map_err(StoreError::new),
            None => Ok(View::default()),
        }
    }

    fn entry(&self, durable: &Snapshot, key: &[u8], epoch: Epoch) -> Result<Option<Entry>, StoreError> {
        let bytes = durable.get(&self.entries, key).map_err(engine)?;
        bytes.map(|bytes| keys::decode_entry(&bytes, epoch)).transpose().map_err(StoreError::new)
    }

    fn ends(&self, durable: &Snapshot, user: &[u8]) -> Result<Ends, StoreError> {
        let bytes = durable.get(&self.feeds, user).map_err(engine)?;
        Ok(bytes
            .map(|bytes| keys::decode_ends(&bytes))
            .transpose()
            .map_err(StoreError::new)?
            .unwrap_or_default())
    }

    fn news(&self, durable: &Snapshot, user: &[u8], seq: Seq) -> Result<Option<FeedEntry>, StoreError> {
        let bytes = durable.get(&self.news, keys::news(user, seq)).map_err(engine)?;
        bytes.map(|bytes| keys::decode_news(&bytes)).transpose().map_err(StoreError::new)
    }

    fn feed(&self, app: &AppId, user: &UserId, after: Seq, limit: usize) -> Result<FeedPage, StoreError> {
        let (user, durable) = (keys::user(app, user), self.durable());
        let ends = self.ends(&durable, &user)?;
        let from = ends.behind(after);
        if from > ends.head {
            return ends.page(self.epoch, limit, []);
        }
        let stored = durable.range(&self.news, keys::news(&user, from)..=keys::news(&user, ends.head));
        let entries = stored.map(|stored| {
            let value = stored.value().map_err(engine)?;
            keys::decode_news(&value).map_err(StoreError::new)
        });
        ends.page(self.epoch, limit, entries)
    }

    fn overview(&self, app: &AppId, user: &UserId, limit: usize) -> Result<Overview, StoreError> {
        let ends = self.ends(&self.durable(), &keys::user(app, user))?;
        let feed = Position { epoch: self.epoch, seq: ends.head };
        let (conversations, more) = match limit {
            0 => Default::default(),
            limit => self.conversations(app, user, None, limit)?,
        };
        Ok(Overview { feed, conversations, more })
    }

    fn conversations(
        &self,
        app: &AppId,
        user: &UserId,
        after: Option<&Conversation>,
        limit: usize,
    ) -> Result<(Vec<Summary>, bool), StoreError> {
        let prefix = keys::user(app, user);
        let from = match after {
            Some(after) => Bound::Excluded(keys::view(&prefix, after)),
            None => Bound::Included(prefix.clone()),
        };
        let durable = self.durable();
        let mut page = vec![];
        for stored in durable.range::<Vec<u8>, _>(&self.views, (from, Bound::Unbounded)) {
            let (key, value) = stored.into_inner().map_err(engine)?;
            if !key.starts_with(&prefix) {
                break;
            }
            if page.len() == limit {
                return Ok((page, true));
            }
            let conversation = keys::viewed(&prefix, &key).map_err(StoreError::new)?;
            let own = keys::decode_view(&value, self.epoch).map_err(StoreError::new)?;
            let of = ConversationKey::of(app, user, &conversation)
                .map_err(|code| StoreError::new(format!("a view of {conversation}: {code}")))?;
            let head = self.stored_head(&durable, &keys::conversation(&of), self.epoch)?;
            let other = match of.other(user) {
                Some(other) => {
                    let view = keys::view(&keys::user(app, other), &Conversation::Peer(user.clone()));
                    Some(self.view(&durable, &view)?)
                }
                None => None,
            };
            page.push(summary(&of, user, &head, own, other));
        }
        Ok((page, false))
    }

    fn read_range(&self, key: &ConversationKey, query: RangeQuery) -> Result<Range, StoreError> {
        let (conversation, epoch) = (keys::conversation(key), self.epoch_of(key));
        let durable = self.durable();
        let head = self.stored_head(&durable, &conversation, epoch)?;
        let (from, to) = query.within(&head);
        if from > to {
            return Range::fill(head, query, []);
        }
        let wanted = keys::entry(&conversation, from)..=keys::entry(&conversation, to);
        let stored = durable.range(&self.entries, wanted);
        let read = |stored: fjall::Guard| {
            let value = stored.value().map_err(engine)?;
            keys::decode_entry(&value, epoch).map(|entry| entry.message).map_err(StoreError::new)
        };
        match query.direction {
            Direction::Forwards => Range::fill(head, query, stored.map(read)),
            Direction::Backwards => Range::fill(head, query, stored.rev().map(read)),
        }
    }

    fn changes(
        &self,
        key: &ConversationKey,
        since: Rev,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<ChangesRead, StoreError> {
        let (conversation, epoch) = (keys::conversation(key), self.epoch_of(key));
        let durable = self.durable();
        let head = self.stored_head(&durable, &conversation, epoch)?;
        let from = since.next();
        if from > head.rev {
            return ChangesRead::fill(head, entries_max, bytes_max, []);
        }
        let wanted = keys::change(&conversation, from)..=keys::change(&conversation, head.rev);
        let changes = durable.range(&self.changes, wanted).map(|stored| {
            let (key, value) = stored.into_inner().map_err(engine)?;
            let rev = keys::changed(&key).map_err(StoreError::new)?;
            let seq = keys::decode_change(&value).map_err(StoreError::new)?;
            let entry = self.entry(&durable, &keys::entry(&conversation, seq), epoch)?;
            Ok((rev, entry.map(|entry| entry.message)))
        });
        ChangesRead::fill(head, entries_max, bytes_max, changes)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).close();
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
    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>> {
        std::future::ready(self.inner.write_batch(batch)).boxed()
    }

    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>> {
        let key = keys::dedup(&keys::conversation(&append.key), &append.sender, append.client_id);
        let (content, epoch) = (append.content_hash(), self.inner.epoch_of(&append.key));
        self.blocking(move |inner| {
            Ok(inner.remembered(&inner.durable(), &key, epoch)?.map(|row| row.repeated(content)))
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

    fn changes(
        &self,
        key: &ConversationKey,
        since: Rev,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<ChangesRead, StoreError>> {
        let key = key.clone();
        self.blocking(move |inner| inner.changes(&key, since, entries_max, bytes_max))
    }

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>> {
        let key = |key| (keys::conversation(key), self.inner.epoch_of(key));
        let keys: Vec<_> = keys.iter().map(key).collect();
        self.short(keys.len(), move |inner| {
            let durable = inner.durable();
            keys.iter().map(|(key, epoch)| inner.stored_head(&durable, key, *epoch)).collect()
        })
    }

    fn conversations(
        &self,
        app: &AppId,
        user: &UserId,
        after: Option<&Conversation>,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Summary>, bool), StoreError>> {
        let (app, user, after) = (app.clone(), user.clone(), after.cloned());
        self.blocking(move |inner| inner.conversations(&app, &user, after.as_ref(), limit))
    }

    fn feed(
        &self,
        app: &AppId,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        let (app, user) = (app.clone(), user.clone());
        self.blocking(move |inner| inner.feed(&app, &user, after, limit))
    }

    fn overview<'a>(
        &'a self,
        app: &'a AppId,
        user: &'a UserId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Overview, StoreError>> {
        let read = |limit: usize| {
            let (app, user) = (app.clone(), user.clone());
            move |inner: &Inner| inner.overview(&app, &user, limit)
        };
        // Each is two or three rows, and most users have few.
        let few = limit.min(SHORT_ROWS_MAX / 3);
        async move {
            let overview = self.short(SHORT_ROWS_MAX, read(few)).await?;
            if overview.more && few < limit { self.blocking(read(limit)).await } else { Ok(overview) }
        }
        .boxed()
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.blocking(move |inner| inner.forget_duplicates(older_than))
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        let keys: Vec<_> = users.iter().map(|user| keys::user(app, user)).collect();
        self.short(keys.len(), move |inner| {
            let durable = inner.durable();
            keys.iter().filter_map(|key| inner.profile(&durable, key).transpose()).collect()
        })
    }

    fn rooms(&self) -> BoxFuture<'_, Result<RoomsKept, StoreError>> {
        self.blocking(Inner::rooms)
    }
}
