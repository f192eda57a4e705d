//! Writing to a store as the committer does, without one; and a store that fails.

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

/// Places messages as one batch of `store`.
pub async fn append_batch(
    store: &(impl Store + ?Sized),
    batch: Vec<Append>,
) -> Result<Vec<Appended>, StoreError> {
    let outcomes = store.write_batch(batch.into_iter().map(Write::Append).collect()).await?;
    let appended = |outcome| match outcome {
        Written::Append(appended) => appended,
        other => panic!("a message became {other:?}"),
    };
    Ok(outcomes.into_iter().map(appended).collect())
}

/// A store that fails where it is told to, in front of another.
pub struct Failing<F> {
    store: Arc<dyn Store>,
    fate: F,
}

/// What becomes of what a [`Failing`] store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The store behind it answers.
    Answered,
    /// It fails.
    Fails,
    /// It is never answered.
    Hangs,
}

/// What a [`Failing`] store is asked.
#[derive(Debug)]
pub enum Asked<'a> {
    /// To write.
    Write(&'a [Write]),
    /// For entries of a feed, not only for its ends.
    Feed,
    /// For the ends of a feed.
    FeedEnds,
    /// For profiles.
    Profiles,
}

impl<F: Fn(Asked<'_>) -> Fate + Send + Sync + 'static> Failing<F> {
    /// Does what `fate` says.
    pub fn before(store: Arc<dyn Store>, fate: F) -> Arc<dyn Store> {
        Arc::new(Self { store, fate })
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

fn meets<'a, T: Send + 'static>(fate: Fate, answer: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
    match fate {
        Fate::Answered => answer(),
        Fate::Fails => std::future::ready(Err(StoreError::new("it was told to fail"))).boxed(),
        Fate::Hangs => std::future::pending().boxed(),
    }
}

impl<F: Fn(Asked<'_>) -> Fate + Send + Sync + 'static> Store for Failing<F> {
    fn ack(&self) -> Ack {
        self.store.ack()
    }

    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>> {
        meets((self.fate)(Asked::Write(&batch)), || self.store.write_batch(batch))
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
        let asked = if limit > 0 { Asked::Feed } else { Asked::FeedEnds };
        meets((self.fate)(asked), || self.store.feed(app, user, after, limit))
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.store.forget_duplicates(older_than)
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        meets((self.fate)(Asked::Profiles), || self.store.profiles(app, users))
    }

    fn rooms(&self) -> BoxFuture<'_, Result<RoomsKept, StoreError>> {
        self.store.rooms()
    }
}
