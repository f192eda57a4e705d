//! Domain `conversation`: naming one, and how far a user has come in it.

use std::fmt;

use postcard_schema::{Schema, schema::NamedType};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    bounded::List,
    id::{GroupId, InvalidId, RoomId, UserId},
    limits::SYNC_CONVERSATIONS_MAX,
    operation::operations,
    position::{Epoch, Position, Rev, Seq},
    time::Timestamp,
};

operations! { 0x05 "conversation" {
    0x01 "mark" Mark => Marked,        User, Change, Change, control;
    0x02 "sync" Sync => Conversations, User, Query,  Query,  control;
}}

/// A conversation as one of its users names it.
///
/// On the wire a number and a text. In a peer message it is the *recipient*: a reader whose own id stands there finds
/// the other side in the message's sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conversation {
    /// The thread with another user, or with oneself.
    Peer(UserId),
    /// A live place.
    Room(RoomId),
    /// A durable body of members.
    Group(GroupId),
}

#[derive(Serialize, Deserialize, Schema)]
struct Wire<'a> {
    kind: u8,
    id: &'a str,
}

const PEER: u8 = 1;
const ROOM: u8 = 2;
const GROUP: u8 = 3;

impl Conversation {
    /// The number of its kind, and the id that names it among those of its kind.
    pub fn parts(&self) -> (u8, &str) {
        match self {
            Self::Peer(user) => (PEER, user.as_str()),
            Self::Room(room) => (ROOM, room.as_str()),
            Self::Group(group) => (GROUP, group.as_str()),
        }
    }

    /// The conversation of [`Conversation::parts`]; `None` if this build does not know the kind.
    pub fn from_parts(kind: u8, id: &str) -> Result<Option<Self>, InvalidId> {
        Ok(Some(match kind {
            PEER => Self::Peer(UserId::new(id)?),
            ROOM => Self::Room(RoomId::new(id)?),
            GROUP => Self::Group(GroupId::new(id)?),
            _ => return Ok(None),
        }))
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(user) => write!(f, "peer {user}"),
            Self::Room(room) => write!(f, "room {room}"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

impl Serialize for Conversation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, id) = self.parts();
        Wire { kind, id }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { kind, id } = Wire::deserialize(deserializer)?;
        match Self::from_parts(kind, id).map_err(de::Error::custom)? {
            Some(conversation) => Ok(conversation),
            None => Err(de::Error::custom(format_args!("conversation kind {kind}"))),
        }
    }
}

impl Schema for Conversation {
    const SCHEMA: &'static NamedType =
        &NamedType { name: "Conversation", ty: <Wire<'static> as Schema>::SCHEMA.ty };
}

/// Say how far the user has come. What was read was delivered; lower numbers than before change nothing, and numbers
/// above the head mean the head.
///
/// Rejects: `RateLimited`, `EpochMismatch`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Mark {
    /// Where.
    pub conversation: Conversation,
    /// The incarnation that the numbers are of.
    pub epoch: Epoch,
    /// Every entry up to here reached a terminal of the user.
    pub delivered: Seq,
    /// Every entry up to here was read; 0 if only `delivered` is to change.
    pub read: Seq,
}

/// The marks that are in force, on all terminals of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Marked {
    /// Up to here entries reached the user.
    pub delivered: Seq,
    /// Up to here they were read; not above `delivered`.
    pub read: Seq,
    /// Messages of others above `read` that count as unread.
    pub unread: u64,
}

/// The user has come further, on another terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ConversationMarked {
    /// Where.
    pub conversation: Conversation,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Up to here entries reached the user.
    pub delivered: Seq,
    /// Up to here they were read; not above `delivered`.
    pub read: Seq,
    /// Messages of others above `read` that count as unread.
    pub unread: u64,
}

/// The other user of a peer conversation has come further: receipts for what was sent to them. An app can turn them off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct PeerMarked {
    /// Where, as the receiver of this event names it: the other user.
    pub conversation: Conversation,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Up to here entries reached the other user.
    pub delivered: Seq,
    /// Up to here they read them; not above `delivered`.
    pub read: Seq,
}

/// Page through the user's own conversations: those that have had an entry.
///
/// Rejects: `RateLimited`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Sync {
    /// Go on behind this one, where a page before ended. Without it from the beginning.
    pub after: Option<Conversation>,
    /// At most this many conversations, 1 to 100.
    pub limit: u16,
}

/// Some of the user's conversations, in a fixed order that says nothing of their age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Conversations {
    /// How each of them stands.
    pub conversations: List<Summary, SYNC_CONVERSATIONS_MAX>,
    /// The `after` of the next page, if conversations are left.
    pub next: Option<Conversation>,
}

/// How a conversation stands, for one of its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Summary {
    /// Which, as this user names it.
    pub conversation: Conversation,
    /// Its newest position.
    pub head: Position,
    /// The first number that is still kept.
    pub first: Seq,
    /// The number of its last change.
    pub rev: Rev,
    /// When the newest entry was placed.
    pub time: Timestamp,
    /// Up to here entries reached the user.
    pub delivered: Seq,
    /// Up to here they were read; not above `delivered`.
    pub read: Seq,
    /// Messages of others above `read` that count as unread.
    pub unread: u64,
    /// Up to here entries reached the other user; 0 where receipts are off, or the conversation is with oneself.
    pub peer_delivered: Seq,
    /// Up to here the other user has read them; 0 likewise.
    pub peer_read: Seq,
}
