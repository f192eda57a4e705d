//! Putting a batch together and committing it.

mod newest;
mod room;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use fjall::{OwnedWriteBatch, PersistMode, Snapshot};
use quail_protocol::{
    Code, Epoch, Seq, Timestamp,
    event::EventBody,
    id::{AppId, ClientMessageId, UserId},
    user::{FeedEntry, Profile},
};

use self::newest::Newest;
use super::{
    Inner, engine,
    journal::BATCH_KEY,
    keys::{self, Key},
    mark::Mark,
};
use crate::domain::conversation::View;
use crate::store::{
    Append, Appended, Head, MarkChange, MarkKept, Place, ProfileChange, ProfileKept, RecallChange,
    RecallKept, StoreError, Write, Written,
    entry::{Entry, Remembered},
    feed::{self, Ends},
};

/// Rows against duplicates that are removed in one commit.
const FORGET_AT_ONCE: usize = 10_000;

/// Heads kept in memory; past it they are read again when needed.
const HEADS_MAX: usize = 1_000_000;

/// What only one commit at a time may touch.
pub(super) struct Writer {
    batch: u64,
    mark: Mark,
    marked_at: Instant,
    heads: HashMap<Key, Head>,
    newest: Newest,
}

impl Writer {
    /// Goes on behind `batch`. No client message id above `largest` was placed.
    pub(super) fn new(batch: u64, mark: Mark, largest: ClientMessageId, now: Instant) -> Self {
        let newest = Newest::above(largest);
        Self { batch, mark, marked_at: now, heads: HashMap::new(), newest }
    }

    /// Marks the last batch, at the end.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.mark.set(self.batch) {
            tracing::error!(%error, "the last mark could not be written");
        }
    }
}

/// One batch while it is put together: what it changes is seen by what comes later in it. A row that it changes often
/// is written once.
struct Batch<'a> {
    inner: &'a Inner,
    /// What was before it.
    durable: Arc<Snapshot>,
    /// Newest heads of conversations, so that most are not read.
    known: &'a HashMap<Key, Head>,
    newest: &'a mut Newest,
    writes: OwnedWriteBatch,
    /// What it places or changes and does not trim again: no key may be written twice.
    entries: BTreeMap<Key, Placed>,
    changes: BTreeMap<Key, Seq>,
    /// `None` of one that is gone.
    heads: HashMap<Key, Option<Head>>,
    remembered: HashMap<Key, Remembered>,
    views: HashMap<Key, View>,
    profiles: HashMap<Key, Profile>,
    feeds: HashMap<Key, Ends>,
    news: BTreeMap<Key, FeedEntry>,
    rooms: BTreeMap<Key, Option<Vec<u8>>>,
    /// The highest of all rooms, if it is a new one's.
    room_epoch: Option<Epoch>,
}

/// An entry that a batch writes.
struct Placed {
    entry: Entry,
    /// It was there before the batch.
    known: bool,
}

impl Batch<'_> {
    fn append(&mut self, append: Append) -> Result<Appended, StoreError> {
        let inner = self.inner;
        let (conversation, epoch) = (keys::conversation(&append.key), inner.epoch_of(&append.key));
        if let Some(user) = &append.known
            && self.profile(append.key.app(), user)?.is_none()
        {
            return Ok(Appended::RecipientUnknown);
        }
        if !append.content.options.persist {
            let head = self.head(&conversation, epoch)?;
            return Ok(Appended::Passed(append.into_unnumbered(head.position)));
        }
        let content = append.content_hash();
        let dedup_key = keys::dedup(&conversation, &append.sender, append.client_id);
        let before = match self.remembered.get(&dedup_key) {
            Some(row) => Some(*row),
            None if self.newest.is_above_all(&append) => None,
            None => inner.remembered(&self.durable, &dedup_key, epoch)?,
        };
        if let Some(row) = before {
            return Ok(row.repeated(content));
        }
        let mut head = self.head(&conversation, epoch)?;
        if head.position.seq == Seq(0) {
            for (app, user, conversation) in append.key.views() {
                self.views.insert(keys::view(&keys::user(app, user), &conversation), View::default());
            }
        }
        self.newest.place(&append);
        let keep = append.keep;
        let prev = head.advance(&append);
        let entry = append.into_entry(&head, prev);
        let message = entry.message.clone();
        let key = keys::entry(&conversation, message.position.seq);
        self.entries.insert(key, Placed { entry, known: false });
        for trimmed in head.trim(keep) {
            self.trim(&conversation, &head, Seq(trimmed))?;
        }
        let row = Remembered { place: Place::of(&message), content };
        self.writes.insert(&inner.dedup, dedup_key.clone(), keys::encode_dedup(&row));
        self.remembered.insert(dedup_key, row);
        self.heads.insert(conversation, Some(head));
        Ok(Appended::Placed(message))
    }

    fn head(&self, conversation: &Key, epoch: Epoch) -> Result<Head, StoreError> {
        if let Some(head) = self.heads.get(conversation) {
            return Ok(head.unwrap_or(Head::empty(epoch)));
        }
        match self.known.get(conversation) {
            Some(head) => Ok(*head),
            None => self.inner.stored_head(&self.durable, conversation, epoch),
        }
    }

    /// Gives up an entry, and the note of its change if it was changed.
    fn trim(&mut self, conversation: &Key, head: &Head, seq: Seq) -> Result<(), StoreError> {
        let key = keys::entry(conversation, seq);
        if head.rev > Default::default()
            && let Some(rev) = self.entry(&key, head.position.epoch)?.and_then(|entry| entry.changed_at())
        {
            let change = keys::change(conversation, rev);
            if self.changes.remove(&change).is_none() {
                self.writes.remove(&self.inner.changes, change);
            }
        }
        if self.entries.remove(&key).is_none_or(|placed| placed.known) {
            self.writes.remove(&self.inner.entries, key);
        }
        Ok(())
    }

    fn entry(&self, key: &Key, epoch: Epoch) -> Result<Option<Entry>, StoreError> {
        match self.entries.get(key) {
            Some(placed) => Ok(Some(placed.entry.clone())),
            None => self.inner.entry(&self.durable, key, epoch),
        }
    }

    fn mark(&mut self, change: MarkChange) -> Result<Option<MarkKept>, StoreError> {
        if change.epoch != self.inner.epoch {
            return Ok(None);
        }
        let (conversation, epoch) = (keys::conversation(&change.key), change.epoch);
        let head = self.head(&conversation, epoch)?;
        let view = keys::view(&keys::user(&change.app, &change.user), &change.conversation);
        let before = match self.views.get(&view) {
            Some(view) => *view,
            None => self.inner.view(&self.durable, &view)?,
        };
        let at = |seq| {
            let entry = self.entry(&keys::entry(&conversation, seq), epoch)?;
            Ok(entry.map(|entry| entry.countable.into()))
        };
        let (after, kept) = change.apply(before, &head, at)?;
        if kept.changed {
            self.views.insert(view, after);
        }
        Ok(Some(kept))
    }

    fn recall(&mut self, change: RecallChange) -> Result<Result<RecallKept, Code>, StoreError> {
        let (conversation, epoch) = (keys::conversation(&change.key), self.inner.epoch_of(&change.key));
        let mut head = self.head(&conversation, epoch)?;
        if let Err(code) = change.check(&head) {
            return Ok(Err(code));
        }
        let key = keys::entry(&conversation, change.position.seq);
        let Some(mut entry) = self.entry(&key, epoch)? else { return Ok(Err(Code::MessageNotFound)) };
        let kept = match change.apply(&mut entry, &mut head) {
            Ok(kept) => kept,
            Err(code) => return Ok(Err(code)),
        };
        if kept.changed {
            let known = self.entries.get(&key).is_none_or(|placed| placed.known);
            self.entries.insert(key, Placed { entry, known });
            self.changes.insert(keys::change(&conversation, head.rev), change.position.seq);
            self.heads.insert(conversation, Some(head));
        }
        Ok(Ok(kept))
    }

    fn profile(&self, app: &AppId, user: &UserId) -> Result<Option<Profile>, StoreError> {
        let key = keys::user(app, user);
        match self.profiles.get(&key) {
            Some(profile) => Ok(Some(profile.clone())),
            None => self.inner.profile(&self.durable, &key),
        }
    }

    fn keep_profile(&mut self, change: ProfileChange) -> Result<ProfileKept, StoreError> {
        let (key, time) = (keys::user(&change.app, &change.user), change.time);
        let before = self.profile(&change.app, &change.user)?;
        let (mut kept, told) = ProfileKept::of(change, before.clone());
        if before.as_ref() != Some(&kept.profile) {
            self.profiles.insert(key.clone(), kept.profile.clone());
        }
        if told {
            kept.feed = Some(self.tell(key, time, |feed| kept.event(feed))?);
        }
        Ok(kept)
    }

    /// Writes what `event` makes of the number that it gets to the feed of a user.
    fn tell<E: EventBody>(
        &mut self,
        user: Key,
        time: Timestamp,
        event: impl FnOnce(Seq) -> E,
    ) -> Result<Seq, StoreError> {
        let inner = self.inner;
        let mut ends = match self.feeds.get(&user) {
            Some(ends) => *ends,
            None => inner.ends(&self.durable, &user)?,
        };
        let seq = ends.advance();
        self.news.insert(keys::news(&user, seq), feed::entry(seq, time, &event(seq))?);
        // What this batch wrote is not old.
        let written = |seq| Ok(inner.news(&self.durable, &user, seq)?.map(|entry| entry.time));
        for trimmed in ends.trim(time, written)? {
            let entry = keys::news(&user, Seq(trimmed));
            if self.news.remove(&entry).is_none() {
                self.writes.remove(&inner.news, entry);
            }
        }
        self.feeds.insert(user, ends);
        Ok(seq)
    }

    /// All that is to be written, and the heads that are in force then.
    fn finish(self) -> (OwnedWriteBatch, HashMap<Key, Option<Head>>) {
        let Self { inner, mut writes, entries, changes, heads, views, profiles, feeds, news, .. } = self;
        let (rooms, room_epoch) = (self.rooms, self.room_epoch);
        if !self.remembered.is_empty() {
            writes.insert(&inner.singles, keys::LARGEST_ID, self.newest.largest().0);
        }
        for (key, placed) in entries {
            writes.insert(&inner.entries, key, keys::encode_entry(&placed.entry));
        }
        for (key, seq) in changes {
            writes.insert(&inner.changes, key, keys::encode_change(seq));
        }
        for (key, head) in &heads {
            match head {
                Some(head) => writes.insert(&inner.heads, key.clone(), keys::encode_head(head)),
                None => writes.remove(&inner.heads, key.clone()),
            }
        }
        for (key, view) in views {
            writes.insert(&inner.views, key, keys::encode_view(inner.epoch, &view));
        }
        for (key, profile) in profiles {
            writes.insert(&inner.profiles, key, keys::encode_profile(&profile));
        }
        for (key, ends) in feeds {
            writes.insert(&inner.feeds, key, keys::encode_ends(&ends));
        }
        for (key, entry) in news {
            writes.insert(&inner.news, key, keys::encode_news(&entry));
        }
        for (key, value) in rooms {
            match value {
                Some(value) => writes.insert(&inner.rooms, key, keys::encode_room(&value)),
                None => writes.remove(&inner.rooms, key),
            }
        }
        if let Some(epoch) = room_epoch {
            writes.insert(&inner.singles, keys::LAST_ROOM_EPOCH, keys::encode_epoch(epoch));
        }
        (writes, heads)
    }
}

impl Inner {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write_batch(&self, batch: Vec<Write>) -> Result<Vec<Written>, StoreError> {
        let mut writer = self.writer();
        if writer.heads.len() >= HEADS_MAX {
            writer.heads.clear();
        }
        let Writer { heads: known, newest, .. } = &mut *writer;
        let mut open = Batch {
            inner: self,
            durable: self.durable(),
            known,
            newest,
            writes: self.database.batch(),
            entries: BTreeMap::new(),
            changes: BTreeMap::new(),
            heads: HashMap::new(),
            remembered: HashMap::new(),
            views: HashMap::new(),
            profiles: HashMap::new(),
            feeds: HashMap::new(),
            news: BTreeMap::new(),
            rooms: BTreeMap::new(),
            room_epoch: None,
        };
        let write = |write| match write {
            Write::Append(append) => open.append(append).map(Written::Append),
            Write::Mark(change) => open.mark(change).map(Written::Mark),
            Write::Profile(change) => open.keep_profile(change).map(Written::Profile),
            Write::Recall(change) => open.recall(change).map(Written::Recall),
            Write::Room(change) => open.keep_room(change).map(|()| Written::Room),
            Write::Forget(forget) => open.forget(&forget).map(Written::Forget),
        };
        let outcomes = batch.into_iter().map(write).collect::<Result<_, _>>()?;
        let (writes, heads) = open.finish();
        if !writes.is_empty() {
            self.commit(&mut writer, writes)?;
            for (key, head) in heads {
                match head {
                    Some(head) => _ = writer.heads.insert(key, head),
                    None => _ = writer.heads.remove(&key),
                }
            }
            self.mark(&mut writer)?;
        }
        Ok(outcomes)
    }

    /// Commits one batch under the next number and syncs it.
    fn commit(&self, writer: &mut Writer, mut batch: OwnedWriteBatch) -> Result<(), StoreError> {
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

    pub(super) fn forget_duplicates(&self, older_than: Timestamp) -> Result<usize, StoreError> {
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
}
