//! Domain `conversation`: naming one, and how far a user has come in it.

use std::fmt;

use postcard_schema::{Schema, schema::NamedType};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    id::{GroupId, InvalidId, RoomId, UserId},
    operation::operations,
    position::{Epoch, Seq},
};

operations! { 0x05 "conversation" {
    0x01 "mark" Mark => Marked, User, Change, Change, control;
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
    fn from_parts(kind: u8, id: &str) -> Result<Option<Self>, InvalidId> {
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
        let (kind, id) = match self {
            Self::Peer(user) => (PEER, user.as_str()),
            Self::Room(room) => (ROOM, room.as_str()),
            Self::Group(group) => (GROUP, group.as_str()),
        };
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
}
