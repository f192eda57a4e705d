//! What outlives a session. Coarse operations, each one atomic unit; the engine owns batching and threads.

pub mod commit;
pub mod embedded;
mod entry;
pub mod memory;

use futures_util::future::BoxFuture;
use quail_protocol::{
    Timestamp,
    id::{AppId, UserId},
    message::Ack,
    user::Profile,
};

pub use self::entry::{Append, Appended, Head, Place, Range, RangeQuery};

/// A conversation as the store knows it: the app first, and the two users of a peer pair in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationKey {
    /// A pair of users; twice the same user for notes to oneself.
    Peer(AppId, UserId, UserId),
}

impl ConversationKey {
    /// The thread of two users.
    pub fn peer(app: &AppId, one: &UserId, other: &UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self::Peer(app.clone(), low.clone(), high.clone())
    }
}

/// The engine failed. Nothing is known about what it was asked to write.
#[derive(Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Wraps what the engine said.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// A storage engine.
pub trait Store: Send + Sync + 'static {
    /// What a committed append promises.
    fn ack(&self) -> Ack;

    /// Places messages in the order given, in one atomic and (if [`Store::ack`] says so) durable step, and removes what
    /// they crowd out. Duplicates are found inside the batch too. One outcome per append, in the same order.
    fn append_batch(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>>;

    /// What becomes of `append` because of what was placed before; `None` if nothing was.
    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>>;

    /// Reads entries.
    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>>;

    /// How far many conversations have come, in the order asked.
    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>>;

    /// Forgets rows against duplicates whose ids are older, some days late at most. Returns how many.
    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Keeps what a user said of themself at login; `None` keeps what was there.
    fn put_profile(&self, app: &AppId, change: ProfileChange) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Profiles of those who ever logged in, in the order asked.
    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>>;
}

/// A change of a [`Profile`].
#[derive(Clone, Debug)]
pub struct ProfileChange {
    /// Whose.
    pub user: UserId,
    /// New display name.
    pub name: Option<quail_protocol::bounded::Text<{ quail_protocol::limits::NAME_BYTES_MAX }>>,
    /// New avatar URL.
    pub avatar: Option<quail_protocol::bounded::Text<{ quail_protocol::limits::AVATAR_BYTES_MAX }>>,
}

impl ProfileChange {
    /// The profile after the change.
    pub fn apply(self, before: Option<Profile>) -> Profile {
        let mut profile = before.unwrap_or_else(|| Profile {
            user: self.user,
            name: Default::default(),
            avatar: Default::default(),
        });
        if let Some(name) = self.name {
            profile.name = name;
        }
        if let Some(avatar) = self.avatar {
            profile.avatar = avatar;
        }
        profile
    }
}
