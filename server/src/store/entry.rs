//! Entries of a conversation: one that waits for its place, those that have it, and how far they go.

use quail_protocol::{
    Conversation, Epoch, Position, Priority, Seq, Timestamp,
    id::{ClientMessageId, MessageId, UserId},
    message::{Body, Ext, Message, MessageKind},
};

use super::{ConversationKey, StoreError};

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
    /// The newest position; seq 0 if there is no entry.
    pub position: Position,
    /// The newest number of each priority, 0 if it has none.
    pub last_by_priority: [Seq; Priority::COUNT],
    /// The first number that is still kept; 1 if nothing was trimmed.
    pub first: Seq,
    /// When the newest entry was placed, 0 if there is none.
    pub time: Timestamp,
}

impl Head {
    /// Of a conversation without an entry.
    pub fn empty(epoch: Epoch) -> Self {
        Self {
            position: Position { epoch, seq: Seq(0) },
            last_by_priority: [Seq(0); Priority::COUNT],
            first: Seq(1),
            time: Timestamp(0),
        }
    }

    /// Takes the next number for an entry. Returns the newest number of its priority before.
    pub(super) fn advance(&mut self, priority: Priority, time: Timestamp) -> Seq {
        self.position.seq = self.position.seq.next();
        self.time = time;
        std::mem::replace(&mut self.last_by_priority[priority.index()], self.position.seq)
    }
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
    pub(super) fn fill(
        head: Head,
        query: RangeQuery,
        entries: impl IntoIterator<Item = Result<Message, StoreError>>,
    ) -> Result<Self, StoreError> {
        let mut range = Self { head: head.position, messages: vec![], next: None };
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
    pub(super) fn within(&self, head: &Head) -> (Seq, Seq) {
        (self.from.max(head.first), self.to.min(head.position.seq))
    }
}
