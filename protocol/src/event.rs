//! What the server says unasked. Past tense, numbered, skipped by clients that do not know the number.

use bytes::Bytes;
use postcard_schema::Schema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    conversation::{ConversationMarked, PeerMarked},
    frame::{self, Head, Malformed},
    message::{Behind, Changed, Dropped, Gap, Message, Signaled, Unnumbered},
    room::{
        AttributesUpdated, CountersUpdated, InfoUpdated, MemberAttributesUpdated, MembersJoined, MembersLeft,
        MuteAllChanged, RestrictionChanged, RoleChanged, RoomLeft, RoomStateChanged,
    },
    session::{Draining, TokenWillExpire},
    user::ProfileUpdated,
};

/// Number of an event. High byte: domain, low byte: event in it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema)]
pub struct Kind(pub u16);

/// The body of an event.
pub trait EventBody: Serialize + DeserializeOwned + Schema {
    /// Its number.
    const KIND: Kind;

    /// The whole frame.
    fn to_frame(&self) -> Bytes {
        frame::encode(&Head::Event { kind: Self::KIND }, self)
    }
}

/// The shape of an event's bytes and a way to check that bytes have it.
#[derive(Clone, Copy, Debug)]
pub struct EventSchema {
    /// Number on the wire.
    pub kind: Kind,
    /// `domain.name`, the name in logs and documents.
    pub name: &'static str,
    /// Shape of the body.
    pub body: &'static postcard_schema::schema::NamedType,
    /// Decodes a body and encodes it again; `None` if the bytes are not one.
    pub normalize: fn(&[u8]) -> Option<Vec<u8>>,
}

macro_rules! events {
    ($($number:literal $name:literal $variant:ident($body:ty) $doc:literal;)+) => {
        /// An event as a client receives it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $(#[doc = $doc] $variant($body),)+
            /// Where this client stands with a room has changed. The client says it, not the server: it has no number.
            RoomStateChanged(RoomStateChanged),
            /// An event of a later build; to be skipped.
            Unknown {
                /// Its number.
                kind: Kind,
                /// Its bytes.
                body: Bytes,
            },
        }

        impl Event {
            /// Reads the body that stands behind a [`Head::Event`].
            pub fn decode(kind: Kind, body: Bytes) -> Result<Self, Malformed> {
                Ok(match kind.0 {
                    $($number => Self::$variant(frame::decode(&body)?),)+
                    _ => Self::Unknown { kind, body },
                })
            }
        }

        $(impl EventBody for $body {
            const KIND: Kind = Kind($number);
        })+

        /// Every event the protocol defines, in number order.
        pub const EVENTS: &[EventSchema] = &[$(EventSchema {
            kind: Kind($number),
            name: $name,
            body: <$body as Schema>::SCHEMA,
            normalize: crate::operation::normalize::<$body>,
        }),+];

        const _: () = {
            let numbers: &[u16] = &[$($number),+];
            let mut i = 1;
            while i < numbers.len() {
                assert!(numbers[i - 1] < numbers[i], "event numbers must ascend and never repeat");
                i += 1;
            }
        };
    };
}

events! {
    0x0101 "session.draining" Draining(Draining)
        "The server is about to close every connection with `Close::Draining`.";
    0x0102 "session.token_will_expire" TokenWillExpire(TokenWillExpire)
        "The session ends with `Close::TokenExpired` unless the token is renewed.";
    0x0201 "user.updated" ProfileUpdated(ProfileUpdated)
        "The user's profile was changed: for their other sessions.";
    0x0501 "conversation.marked" ConversationMarked(ConversationMarked)
        "The user has come further in a conversation: for their other sessions.";
    0x0502 "conversation.peer_marked" PeerMarked(PeerMarked)
        "The other user has come further: the receipts for what was sent to them.";
    0x0601 "message.sent" MessageSent(Message)
        "A message was stored: for the recipient, and for the sender's other sessions.";
    0x0602 "message.behind" Behind(Behind)
        "Messages of a conversation were not pushed to this session; they are in its history.";
    0x0603 "message.changed" MessageChanged(Changed)
        "A message that has its place was changed: for the other user, and for the changer's other sessions.";
    0x0604 "message.passed" MessagePassed(Unnumbered)
        "A message without a number: for the recipient, and for the sender's other sessions.";
    0x0605 "message.dropped" MessagesDropped(Dropped)
        "Messages without a number were not told to this session.";
    0x0606 "message.signaled" Signaled(Signaled)
        "Somebody signals: for the recipient. In a datagram where the carrier has them.";
    0x0607 "message.gap" MessageGap(Gap)
        "Messages of a room were not told to this session, for lack of room in its outbox.";
    0x0701 "room.members_joined" MembersJoined(MembersJoined)
        "Users came into a room: for those who are in it.";
    0x0702 "room.members_left" MembersLeft(MembersLeft)
        "Users are out of a room: for those who are in it.";
    0x0703 "room.info_updated" RoomInfoUpdated(InfoUpdated)
        "What a room says of itself was changed: for those who are in it, but for the session that did it.";
    0x0704 "room.left" RoomLeft(RoomLeft)
        "This session is out of a room, and did not ask for it.";
    0x0720 "room.role_changed" RoomRoleChanged(RoleChanged)
        "Somebody's role in a room is another: for those who are in it, but for the session that did it.";
    0x0721 "room.restriction_changed" RoomRestrictionChanged(RestrictionChanged)
        "Somebody may or may not be in a room or speak in it: for those who are in it, but for the session that did it.";
    0x0722 "room.mute_all_changed" RoomMuteAllChanged(MuteAllChanged)
        "Everybody may or may not speak in a room: for those who are in it, but for the session that did it.";
    0x0730 "room.attributes_updated" AttributesUpdated(AttributesUpdated)
        "Attributes of a room were changed: for those who are in it, but for the session that did it.";
    0x0731 "room.member_attributes_updated" MemberAttributesUpdated(MemberAttributesUpdated)
        "Attributes of members of a room were changed: for those who are in it, but for the session that did it.";
    0x0740 "room.counters_updated" CountersUpdated(CountersUpdated)
        "Counters of a room were changed: for those who are in it, but for the session that did it.";
}
