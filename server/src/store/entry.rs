//! Entries of a conversation: one that waits for its place, those that have it, and how far they go.

use std::num::NonZeroU64;

use quail_protocol::{
    Conversation, Epoch, Position, Priority, Seq, Timestamp,
    conversation::Summary,
    id::{ClientMessageId, MessageId, UserId},
    message::{Ack, Body, Ext, Message, MessageKind, Sent},
};
use xxhash_rust::xxh3::Xxh3;

use super::{ConversationKey, StoreError};
use crate::domain::conversation::Marks;

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
    /// How many entries of the conversation are kept, the newest; `None` keeps all.
    pub keep: Option<NonZeroU64>,
}

impl Append {
    /// What a repetition must have in common with the first. Stored, so it may never change.
    pub(super) fn content_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&self.kind.number().to_be_bytes());
        hash.update(&[self.priority as u8]);
        hash.update(&self.body);
        hash.digest()
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
    /// The same message was placed before, there. It may have been trimmed since.
    Duplicate(Place),
    /// Its client message id was used with another body.
    Conflict,
}

/// Where a message was placed: what its sender is told, however often they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The server's name for the message.
    pub id: MessageId,
    /// Its position.
    pub position: Position,
    /// The number of the conversation's previous message of the same priority, 0 if there is none.
    pub prev: Seq,
    /// When it was placed.
    pub time: Timestamp,
}

impl Place {
    /// The place of `message`.
    pub fn of(message: &Message) -> Self {
        Self { id: message.id, position: message.position, prev: message.prev, time: message.time }
    }

    /// The reply to its sender.
    pub fn sent(self, ack: Ack) -> Sent {
        let Self { id, position, prev, time } = self;
        Sent { id, position, prev, time, ack }
    }
}

/// A row against duplicates: where the message was placed and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) place: Place,
    pub(super) content: u64,
}

impl Remembered {
    /// What becomes of an append with this content under the same client message id.
    pub(super) fn repeated(self, content: u64) -> Appended {
        if self.content == content { Appended::Duplicate(self.place) } else { Appended::Conflict }
    }
}

/// Entries that one append removes at most.
const TRIM_AT_ONCE: u64 = 16;

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

    /// What a user with these marks is told of the conversation.
    pub(super) fn summary(&self, conversation: Conversation, marks: Marks) -> Summary {
        let Self { position, first, time, .. } = *self;
        let Marks { delivered, read } = marks;
        Summary { conversation, head: position, first, time, delivered, read }
    }

    /// Gives up the oldest entries past `keep` and returns their numbers: a few of them, so that an append stays cheap
    /// where the limit was lowered, and more than one, so that it catches up.
    pub(super) fn trim(&mut self, keep: Option<NonZeroU64>) -> std::ops::Range<u64> {
        let first = self.first.0;
        let kept_from = keep.map_or(first, |keep| (self.position.seq.0 + 1).saturating_sub(keep.get()));
        self.first = Seq(kept_from.clamp(first, first + TRIM_AT_ONCE));
        first..self.first.0
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
    /// The first number that is still kept.
    pub first: Seq,
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
        let mut range = Self { head: head.position, first: head.first, messages: vec![], next: None };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_the_oldest_give_way_at_a_time() {
        for (first, newest, keep, expected) in [
            (1, 5, None, 1..1),
            (1, 5, Some(5), 1..1),
            (1, 5, Some(9), 1..1),
            (1, 6, Some(5), 1..2),
            (3, 8, Some(1), 3..8),
            (1, 100, Some(10), 1..17),
            (17, 100, Some(90), 17..17),
            (1, 3, Some(u64::MAX), 1..1),
        ] {
            let mut head = Head::empty(Epoch(1));
            (head.first, head.position.seq) = (Seq(first), Seq(newest));
            assert_eq!(
                head.trim(keep.and_then(NonZeroU64::new)),
                expected,
                "{first} to {newest}, keep {keep:?}"
            );
            assert_eq!(head.first.0, expected.end);
        }
    }
}
