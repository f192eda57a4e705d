//! Domain `message`: sending and reading back.

use bytes::Bytes;
use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{Blob, List, TooLong},
    conversation::Conversation,
    frame::{self, Malformed},
    id::{ClientMessageId, MessageId, UserId},
    lane::Priority,
    limits::{BODY_BYTES_MAX, EXT_PAIRS_MAX, EXT_VALUE_BYTES_MAX, HISTORY_ENTRIES_MAX, TEXT_BYTES_MAX},
    open::open_enum,
    operation::operations,
    position::{Position, Seq},
    time::Timestamp,
};

operations! { 0x06 "message" {
    0x01 "send"    Send    => Sent, User, Send,  Kind,  priority;
    0x02 "history" History => Page, User, Query, Query, control;
}}

open_enum! {
    /// What a message is; says how its body is read and which limits hold. ZIM calls it `ZIMMessageType`.
    MessageKind: u16 {
        /// [`Text`], at most 32 KiB.
        Text = 1,
    }
}

open_enum! {
    /// What a positive answer to a send promises.
    Ack: u8 {
        /// Ordered and handed to every receiver's outbox. Lost if the server's process dies.
        Accepted = 1,
        /// Committed and synced to disk.
        Durable = 2,
    }
}

/// Bytes of a message body, read by its kind.
pub type Body = Blob<BODY_BYTES_MAX>;

/// Pairs for later extensions: unknown tags are kept and passed on.
pub type Ext = List<ExtPair, EXT_PAIRS_MAX>;

/// One extension value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ExtPair {
    /// What it means.
    pub tag: u16,
    /// Its bytes.
    pub value: Blob<EXT_VALUE_BYTES_MAX>,
}

/// Send a message.
///
/// Rejects: `RateLimited`, `MessageTooLarge`, `MessageKindRefused`, `MessageConflict`, `MessageIdStale`,
/// `InvalidArgument`. A retry with the same `id` and the same body gets the first result, from whatever session of the
/// sender, for as long as duplicates are remembered; after that its id is stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Send {
    /// To whom.
    pub conversation: Conversation,
    /// The sender's own name for the message: a UUIDv7 made with server time.
    pub id: ClientMessageId,
    /// How urgent.
    pub priority: Priority,
    /// How the body is read.
    pub kind: MessageKind,
    /// The body.
    pub body: Body,
    /// Extensions.
    pub ext: Ext,
}

/// The message has its place. Enqueued to the sending session where the event would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Sent {
    /// The server's name for the message.
    pub id: MessageId,
    /// Its place.
    pub position: Position,
    /// The number of the conversation's previous message of the same priority, 0 if there is none.
    pub prev: Seq,
    /// When it was placed.
    pub time: Timestamp,
    /// What is promised.
    pub ack: Ack,
}

impl Sent {
    /// What the sender of `message` is told.
    pub fn of(message: &Message, ack: Ack) -> Self {
        Self { id: message.id, position: message.position, prev: message.prev, time: message.time, ack }
    }
}

/// A placed message, the same bytes for every reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Message {
    /// The server's name for it.
    pub id: MessageId,
    /// The sender's name for it.
    pub client_id: ClientMessageId,
    /// To whom, as the sender named it.
    pub conversation: Conversation,
    /// Who sent it.
    pub sender: UserId,
    /// Its place.
    pub position: Position,
    /// The number of the conversation's previous message of the same priority, 0 if there is none.
    pub prev: Seq,
    /// How urgent.
    pub priority: Priority,
    /// When it was placed.
    pub time: Timestamp,
    /// How the body is read.
    pub kind: MessageKind,
    /// The body.
    pub body: Body,
    /// Extensions, unknown ones included.
    pub ext: Ext,
}

impl Message {
    /// Bytes of body and extension values, the part of a message whose size varies much.
    pub fn content_bytes(&self) -> usize {
        self.body.len() + self.ext.iter().map(|pair| pair.value.len()).sum::<usize>()
    }
}

/// Body of [`MessageKind::Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Text {
    /// The text, UTF-8, not empty.
    pub text: String,
}

impl Text {
    /// The body that holds `text`.
    pub fn encode(text: impl Into<String>) -> Result<Body, TooLong> {
        let text = text.into();
        if text.len() > TEXT_BYTES_MAX {
            return Err(TooLong { max: TEXT_BYTES_MAX });
        }
        let bytes =
            postcard::to_stdvec(&Self { text }).unwrap_or_else(|_| unreachable!("a string always encodes"));
        Body::new(Bytes::from(bytes))
    }

    /// Reads a body.
    pub fn decode(body: &Body) -> Result<Self, Malformed> {
        frame::decode(body)
    }
}

/// Read entries of a conversation forwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct History {
    /// Which conversation.
    pub conversation: Conversation,
    /// First number wanted; 0 and 1 both mean the oldest.
    pub from: Seq,
    /// Last number wanted, included.
    pub to: Seq,
    /// At most this many entries, 1 to 100.
    pub limit: u16,
}

/// Entries in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Page {
    /// The conversation's newest position; seq 0 if it has no entry.
    pub head: Position,
    /// The first number that is still kept; what was asked for before it is gone. 1 if nothing is.
    pub first: Seq,
    /// The entries, fewer than asked for if a frame could not hold them.
    pub messages: List<Message, HISTORY_ENTRIES_MAX>,
    /// Where to go on, if entries of the range are left.
    pub next: Option<Seq>,
}

/// Messages of a conversation were not pushed to this session: what the session does not have up to `head` has to be
/// read from the history, as far as it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Behind {
    /// Which conversation, as this session names it.
    pub conversation: Conversation,
    /// Its newest position when this was sent.
    pub head: Position,
    /// Why.
    pub cause: BehindCause,
}

open_enum! {
    /// Why messages were not pushed. The server itself says `SlowReader`; the others are what a client's library tells
    /// its app of the answers to a resume.
    BehindCause: u8 {
        /// The session read too slowly, and its events were discarded.
        SlowReader = 1,
        /// Some of them are no longer kept.
        Trimmed = 2,
        /// The history before is not continued.
        EpochChanged = 3,
        /// The user is no member any more.
        NotMember = 4,
        /// The server refused to give out the history.
        Refused = 5,
    }
}
