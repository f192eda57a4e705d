//! An engine that keeps everything in memory, for development and tests. It forgets when the process ends, and its
//! acks say so.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::FixedState;
use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Epoch, Seq, Timestamp,
    id::{AppId, ClientMessageId, UserId},
    message::{Ack, Message},
    user::Profile,
};

use super::{Append, Appended, ConversationKey, Head, ProfileChange, Range, RangeQuery, Store, StoreError};

/// See the module.
#[derive(Debug)]
pub struct Memory {
    epoch: Epoch,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    threads: HashMap<ConversationKey, Thread, FixedState>,
    profiles: HashMap<(AppId, UserId), Profile, FixedState>,
}

#[derive(Debug)]
struct Thread {
    head: Head,
    /// Entry `i` has seq `i + 1`.
    entries: Vec<Message>,
    by_client_id: HashMap<(UserId, ClientMessageId), Seq>,
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
        let tables =
            Tables { threads: HashMap::with_hasher(hasher.clone()), profiles: HashMap::with_hasher(hasher) };
        Self { epoch, tables: Mutex::new(tables) }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, tables: &mut Tables, append: Append) -> Appended {
        let thread = tables.threads.entry(append.key.clone()).or_insert_with(|| Thread::empty(self.epoch));
        let dedup_key = (append.sender.clone(), append.client_id);
        if let Some(found) = thread.by_client_id.get(&dedup_key) {
            return match thread.entry(*found) {
                Some(message) if append.is_content_of(message) => Appended::Duplicate(message.clone()),
                _ => Appended::Conflict,
            };
        }
        let prev = thread.head.advance(append.priority, append.time);
        let message = append.into_message(thread.head.position, prev);
        thread.entries.push(message.clone());
        thread.by_client_id.insert(dedup_key, message.position.seq);
        Appended::Placed(message)
    }
}

impl Thread {
    fn empty(epoch: Epoch) -> Self {
        Self { head: Head::empty(epoch), entries: vec![], by_client_id: HashMap::new() }
    }

    fn entry(&self, seq: Seq) -> Option<&Message> {
        self.entries.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }
}

impl Store for Memory {
    fn ack(&self) -> Ack {
        Ack::Accepted
    }

    fn append_batch(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>> {
        let mut tables = self.lock();
        let outcomes = batch.into_iter().map(|append| self.append(&mut tables, append)).collect();
        std::future::ready(Ok(outcomes)).boxed()
    }

    fn find(
        &self,
        key: &ConversationKey,
        sender: &UserId,
        client_id: ClientMessageId,
    ) -> BoxFuture<'_, Result<Option<Message>, StoreError>> {
        let tables = self.lock();
        let found = tables.threads.get(key).and_then(|thread| {
            let seq = thread.by_client_id.get(&(sender.clone(), client_id))?;
            thread.entry(*seq).cloned()
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
            None => Range::fill(Head::empty(self.epoch), query, []),
        };
        std::future::ready(range).boxed()
    }

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>> {
        let tables = self.lock();
        let head = |key| tables.threads.get(key).map_or(Head::empty(self.epoch), |thread| thread.head);
        let heads = keys.iter().map(head).collect();
        std::future::ready(Ok(heads)).boxed()
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

    fn put_profile(&self, app: &AppId, change: ProfileChange) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut tables = self.lock();
        let key = (app.clone(), change.user.clone());
        let profile = change.apply(tables.profiles.remove(&key));
        tables.profiles.insert(key, profile);
        std::future::ready(Ok(())).boxed()
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        let tables = self.lock();
        let find = |user: &UserId| tables.profiles.get(&(app.clone(), user.clone())).cloned();
        std::future::ready(Ok(users.iter().filter_map(find).collect())).boxed()
    }
}

impl Thread {
    fn range(&self, query: RangeQuery) -> Result<Range, StoreError> {
        let (from, to) = query.within(&self.head);
        let entries = (from.0..=to.0).map_while(|seq| self.entry(Seq(seq)).cloned().map(Ok));
        Range::fill(self.head, query, entries)
    }
}
