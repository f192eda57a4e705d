//! What happened in rooms.

use quail_protocol::{
    Code, Position, Priority, Seq,
    id::{ClientMessageId, UserId},
    message::BehindCause,
};

use super::Entry;

/// Something that has to do with a room, see [`super::What::Room`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InRoom {
    /// The app asks to come in.
    Entering,
    /// The answer: it is in, and gets what is placed behind `head`.
    Entered {
        /// The newest position.
        head: Position,
    },
    /// The answer: it is not let in, or was in before.
    NotLetIn,
    /// The device is out, by its own call or because it was told so.
    Left {
        /// The newest position then.
        last: Position,
    },
    /// The app was told that it is out as it asked to be, maybe without an answer to its call.
    Parted,
    /// The app asks for a message to be sent; again with the same id if it repeats itself.
    Send {
        /// The sender's name for it.
        id: ClientMessageId,
        /// How urgent it is to be.
        priority: Priority,
        /// Stands for the body.
        hash: u64,
        /// Whether it is to get a number.
        numbered: bool,
    },
    /// The answer to a send: it has its place.
    Acked {
        /// Which.
        id: ClientMessageId,
        /// Its place; what it follows if it gets no number.
        position: Position,
        /// The number of the room's previous message of the same priority.
        prev: Seq,
        /// How urgent it is.
        priority: Priority,
    },
    /// The answer to a send: it is refused.
    Refused {
        /// Which.
        id: ClientMessageId,
        /// Why.
        code: Code,
    },
    /// A send ended without an answer: it was placed once or not at all.
    Unknown {
        /// Which.
        id: ClientMessageId,
    },
    /// The app was handed a message.
    Received {
        /// The message.
        entry: Entry,
    },
    /// The app was handed a message without a number.
    Passed {
        /// The sender's name for it.
        id: ClientMessageId,
        /// Stands for the body.
        hash: u64,
    },
    /// The app was told of something else that has no number.
    Told,
    /// The app was told that messages were dropped on the way.
    Gap {
        /// Of which priority.
        priority: Priority,
        /// Up to here.
        through: Position,
        /// How many.
        count: u32,
    },
    /// The app was told that things without a number were dropped on the way.
    Dropped {
        /// How many.
        count: u32,
    },
    /// The app was told that it does not get what stands up to `head` and was not handed to it.
    Behind {
        /// Up to here.
        head: Position,
        /// Why.
        cause: BehindCause,
    },
    /// Somebody is to be muted, or to speak again.
    Muting {
        /// Who.
        user: UserId,
        /// Muted.
        on: bool,
    },
    /// The answer: it is so.
    Muted {
        /// Who.
        user: UserId,
        /// Muted.
        on: bool,
    },
    /// What is kept of the room's messages, read from the server at the end.
    Log {
        /// The newest position.
        head: Position,
        /// The first number that is still kept.
        first: Seq,
        /// The entries.
        entries: Vec<Entry>,
    },
}

/// What servers counted of rooms: one for each outbox that something was put into, or found no room in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages that were put into outboxes.
    pub queued: u64,
    /// Messages that found no room.
    pub dropped: u64,
    /// Things without a number that were put into outboxes.
    pub passed: u64,
    /// Things without a number that found no room.
    pub passed_dropped: u64,
    /// Sends that were refused because the room had too many.
    pub throttled: u64,
}
