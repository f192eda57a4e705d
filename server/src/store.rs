//! What outlives a session. Coarse operations, each one atomic unit; the engine owns batching and threads.

pub mod commit;
pub mod embedded;
mod entry;
mod feed;
mod forget;
pub mod memory;
mod recall;
mod room;
mod user;

use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Code, Conversation, Epoch, Position, Priority, Rev, Seq, Timestamp,
    conversation::Summary,
    id::{AppId, RoomId, UserId},
    message::Ack,
    user::{FeedPage, Profile},
};

use crate::domain::conversation::Reader;

pub use self::{
    entry::{Append, Appended, ChangesRead, Head, Place, Range, RangeQuery, content_hash},
    feed::FEED_ENTRIES_MAX,
    forget::{Forget, Forgotten},
    recall::{RecallChange, RecallKept},
    room::{RoomChange, RoomRow, RoomsKept},
    user::{MarkChange, MarkKept, ProfileChange, ProfileKept},
};

/// How a user stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The newest position of the user's feed.
    pub feed: Position,
    /// The first of the user's conversations, in the order of their names.
    pub conversations: Vec<Summary>,
    /// The user has more of them.
    pub more: bool,
}

/// A conversation as the store knows it: the app first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationKey {
    /// A pair of users, in one order; twice the same user for notes to oneself.
    Peer(AppId, UserId, UserId),
    /// A room whose messages are kept, and the epoch that it was made under: one that is made again under the same name
    /// is another. No user has a view of it.
    Room(AppId, RoomId, Epoch),
}

impl ConversationKey {
    /// The thread of two users.
    pub fn peer(app: &AppId, one: &UserId, other: &UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self::Peer(app.clone(), low.clone(), high.clone())
    }

    /// Its tenant.
    pub fn app(&self) -> &AppId {
        let (Self::Peer(app, ..) | Self::Room(app, ..)) = self;
        app
    }

    /// Each of its users who has a view of it, and how they name it.
    fn views(&self) -> Vec<(&AppId, &UserId, Conversation)> {
        let Self::Peer(app, low, high) = self else { return vec![] };
        let mut views = vec![(app, low, Conversation::Peer(high.clone()))];
        if low != high {
            views.push((app, high, Conversation::Peer(low.clone())));
        }
        views
    }

    /// True if the countable messages of `user` stand under the side that comes first. A room has one side.
    fn is_low(&self, user: &UserId) -> bool {
        match self {
            Self::Peer(_, low, _) => low == user,
            Self::Room(..) => true,
        }
    }

    /// Which side `user` is.
    fn reader(&self, user: &UserId) -> Reader {
        match self {
            Self::Peer(_, low, high) if low != high && low == user => Reader::Low,
            Self::Peer(_, low, high) if low != high => Reader::High,
            Self::Peer(..) | Self::Room(..) => Reader::Both,
        }
    }

    /// The other user of a pair, unless it is a conversation with oneself.
    pub fn other(&self, user: &UserId) -> Option<&UserId> {
        match self {
            Self::Peer(_, low, high) if low != high => Some(if low == user { high } else { low }),
            Self::Peer(..) | Self::Room(..) => None,
        }
    }

    /// The conversation that `user` names so. `InvalidArgument` if it is a room, of which its name alone says too little, or
    /// of a kind that is not kept.
    pub fn of(app: &AppId, user: &UserId, conversation: &Conversation) -> Result<Self, Code> {
        match conversation {
            Conversation::Peer(peer) => Ok(Self::peer(app, user, peer)),
            Conversation::Room(_) | Conversation::Group(_) => Err(Code::InvalidArgument),
        }
    }
}

/// A change that waits for its turn.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are messages; a box would be an allocation for each"
)]
#[derive(Clone, Debug)]
pub enum Write {
    /// A message that is to be placed.
    Append(Append),
    /// How far a user has come.
    Mark(MarkChange),
    /// What a user says of themself.
    Profile(ProfileChange),
    /// A message that is to be taken back.
    Recall(RecallChange),
    /// What is kept of a room.
    Room(RoomChange),
    /// Messages of a room that is over.
    Forget(Forget),
}

impl Write {
    /// How urgent.
    pub fn priority(&self) -> Priority {
        match self {
            Self::Append(append) => append.priority,
            Self::Mark(_) | Self::Profile(_) | Self::Recall(_) | Self::Room(_) => Priority::Normal,
            // Whatever was queued before it is written before it.
            Self::Forget(_) => Priority::Lowest,
        }
    }

    /// Says when it was made.
    pub(crate) fn stamp(&mut self, time: Timestamp) {
        match self {
            Self::Append(append) => append.time = time,
            Self::Mark(_) | Self::Room(_) | Self::Forget(_) => {}
            Self::Profile(change) => change.time = time,
            Self::Recall(change) => change.time = time,
        }
    }

    /// Bytes of what a message says, or of the rows of a room.
    fn content_bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.content.bytes(),
            Self::Room(change) => change.bytes(),
            Self::Mark(_) | Self::Profile(_) | Self::Recall(_) | Self::Forget(_) => 0,
        }
    }
}

/// What became of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Of a message.
    Append(Appended),
    /// Of marks; `None` if they were of another epoch.
    Mark(Option<MarkKept>),
    /// Of a profile.
    Profile(ProfileKept),
    /// Of a message that was to be taken back, or why it was not.
    Recall(Result<RecallKept, Code>),
    /// Of a room.
    Room,
    /// Of messages of a room that is over.
    Forget(Forgotten),
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

    /// Makes changes in the order given, in one atomic and (if [`Store::ack`] says so) durable step; each sees those
    /// before it. A message gets the next place, removes what it crowds out, and is recognised as a repetition inside
    /// the batch too. One outcome per write, in the same order.
    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>>;

    /// What becomes of `append` because of what was placed before; `None` if nothing was.
    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>>;

    /// Reads entries.
    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>>;

    /// Reads changes of placed entries behind `since`, at most so many and so many bytes of what they say.
    fn changes(
        &self,
        key: &ConversationKey,
        since: Rev,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<ChangesRead, StoreError>>;

    /// How far many conversations have come, in the order asked.
    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>>;

    /// How up to `limit` conversations of a user stand, in the order of their names behind `after`, and if there are
    /// more.
    fn conversations(
        &self,
        app: &AppId,
        user: &UserId,
        after: Option<&Conversation>,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Summary>, bool), StoreError>>;

    /// Reads the feed of a user behind `after`; a `limit` of 0 asks for its ends alone.
    fn feed(
        &self,
        app: &AppId,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<FeedPage, StoreError>>;

    /// What a login tells of a user, with up to `limit` of the user's first conversations. Engines that have it in one read
    /// need no two.
    fn overview<'a>(
        &'a self,
        app: &'a AppId,
        user: &'a UserId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Overview, StoreError>> {
        async move {
            let feed = self.feed(app, user, Seq(0), 0).await?.head;
            let (conversations, more) = match limit {
                0 => Default::default(),
                limit => self.conversations(app, user, None, limit).await?,
            };
            Ok(Overview { feed, conversations, more })
        }
        .boxed()
    }

    /// Forgets rows against duplicates whose ids are older, some days late at most. Returns how many.
    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Profiles of those who ever logged in, in the order asked.
    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>>;

    /// All that is kept of rooms, rows of one room together. For a server that starts.
    fn rooms(&self) -> BoxFuture<'_, Result<RoomsKept, StoreError>>;
}
