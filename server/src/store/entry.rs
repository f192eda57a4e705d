//! Entries of a conversation: one that waits for its place, those that have it, and how far they go.

use std::num::NonZeroU64;

use quail_protocol::{
    Conversation, Epoch, Position, Priority, Rev, Seq, Timestamp,
    id::{ClientMessageId, MessageId, UserId},
    message::{Ack, Content, Direction, Message, SenderNote, Sent, Unnumbered},
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{ConversationKey, StoreError};
use crate::domain::conversation::{Countable, kept_from};

/// A message that was checked and waits for its place, or for its turn if it gets none.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where it goes.
    pub key: ConversationKey,
    /// The conversation as the sender named it.
    pub conversation: Conversation,
    /// Who sends.
    pub sender: UserId,
    /// What everybody in a room is to see of them.
    pub member: Option<SenderNote>,
    /// The server's name for it.
    pub id: MessageId,
    /// The sender's name for it; with sender and conversation the key against duplicates.
    pub client_id: ClientMessageId,
    /// When it arrived; the committer stamps it again when it is placed.
    pub time: Timestamp,
    /// How urgent it was to be: a repetition asks for the same, whatever it gets.
    pub asked: Priority,
    /// How urgent it is.
    pub priority: Priority,
    /// What it says.
    pub content: Content,
    /// Who must have logged in before, or the message is refused.
    pub known: Option<UserId>,
    /// How many entries of the conversation are kept, the newest; `None` keeps all.
    pub keep: Option<NonZeroU64>,
}

impl Append {
    /// A text to oneself, for tests.
    #[cfg(test)]
    pub(super) fn note(sender: &str, text: &str) -> Self {
        let app = quail_protocol::id::AppId::new("demo").unwrap();
        let user = UserId::new(sender).unwrap();
        let text = quail_protocol::message::Text::encode(text).unwrap();
        Self {
            key: ConversationKey::peer(&app, &user, &user),
            conversation: Conversation::Peer(user.clone()),
            sender: user,
            member: None,
            id: MessageId([0; 16]),
            client_id: ClientMessageId([0; 16]),
            time: Timestamp(0),
            asked: Priority::Normal,
            priority: Priority::Normal,
            content: Content::new(quail_protocol::message::MessageKind::Text, text),
            known: None,
            keep: None,
        }
    }

    /// See [`content_hash`].
    pub(super) fn content_hash(&self) -> u64 {
        content_hash(self.asked, &self.content)
    }

    /// The entry, once the message has the newest place, which `head` has.
    pub(super) fn into_entry(self, head: &Head, prev: Seq) -> Entry {
        let Head { position, rev, countable, .. } = *head;
        let message = Message {
            id: self.id,
            client_id: self.client_id,
            conversation: self.conversation,
            sender: self.sender,
            member: self.member,
            position,
            prev,
            ordinal: countable.ordinal(),
            rev,
            recall: None,
            priority: self.priority,
            time: self.time,
            content: self.content,
        };
        Entry { message, countable: countable.into() }
    }

    /// The message, if it gets no place.
    pub(super) fn into_unnumbered(self, follows: Position) -> Unnumbered {
        Unnumbered {
            id: self.id,
            client_id: self.client_id,
            conversation: self.conversation,
            sender: self.sender,
            member: self.member,
            follows,
            priority: self.priority,
            time: self.time,
            content: self.content,
        }
    }
}

/// What a repetition of a message must have in common with the first. Stored, so it may never change.
pub fn content_hash(priority: Priority, content: &Content) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&content.kind.number().to_be_bytes());
    hash.update(&[priority as u8]);
    hash.update(&content.body);
    hash.update(&content.extension);
    hash.digest()
}

/// A placed message, and what the store knows of it beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) countable: Counts,
}

impl Entry {
    /// The number of its last change, if there was one.
    pub(super) fn changed_at(&self) -> Option<Rev> {
        self.message.recall.as_ref().map(|_| self.message.rev)
    }
}

/// A [`Countable`] as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts(u64, u64);

impl From<Countable> for Counts {
    fn from(Countable { by_low, by_high }: Countable) -> Self {
        Self(by_low, by_high)
    }
}

impl From<Counts> for Countable {
    fn from(Counts(by_low, by_high): Counts) -> Self {
        Self { by_low, by_high }
    }
}

/// What became of an [`Append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It has its place.
    Placed(Message),
    /// The same message was placed before, there. It may have been trimmed since.
    Duplicate(Place),
    /// Its client message id was used with another content.
    Conflict,
    /// It gets no place, and is told once.
    Passed(Unnumbered),
    /// Whom it is for has never logged in.
    RecipientUnknown,
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
    /// The number of the conversation's last change then.
    pub rev: Rev,
    /// The priority that it got.
    pub priority: Priority,
    /// When it was placed.
    pub time: Timestamp,
}

impl Place {
    /// The place of `message`.
    pub fn of(message: &Message) -> Self {
        let Message { id, position, prev, rev, priority, time, .. } = *message;
        Self { id, position, prev, rev, priority, time }
    }

    /// The reply to its sender.
    pub fn sent(self, ack: Ack) -> Sent {
        let Self { id, position, prev, rev, priority, time } = self;
        Sent { id, position, prev, rev, priority, time, ack }
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
    /// The number of the last change.
    pub rev: Rev,
    /// How many messages count as unread.
    pub countable: Countable,
}

impl Head {
    /// Of a conversation without an entry.
    pub fn empty(epoch: Epoch) -> Self {
        Self {
            position: Position { epoch, seq: Seq(0) },
            last_by_priority: [Seq(0); Priority::COUNT],
            first: Seq(1),
            time: Timestamp(0),
            rev: Rev(0),
            countable: Countable::default(),
        }
    }

    /// Gives up the oldest entries past `keep`, a few of them, and returns their numbers.
    pub(super) fn trim(&mut self, keep: Option<NonZeroU64>) -> std::ops::Range<u64> {
        let first = self.first;
        self.first = kept_from(first, self.position.seq, keep);
        first.0..self.first.0
    }

    /// Takes the next number for a message. Returns the newest number of its priority before.
    pub(super) fn advance(&mut self, append: &Append) -> Seq {
        self.position.seq = self.position.seq.next();
        self.time = append.time;
        if append.content.options.count {
            self.countable.step(append.key.is_low(&append.sender));
        }
        std::mem::replace(&mut self.last_by_priority[append.priority.index()], self.position.seq)
    }
}

/// Entries of a conversation in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The newest position; seq 0 if there is no entry.
    pub head: Position,
    /// The first number that is still kept.
    pub first: Seq,
    /// The number of the last change.
    pub rev: Rev,
    /// The entries.
    pub messages: Vec<Message>,
    /// Where to go on, if entries of the range are left: the next `from`, or backwards the next `to`.
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
    /// From which end.
    pub direction: Direction,
}

impl Range {
    /// Reads `entries`, in the direction of `query`, until one is more than it wants.
    pub(crate) fn fill(
        head: Head,
        query: RangeQuery,
        entries: impl IntoIterator<Item = Result<Message, StoreError>>,
    ) -> Result<Self, StoreError> {
        let Head { position: head, first, rev, .. } = head;
        let mut range = Self { head, first, rev, messages: vec![], next: None };
        let mut room = Room::of(query.entries_max, query.bytes_max);
        for message in entries {
            let message = message?;
            if !room.takes(&message) {
                range.next = Some(message.position.seq);
                break;
            }
            range.messages.push(message);
        }
        if query.direction == Direction::Backwards {
            range.messages.reverse();
        }
        Ok(range)
    }
}

/// Messages in the order of their last changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesRead {
    /// The newest position.
    pub head: Position,
    /// Changes up to here were looked at.
    pub rev: Rev,
    /// The messages as they are now.
    pub messages: Vec<Message>,
    /// True if changes are left.
    pub more: bool,
}

impl ChangesRead {
    /// Reads `changes`, ascending and with the message of each that is still kept, until one is more than is wanted.
    pub(crate) fn fill(
        head: Head,
        entries_max: usize,
        bytes_max: usize,
        changes: impl IntoIterator<Item = Result<(Rev, Option<Message>), StoreError>>,
    ) -> Result<Self, StoreError> {
        let mut read = Self { head: head.position, rev: Rev(0), messages: vec![], more: false };
        let mut room = Room::of(entries_max, bytes_max);
        for change in changes {
            let (rev, message) = change?;
            if let Some(message) = message {
                if !room.takes(&message) {
                    read.more = true;
                    return Ok(read);
                }
                read.messages.push(message);
            }
            read.rev = rev;
        }
        read.rev = head.rev;
        Ok(read)
    }
}

/// Room for messages in one reply; the first always fits.
struct Room {
    entries: usize,
    bytes: usize,
    is_empty: bool,
}

impl Room {
    fn of(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes, is_empty: true }
    }

    fn takes(&mut self, message: &Message) -> bool {
        let bytes = message.bytes();
        let fits = self.is_empty || self.entries > 0 && bytes <= self.bytes;
        self.is_empty = false;
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        fits
    }
}

impl RangeQuery {
    /// First and last number that there can be; the first may be above the last.
    pub(super) fn within(&self, head: &Head) -> (Seq, Seq) {
        (self.from.max(head.first), self.to.min(head.position.seq))
    }
}

#[cfg(test)]
mod tests;
