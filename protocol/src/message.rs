//! Domain `message`: sending, reading back, taking back.

mod change;
mod content;
mod kind;
mod passing;
mod payload;

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

pub use self::{
    change::{Changed, Changes, ChangesPage, Recall, RecallNote, Recalled},
    content::{Body, Content, Ext, ExtPair, Extension, Mentions, Options},
    kind::{MessageKind, RateClass, SizeClass},
    passing::{Dropped, Gap, Signal, SignalBody, SignalKind, Signaled, Unnumbered},
    payload::{
        Barrage, Caption, Command, CommandNotice, ContactNotice, Custom, DiscussionNotice, File, Image,
        InformationNotice, KINDS, KindSchema, Location, MessageBody, Payload, ProfileNotice, RichContent,
        Text, Url, Video, Voice, Word,
    },
};
use crate::{
    bounded::{self, List},
    conversation::Conversation,
    id::{ClientMessageId, MessageId, UserId},
    lane::Priority,
    limits::{AVATAR_BYTES_MAX, HISTORY_ENTRIES_MAX, NAME_BYTES_MAX},
    open::open_enum,
    operation::operations,
    position::{Position, Rev, Seq},
    room::Role,
    time::Timestamp,
};

operations! { 0x06 "message" {
    0x01 "send"    Send    => Sent,        User, Send,   Kind,   priority;
    0x02 "history" History => Page,        Visitor, Query, Query,  control;
    0x03 "recall"  Recall  => Recalled,    User, Change, Change, control;
    0x04 "changes" Changes => ChangesPage, Visitor, Query, Query,  control;
}}

open_enum! {
    /// What a positive answer to a send promises.
    Ack: u8 {
        /// Ordered and handed to every receiver's outbox. Lost if the server's process dies.
        Accepted = 1,
        /// Committed and synced to disk.
        Durable = 2,
        /// Nothing was done: the message was for those who are there, and the other side has no connection.
        NotDelivered = 3,
    }
}

/// Send a message.
///
/// Rejects: `RateLimited`, `MessageTooLarge`, `MessageKindRefused`, `MessageConflict`, `MessageIdStale`, `UserUnknown`,
/// `InvalidArgument`, `Malformed`. A retry with the same `id` and the same content gets the first result, from whatever
/// session of the sender, for as long as duplicates are remembered; after that its id is stale. A message without a number
/// is not remembered: repeating it tells it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Send {
    /// To whom.
    pub conversation: Conversation,
    /// The sender's own name for the message: a UUIDv7 made with server time.
    pub id: ClientMessageId,
    /// How urgent.
    pub priority: Priority,
    /// What it says.
    pub content: Content,
}

/// The message has its place. Enqueued to the sending session where the event would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Sent {
    /// The server's name for the message.
    pub id: MessageId,
    /// Its place. Of a message without a number: the conversation's newest position when it passed. Zero if nothing
    /// happened because of `online_only`.
    pub position: Position,
    /// The number of the conversation's previous message of the same priority, 0 if there is none.
    pub prev: Seq,
    /// The number of the conversation's last change then.
    pub rev: Rev,
    /// The priority that it got. Whoever may not send as urgently as they asked, or not so often, is lowered to Normal.
    pub priority: Priority,
    /// When it was placed.
    pub time: Timestamp,
    /// What is promised.
    pub ack: Ack,
}

/// What everybody in a room is to see of a sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct SenderNote {
    /// Display name.
    pub name: bounded::Text<NAME_BYTES_MAX>,
    /// Avatar URL.
    pub avatar: bounded::Text<AVATAR_BYTES_MAX>,
    /// What they are in the room.
    pub role: Role,
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
    /// What the sender was then; in rooms alone.
    pub member: Option<SenderNote>,
    /// Its place.
    pub position: Position,
    /// The number of the conversation's previous message of the same priority, 0 if there is none.
    pub prev: Seq,
    /// How many messages of the conversation that count as unread stand up to here, this one included.
    pub ordinal: u64,
    /// The number of the change that made it what it is; of one that was never changed, that of the conversation's last
    /// change before it was placed.
    pub rev: Rev,
    /// That it was recalled. Nothing is left of its content then but kind and options.
    pub recall: Option<RecallNote>,
    /// How urgent.
    pub priority: Priority,
    /// When it was placed.
    pub time: Timestamp,
    /// What it says.
    pub content: Content,
}

impl Message {
    /// Bytes of what it says, who sent it and where, the part of it whose size varies much.
    pub fn bytes(&self) -> usize {
        let member =
            self.member.as_ref().map_or(0, |note| note.name.as_str().len() + note.avatar.as_str().len());
        let conversation = match &self.conversation {
            Conversation::Room(room) => room.as_str().len(),
            _ => 0,
        };
        self.content.bytes() + member + conversation + self.sender.as_str().len()
    }
}

/// Read entries of a conversation.
///
/// Rejects: `RateLimited`, `InvalidArgument`.
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
    /// From which end.
    pub direction: Direction,
}

/// From which end a range is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum Direction {
    /// The oldest of the range first.
    #[default]
    Forwards,
    /// The newest of the range first.
    Backwards,
}

/// Entries in ascending order, whatever the direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Page {
    /// The conversation's newest position; seq 0 if it has no entry.
    pub head: Position,
    /// The first number that is still kept; what was asked for before it is gone. 1 if nothing is.
    pub first: Seq,
    /// The number of the conversation's last change.
    pub rev: Rev,
    /// The entries, fewer than asked for if a frame could not hold them.
    pub messages: List<Message, HISTORY_ENTRIES_MAX>,
    /// Where to go on, if entries of the range are left: the next `from` forwards, the next `to` backwards.
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
    /// The number of a change up to which changes have to be read, if it is above the last that is known.
    pub rev: Rev,
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
