//! A store that does something else than it is asked, or says something else than it did.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Conversation, Rev, Seq, Timestamp,
    conversation::Summary,
    id::{AppId, UserId},
    message::Ack,
    user::{FeedPage, Profile},
};
use quail_server::store::{
    Append, Appended, ChangesRead, ConversationKey, Head, Range, RangeQuery, RoomsKept, Store, StoreError,
    Write, Written,
};

/// How a store is tampered with: nowhere, unless it says otherwise.
pub(super) trait Tamper: Copy + Send + Sync + 'static {
    /// True if it remembers nothing that would tell a repetition.
    fn forgets(&self) -> bool {
        false
    }

    /// What is written. What is added at the end is written in silence.
    fn writes(&self, _batch: &mut Vec<Write>) {}

    /// What is said of a write.
    fn wrote(&self, _write: &Write, _written: &mut Written) {}

    /// What is read.
    fn read(&self, _query: &RangeQuery, _range: &mut Range) {}

    /// How far a conversation is said to have come.
    fn head(&self, _head: &mut Head) {}
}

/// `store`, tampered with.
pub(super) fn tampered(store: Arc<dyn Store>, tamper: impl Tamper) -> Arc<dyn Store> {
    Arc::new(Tampered { store, tamper })
}

struct Tampered<T> {
    store: Arc<dyn Store>,
    tamper: T,
}

impl<T: Tamper> Store for Tampered<T> {
    fn ack(&self) -> Ack {
        self.store.ack()
    }

    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>> {
        async move {
            if self.tamper.forgets() {
                self.store.forget_duplicates(Timestamp(u64::MAX)).await?;
            }
            let mut writes = batch.clone();
            self.tamper.writes(&mut writes);
            let mut written = self.store.write_batch(writes).await?;
            written.truncate(batch.len());
            for (write, written) in batch.iter().zip(&mut written) {
                self.tamper.wrote(write, written);
            }
            Ok(written)
        }
        .boxed()
    }

    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>> {
        self.store.find(append)
    }

    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>> {
        let reading = self.store.read_range(key, query);
        async move {
            let mut range = reading.await?;
            self.tamper.read(&query, &mut range);
            Ok(range)
        }
        .boxed()
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
        let reading = self.store.heads(keys);
        async move {
            let mut heads = reading.await?;
            heads.iter_mut().for_each(|head| self.tamper.head(head));
            Ok(heads)
        }
        .boxed()
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
