//! What outlives a session. Coarse operations, each one atomic unit; the engine owns batching and threads.

pub mod commit;
pub mod embedded;
pub mod memory;

use futures_util::future::BoxFuture;
use quail_protocol::{
    Conversation, Position, Priority, Seq, Timestamp,
    id::{AppId, ClientMessageId, MessageId, UserId},
    message::{Ack, Body, Ext, Message, MessageKind},
    user::Profile,
};

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

/// A message that was checked and waits for its place.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where it goes.
    pub key: ConversationKey,
    /// The conversation as the sender named it.
    pub conversation: Conversation,
    /// Who sends.
    pub sender: UserId,
    /// The server's name for it.
    pub id: MessageId,
    /// The sender's name for it; with sender and conversation the key against duplicates.
    pub client_id: ClientMessageId,
    /// When it arrived; the committer stamps it again when it is placed.
    pub time: Timestamp,
    /// How urgent.
    pub priority: Priority,
    /// How the body is read.
    pub kind: MessageKind,
    /// The body.
    pub body: Body,
    /// Extensions.
    pub ext: Ext,
}

impl Append {
    /// True if `message` says the same, so that placing this again would be a repetition.
    pub fn is_content_of(&self, message: &Message) -> bool {
        self.kind == message.kind && self.priority == message.priority && self.body == message.body
    }

    /// The message, once it has its place.
    pub fn into_message(self, position: Position, prev: Seq) -> Message {
        Message {
            id: self.id,
            client_id: self.client_id,
            conversation: self.conversation,
            sender: self.sender,
            position,
            prev,
            priority: self.priority,
            time: self.time,
            kind: self.kind,
            body: self.body,
            ext: self.ext,
        }
    }
}

/// What became of an [`Append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It has its place.
    Placed(Message),
    /// The same message was placed before; this is it.
    Duplicate(Message),
    /// Its client message id was used with another body.
    Conflict,
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its newest position.
    pub position: Position,
    /// The newest number of each priority, 0 where there is none.
    pub last_by_priority: [Seq; Priority::COUNT],
    /// The first number that is still kept.
    pub first: Seq,
}

/// Entries of a conversation in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The newest position; seq 0 if there is no entry.
    pub head: Position,
    /// The entries.
    pub messages: Vec<Message>,
    /// Where to go on, if entries of the range are left.
    pub next: Option<Seq>,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct RangeQuery {
    /// First number wanted.
    pub from: Seq,
    /// Last number wanted, included.
    pub to: Seq,
    /// At most so many entries.
    pub entries_max: usize,
    /// At most so many bytes of bodies and extensions, but at least one entry.
    pub bytes_max: usize,
}

impl Range {
    /// Reads `entries`, ascending, until one is more than `query` wants.
    fn fill(
        head: Position,
        query: RangeQuery,
        entries: impl IntoIterator<Item = Result<Message, StoreError>>,
    ) -> Result<Self, StoreError> {
        let mut range = Self { head, messages: vec![], next: None };
        let mut bytes = 0;
        for message in entries {
            let message = message?;
            bytes += message.content_bytes();
            let full = range.messages.len() == query.entries_max || bytes > query.bytes_max;
            if full && !range.messages.is_empty() {
                range.next = Some(message.position.seq);
                break;
            }
            range.messages.push(message);
        }
        Ok(range)
    }
}

impl RangeQuery {
    /// First and last number that there can be; the first may be above the last.
    fn within(&self, head: Seq) -> (Seq, Seq) {
        (self.from.max(Seq(1)), self.to.min(head))
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

    /// Places messages in the order given, in one atomic and (if [`Store::ack`] says so) durable step. Duplicates
    /// are found inside the batch too. One outcome per append, in the same order.
    fn append_batch(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>>;

    /// Looks for a message by the key against duplicates.
    fn find(
        &self,
        key: &ConversationKey,
        sender: &UserId,
        client_id: ClientMessageId,
    ) -> BoxFuture<'_, Result<Option<Message>, StoreError>>;

    /// Reads entries.
    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>>;

    /// Newest positions of many conversations, in the order asked.
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
