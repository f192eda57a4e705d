//! An engine that keeps everything in memory, for development and tests. It forgets when the process ends, and its
//! acks say so.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::FixedState;
use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Code, Conversation, Epoch, Rev, Seq, Timestamp,
    conversation::Summary,
    event::EventBody,
    id::{AppId, ClientMessageId, RoomId, UserId},
    message::{Ack, Direction},
    user::{FeedEntry, FeedPage, Profile},
};

use super::{
    Append, Appended, ChangesRead, ConversationKey, Forget, Forgotten, Head, MarkChange, MarkKept, Place,
    ProfileChange, ProfileKept, Range, RangeQuery, RecallChange, RecallKept, RoomChange, RoomRow, RoomsKept,
    Store, StoreError, Write, Written,
    entry::{Entry, Remembered},
    feed::{self, Ends},
    forget::Step,
    user::summary,
};
use crate::domain::conversation::View;

/// See the module.
#[derive(Debug)]
pub struct Memory {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    epoch: Epoch,
    threads: HashMap<ConversationKey, Thread, FixedState>,
    profiles: HashMap<(AppId, UserId), Profile, FixedState>,
    /// Of each user, by the conversation as they name it.
    views: BTreeMap<(AppId, UserId, Conversation), View>,
    feeds: HashMap<(AppId, UserId), Feed, FixedState>,
    rooms: BTreeMap<(AppId, RoomId, Vec<u8>), Vec<u8>>,
    last_room_epoch: Epoch,
}

#[derive(Debug, Default)]
struct Feed {
    ends: Ends,
    /// Entry `i` has the number `ends.first` and `i` more.
    entries: VecDeque<FeedEntry>,
}

impl Feed {
    /// Writes what `event` makes of the number that it gets.
    fn tell<E: EventBody>(
        &mut self,
        time: Timestamp,
        event: impl FnOnce(Seq) -> E,
    ) -> Result<Seq, StoreError> {
        let seq = self.ends.advance();
        self.entries.push_back(feed::entry(seq, time, &event(seq))?);
        let first = self.ends.first.0;
        let written = |seq: Seq| Ok(self.entries.get((seq.0 - first) as usize).map(|entry| entry.time));
        let trimmed = self.ends.trim(time, written)?;
        self.entries.drain(..trimmed.count());
        Ok(seq)
    }
}

#[derive(Debug)]
struct Thread {
    head: Head,
    /// Entry `i` has the number `head.first` and `i` more.
    entries: VecDeque<Entry>,
    /// Which entry each change was of.
    changes: BTreeMap<Rev, Seq>,
    by_client_id: HashMap<(UserId, ClientMessageId), Remembered>,
}

/// By itself the memory engine never continues an older history, so there is one incarnation.
const EPOCH: Epoch = Epoch(1);

impl Memory {
    /// An empty store.
    pub fn new(hasher: FixedState) -> Self {
        Self::at(EPOCH, hasher)
    }

    /// An empty store for an incarnation; what is kept elsewhere may be put into it again.
    pub fn at(epoch: Epoch, hasher: FixedState) -> Self {
        let tables = Tables {
            epoch,
            threads: HashMap::with_hasher(hasher.clone()),
            profiles: HashMap::with_hasher(hasher.clone()),
            feeds: HashMap::with_hasher(hasher),
            views: BTreeMap::new(),
            rooms: BTreeMap::new(),
            last_room_epoch: Epoch::default(),
        };
        Self { tables: Mutex::new(tables) }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// The incarnation of a conversation.
    fn epoch(&self, key: &ConversationKey) -> Epoch {
        match key {
            ConversationKey::Peer(..) => self.epoch,
            ConversationKey::Room(.., made) => *made,
        }
    }

    fn head(&self, key: &ConversationKey) -> Head {
        self.threads.get(key).map_or(Head::empty(self.epoch(key)), |thread| thread.head)
    }

    fn append(&mut self, append: Append) -> Appended {
        let epoch = self.epoch(&append.key);
        let app = append.key.app();
        if append.known.as_ref().is_some_and(|user| !self.profiles.contains_key(&(app.clone(), user.clone())))
        {
            return Appended::RecipientUnknown;
        }
        if !append.content.options.persist {
            let head = self.head(&append.key);
            return Appended::Passed(append.into_unnumbered(head.position));
        }
        let thread = self.threads.entry(append.key.clone()).or_insert_with(|| Thread::empty(epoch));
        let dedup_key = (append.sender.clone(), append.client_id);
        let content = append.content_hash();
        if let Some(row) = thread.by_client_id.get(&dedup_key) {
            return row.repeated(content);
        }
        let keep = append.keep;
        if thread.head.position.seq == Seq(0) {
            for (app, user, conversation) in append.key.views() {
                self.views.insert((app.clone(), user.clone(), conversation), View::default());
            }
        }
        let prev = thread.head.advance(&append);
        let entry = append.into_entry(&thread.head, prev);
        let message = entry.message.clone();
        thread.entries.push_back(entry);
        for _ in thread.head.trim(keep) {
            if let Some(rev) = thread.entries.pop_front().and_then(|entry| entry.changed_at()) {
                thread.changes.remove(&rev);
            }
        }
        thread.by_client_id.insert(dedup_key, Remembered { place: Place::of(&message), content });
        Appended::Placed(message)
    }

    fn mark(&mut self, change: MarkChange) -> Result<Option<MarkKept>, StoreError> {
        if change.epoch != self.epoch {
            return Ok(None);
        }
        let head = self.head(&change.key);
        let thread = self.threads.get(&change.key);
        let view = (change.app.clone(), change.user.clone(), change.conversation.clone());
        let before = self.views.get(&view).copied().unwrap_or_default();
        let at = |seq| Ok(thread.and_then(|thread| thread.entry(seq)).map(|entry| entry.countable.into()));
        let (after, kept) = change.apply(before, &head, at)?;
        if kept.changed {
            self.views.insert(view, after);
        }
        Ok(Some(kept))
    }

    fn recall(&mut self, change: RecallChange) -> Result<RecallKept, Code> {
        change.check(&self.head(&change.key))?;
        let thread = self.threads.get_mut(&change.key).ok_or(Code::MessageNotFound)?;
        let mut head = thread.head;
        let entry = thread.entry_mut(change.position.seq).ok_or(Code::MessageNotFound)?;
        let kept = change.apply(entry, &mut head)?;
        if kept.changed {
            thread.head = head;
            thread.changes.insert(head.rev, change.position.seq);
        }
        Ok(kept)
    }

    fn forget(&mut self, forget: &Forget) -> Forgotten {
        let Some(thread) = self.threads.get_mut(&forget.key) else {
            return Forgotten { entries: 0, more: false };
        };
        let step = Step::of(thread.head, forget.entries_max);
        thread.entries.drain(..step.entries.clone().count());
        for rev in step.changes.clone() {
            thread.changes.remove(&Rev(rev));
        }
        match step.head {
            Some(head) => thread.head = head,
            None => _ = self.threads.remove(&forget.key),
        }
        step.forgotten()
    }

    fn keep_profile(&mut self, change: ProfileChange) -> Result<ProfileKept, StoreError> {
        let (key, time) = ((change.app.clone(), change.user.clone()), change.time);
        let before = self.profiles.get(&key).cloned();
        let (mut kept, told) = ProfileKept::of(change, before);
        self.profiles.insert(key.clone(), kept.profile.clone());
        if told {
            kept.feed = Some(self.feeds.entry(key).or_default().tell(time, |seq| kept.event(seq))?);
        }
        Ok(kept)
    }

    fn keep_room(&mut self, change: RoomChange) {
        let RoomChange { app, room, epoch, rows } = change;
        self.last_room_epoch = self.last_room_epoch.max(epoch);
        for (name, value) in rows {
            let key = (app.clone(), room.clone(), name);
            match value {
                Some(value) => _ = self.rooms.insert(key, value),
                None => _ = self.rooms.remove(&key),
            }
        }
    }
}

impl Thread {
    fn empty(epoch: Epoch) -> Self {
        let (entries, changes, by_client_id) = (VecDeque::new(), BTreeMap::new(), HashMap::new());
        Self { head: Head::empty(epoch), entries, changes, by_client_id }
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.0.checked_sub(self.head.first.0)?).ok()
    }

    fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(self.index(seq)?)
    }

    fn entry_mut(&mut self, seq: Seq) -> Option<&mut Entry> {
        let index = self.index(seq)?;
        self.entries.get_mut(index)
    }
}

impl Store for Memory {
    fn ack(&self) -> Ack {
        Ack::Accepted
    }

    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>> {
        let mut tables = self.lock();
        let write = |write| match write {
            Write::Append(append) => Ok(Written::Append(tables.append(append))),
            Write::Mark(change) => tables.mark(change).map(Written::Mark),
            Write::Profile(change) => tables.keep_profile(change).map(Written::Profile),
            Write::Recall(change) => Ok(Written::Recall(tables.recall(change))),
            Write::Room(change) => {
                tables.keep_room(change);
                Ok(Written::Room)
            }
            Write::Forget(forget) => Ok(Written::Forget(tables.forget(&forget))),
        };
        let outcomes = batch.into_iter().map(write).collect();
        std::future::ready(outcomes).boxed()
    }

    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>> {
        let tables = self.lock();
        let found = tables.threads.get(&append.key).and_then(|thread| {
            let row = thread.by_client_id.get(&(append.sender.clone(), append.client_id))?;
            Some(row.repeated(append.content_hash()))
        });
        std::future::ready(Ok(found)).boxed()
    }

    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>> {
        let tables = self.lock();
        let range = match tables.threads.get(key) {
            Some(thread) => thread.range(query),
            None => Range::fill(tables.head(key), query, []),
        };
        std::future::ready(range).boxed()
    }

    fn changes(
        &self,
        key: &ConversationKey,
        since: Rev,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<ChangesRead, StoreError>> {
        let tables = self.lock();
        let read = match tables.threads.get(key) {
            Some(thread) => {
                let behind = thread
                    .changes
                    .range(since.next()..)
                    .map(|(rev, seq)| Ok((*rev, thread.entry(*seq).map(|entry| entry.message.clone()))));
                ChangesRead::fill(thread.head, entries_max, bytes_max, behind)
            }
            None => ChangesRead::fill(tables.head(key), entries_max, bytes_max, []),
        };
        std::future::ready(read).boxed()
    }

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>> {
        let tables = self.lock();
        let heads = keys.iter().map(|key| tables.head(key)).collect();
        std::future::ready(Ok(heads)).boxed()
    }

    fn conversations(
        &self,
        app: &AppId,
        user: &UserId,
        after: Option<&Conversation>,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Summary>, bool), StoreError>> {
        let tables = self.lock();
        let own = tables.views.iter().filter(|((of, viewer, _), _)| (of, viewer) == (app, user));
        let mut behind = own.filter(|((.., conversation), _)| after.is_none_or(|after| conversation > after));
        let told = |((.., conversation), own): (&(AppId, UserId, Conversation), &View)| {
            let key = ConversationKey::of(app, user, conversation).ok()?;
            let head = tables.threads.get(&key)?.head;
            let other = key.other(user).and_then(|other| {
                tables.views.get(&(app.clone(), other.clone(), Conversation::Peer(user.clone()))).copied()
            });
            Some(summary(&key, user, &head, *own, other))
        };
        let page = behind.by_ref().take(limit).filter_map(told).collect();
        std::future::ready(Ok((page, behind.next().is_some()))).boxed()
    }

    fn feed(
        &self,
        app: &AppId,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        let tables = self.lock();
        let none = Feed::default();
        let feed = tables.feeds.get(&(app.clone(), user.clone())).unwrap_or(&none);
        let from = feed.ends.behind(after);
        let entries = feed.entries.iter().filter(|entry| entry.seq >= from).cloned().map(Ok);
        std::future::ready(feed.ends.page(tables.epoch, limit, entries)).boxed()
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        let mut tables = self.lock();
        let mut forgotten = 0;
        for thread in tables.threads.values_mut() {
            let before = thread.by_client_id.len();
            thread.by_client_id.retain(|(_, id), _| id.unix_ms() >= older_than.0);
            forgotten += before - thread.by_client_id.len();
        }
        std::future::ready(Ok(forgotten)).boxed()
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        let tables = self.lock();
        let find = |user: &UserId| tables.profiles.get(&(app.clone(), user.clone())).cloned();
        std::future::ready(Ok(users.iter().filter_map(find).collect())).boxed()
    }

    fn rooms(&self) -> BoxFuture<'_, Result<RoomsKept, StoreError>> {
        let tables = self.lock();
        let row = |((app, room, name), value): (&(AppId, RoomId, Vec<u8>), &Vec<u8>)| RoomRow {
            app: app.clone(),
            room: room.clone(),
            name: name.clone(),
            value: value.clone(),
        };
        let (last_epoch, rows) = (tables.last_room_epoch, tables.rooms.iter().map(row).collect());
        let is_room = |key: &&ConversationKey| matches!(key, ConversationKey::Room(..));
        let mut histories: Vec<_> = tables.threads.keys().filter(is_room).cloned().collect();
        histories.sort();
        std::future::ready(Ok(RoomsKept { last_epoch, rows, histories })).boxed()
    }
}

impl Thread {
    fn range(&self, query: RangeQuery) -> Result<Range, StoreError> {
        let (from, to) = query.within(&self.head);
        let read = |seq| self.entry(Seq(seq)).map(|entry| Ok(entry.message.clone()));
        match query.direction {
            Direction::Forwards => Range::fill(self.head, query, (from.0..=to.0).map_while(read)),
            Direction::Backwards => Range::fill(self.head, query, (from.0..=to.0).rev().map_while(read)),
        }
    }
}
