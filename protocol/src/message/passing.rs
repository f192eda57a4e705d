//! What gets no number: told to those who are there, then forgotten.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::{Content, SenderNote};
use crate::{
    bounded::Blob,
    conversation::Conversation,
    id::{ClientMessageId, MessageId, UserId},
    lane::Priority,
    limits::SIGNAL_BYTES_MAX,
    open::open_enum,
    position::Position,
    time::Timestamp,
};

/// A message without a number: a Command, or any other that was sent without `persist`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Unnumbered {
    /// The server's name for it.
    pub id: MessageId,
    /// The sender's name for it.
    pub client_id: ClientMessageId,
    /// To whom, as the sender named it.
    pub conversation: Conversation,
    /// Who sent it.
    pub sender: UserId,
    /// What the sender was then; in rooms alone.
    pub member: Option<SenderNote>,
    /// The conversation's newest position when it passed.
    pub follows: Position,
    /// How urgent.
    pub priority: Priority,
    /// When it passed.
    pub time: Timestamp,
    /// What it says.
    pub content: Content,
}

/// Messages without a number were not told to this session, for lack of room. There is nowhere to read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Dropped {
    /// Which conversation, as this session names it.
    pub conversation: Conversation,
    /// How many since the last such event.
    pub count: u32,
}

/// Messages of a room were not told to this session, for lack of room in its outbox. Told on the lane of their priority, in
/// their place: take `through` for the last number of the priority that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Gap {
    /// Which conversation.
    pub conversation: Conversation,
    /// Of which priority.
    pub priority: Priority,
    /// The last of them.
    pub through: Position,
    /// How many they are.
    pub count: u32,
}

open_enum! {
    /// What a signal says.
    SignalKind: u16 {
        /// The user is writing.
        Typing = 1,
        /// What the app defines; the body says more.
        Custom = 200,
    }
}

/// What a signal says beside its kind.
pub type SignalBody = Blob<SIGNAL_BYTES_MAX>;

/// Something that is worth a try and no more: no answer, no order, may be lost. Sent as a frame of its own kind, in a
/// datagram where the carrier has them.
///
/// Over the rate, or of a conversation that is not served, it is discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Signal {
    /// To whom.
    pub conversation: Conversation,
    /// What it says.
    pub kind: SignalKind,
    /// More of it.
    pub body: SignalBody,
}

/// Somebody signals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Signaled {
    /// To whom, as the sender named it.
    pub conversation: Conversation,
    /// Who.
    pub sender: UserId,
    /// What.
    pub kind: SignalKind,
    /// More of it.
    pub body: SignalBody,
}
