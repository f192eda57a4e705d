//! A store that remembers how large its batches were.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use quail_protocol::{
    Conversation, Rev, Seq, Timestamp,
    conversation::Summary,
    id::{AppId, UserId},
    message::Ack,
    user::{FeedPage, Profile},
};
use quail_server::store::{
    Append, Appended, ChangesRead, ConversationKey, Head, Overview, Range, RangeQuery, RoomsKept, Store,
    StoreError, Write, Written,
};

/// Batches that are remembered at most, the first ones.
const BATCHES_MAX: usize = 1_000_000;

/// See the module.
pub(super) struct Recorded<S> {
    store: S,
    batches: Mutex<Vec<u32>>,
}

impl<S> Recorded<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store, batches: Mutex::default() }
    }

    /// The sizes of the batches since the last time.
    pub(super) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Store> Store for Recorded<S> {
    fn ack(&self) -> Ack {
        self.store.ack()
    }

    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>> {
        {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            if batches.len() < BATCHES_MAX {
                batches.push(batch.len() as u32);
            }
        }
        self.store.write_batch(batch)
    }

    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>> {
        self.store.find(append)
    }

    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>> {
        self.store.read_range(key, query)
    }

    fn changes(
        &self,
        key: &ConversationKey,
        since: Rev,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<ChangesRead, StoreError>> {
        self.store.changes(key, since, entries_max, bytes_max)
    }

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>> {
        self.store.heads(keys)
    }

    fn conversations(
        &self,
        app: &AppId,
        user: &UserId,
        after: Option<&Conversation>,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Summary>, bool), StoreError>> {
        self.store.conversations(app, user, after, limit)
    }

    fn feed(
        &self,
        app: &AppId,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        self.store.feed(app, user, after, limit)
    }

    // The other way round it would cost two reads, and what is measured with this is the server.
    fn overview<'a>(
        &'a self,
        app: &'a AppId,
        user: &'a UserId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Overview, StoreError>> {
        self.store.overview(app, user, limit)
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.store.forget_duplicates(older_than)
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        self.store.profiles(app, users)
    }

    fn rooms(&self) -> BoxFuture<'_, Result<RoomsKept, StoreError>> {
        self.store.rooms()
    }
}
