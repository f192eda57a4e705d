//! What happened in a test, as its clients saw it: one record per call, answer and event, in the order of time.
//!
//! The checker reads nothing else, so that one set of rules holds for simulated and real runs alike.

use std::time::Duration;

mod room;

use quail_protocol::{
    Position, Priority, Seq,
    id::{ClientMessageId, RoomId, SessionId, UserId},
};

pub use self::room::{Counted, InRoom};

/// A terminal of a user. It keeps its name when its app starts again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub name: String,
}

/// The thread of two users, the lesser name first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thread(pub UserId, pub UserId);

impl Thread {
    /// The thread of two users in any order.
    pub fn of(one: &UserId, other: &UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self(low.clone(), high.clone())
    }
}

/// A message, as much of it as rules ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sender's name for it.
    pub id: ClientMessageId,
    /// Who sent it.
    pub sender: UserId,
    /// Its place.
    pub position: Position,
    /// The number of the thread's previous message of the same priority.
    pub prev: Seq,
    /// How urgent.
    pub priority: Priority,
    /// Stands for the body.
    pub hash: u64,
}

/// What the server says of a cursor after a reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Nothing is missing.
    CaughtUp,
    /// What is missing follows.
    Replay,
    /// Some of what is missing is no longer kept.
    Trimmed,
    /// The history was not continued.
    EpochChanged,
    /// The conversation is none of the user's.
    NotMember,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, from the start of the run.
    pub at: Duration,
    /// To which terminal; `None` for what the test itself does.
    pub device: Option<Device>,
    /// What.
    pub what: What,
}

/// See [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The app asks for a message to be sent; again with the same id if it repeats itself.
    Send {
        /// The sender's name for it.
        id: ClientMessageId,
        /// Where to.
        thread: Thread,
        /// How urgent.
        priority: Priority,
        /// Stands for the body.
        hash: u64,
    },
    /// The answer to a send: it has its place.
    Acked {
        /// Which.
        id: ClientMessageId,
        /// Where.
        thread: Thread,
        /// Its place.
        position: Position,
        /// The number of the thread's previous message of the same priority.
        prev: Seq,
    },
    /// The answer to a send: it was not placed, and this request never will.
    Refused {
        /// Which.
        id: ClientMessageId,
    },
    /// A send ended without an answer: it was placed once or not at all.
    Unknown {
        /// Which.
        id: ClientMessageId,
    },
    /// The app was handed a message.
    Received {
        /// Where.
        thread: Thread,
        /// The message.
        entry: Entry,
    },
    /// The app was told that it does not get what stands in the thread up to there and was not handed to it.
    Gap {
        /// Where.
        thread: Thread,
        /// Up to here.
        through: Position,
        /// Why.
        answer: Answer,
    },
    /// A cursor was answered after a reconnect.
    Resumed {
        /// Where.
        thread: Thread,
        /// Up to here the device was complete.
        cursor: Position,
        /// The head at that time.
        head: Position,
        /// The answer.
        answer: Answer,
    },
    /// The device is logged in.
    LoggedIn {
        /// The session.
        session: SessionId,
        /// It is the session of before.
        resumed: bool,
    },
    /// The device's connection is lost.
    Disconnected,
    /// The device's session was ended by a login elsewhere.
    KickedOut,
    /// The device's app ended and starts again.
    AppRestarted {
        /// With what it had kept.
        kept: bool,
    },
    /// A call that marks how far the user has got was answered.
    Marked {
        /// Where.
        thread: Thread,
        /// What was asked for: delivered up to here.
        asked_delivered: Seq,
        /// What was asked for: read up to here.
        asked_read: Seq,
        /// The answer: delivered up to here.
        delivered: Seq,
        /// The answer: read up to here.
        read: Seq,
    },
    /// A change that is no send was made; `value` is what it was set to or added.
    Changed {
        /// What was changed.
        what: String,
        /// To what.
        value: String,
        /// True if the change was acknowledged, false if nobody knows.
        acknowledged: bool,
    },
    /// The server's process died or was stopped.
    ServerEnded,
    /// A server serves again; its store was put back to an older state if `epoch_stepped`.
    ServerStarted {
        /// The store's generation was stepped by the operator.
        epoch_stepped: bool,
    },
    /// The network between a device and the server was cut or broken; the text says how.
    Fault(String),
    /// From now on nothing is broken any more.
    Healed,
    /// The whole of a thread, read from the server at the end.
    Log {
        /// Which.
        thread: Thread,
        /// Its newest position.
        head: Position,
        /// The first number that is still kept.
        first: Seq,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// At the end, how far a device believes itself complete.
    Complete {
        /// Where.
        thread: Thread,
        /// Up to here.
        through: Position,
    },
    /// Something that has to do with a room.
    Room {
        /// Which.
        room: RoomId,
        /// What.
        what: InRoom,
    },
    /// What the servers of the run counted of rooms, all lives of them together.
    Counted(Counted),
}
