//! Domain `room`: live places. What they are outlives the server; so do their messages, if they are made so.

mod attributes;
mod counters;
mod history;
mod info;
mod members;
mod moderation;
mod query;
mod standing;
mod switch;

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

pub use self::{
    attributes::{
        Attribute, AttributeKey, AttributeValue, Attributes, AttributesCause, AttributesChanged,
        AttributesPage, AttributesUpdated, DeleteAttributes, MemberAttribute, MemberAttributeKey,
        MemberAttributes, MemberAttributesChanged, MemberAttributesPage, MemberAttributesUpdated, OfMember,
        Pair, SetAttributes, SetMemberAttributes,
    },
    counters::{
        Counter, CounterKey, Counters, CountersChanged, CountersPage, CountersUpdated, Increase,
        IncreaseCounters, SetCounters,
    },
    history::RoomHistory,
    info::{Info, InfoChanged, InfoUpdated, RoomInfo, UpdateInfo},
    members::{Gone, LeaveCause, Member, Members, MembersJoined, MembersLeft, MembersPage},
    moderation::{
        Ban, Kick, Kicked, Mute, MuteAll, MuteAllChanged, Operator, Reason, Restricted, Restriction,
        RestrictionChanged, RestrictionKind, Restrictions, RestrictionsPage, RoleChanged, RoleSet, SetRole,
        Transfer, Transferred,
    },
    query::{MembersFound, QueryMembers},
    standing::{RoomStateChanged, Standing, StandingCause, StandingDetail},
    switch::{Switch, Switched},
};
use crate::{
    bounded::List,
    id::{RoomId, UserId},
    limits::RECENT_MAX,
    message::Message,
    open::open_enum,
    operation::operations,
    position::{Position, Rev, Seq},
    time::Timestamp,
};

operations! { 0x07 "room" {
    0x01 "create"      Create     => Entered,     User, Change, Change, control;
    0x02 "join"        Join       => Entered,     Visitor, Change, Change, control;
    0x03 "enter"       Enter      => Entered,     User, Change, Change, control;
    0x04 "leave"       Leave      => Left,        Visitor, Change, Change, control;
    0x05 "leave_all"   LeaveAll   => LeftAll,     Visitor, Change, Change, control;
    0x06 "dismiss"     Dismiss    => Dismissed,   User, Change, Change, control;
    0x07 "update_info" UpdateInfo => InfoChanged, User, Change, Change, control;
    0x08 "info"        Info       => RoomState,   Visitor, Query,  Query,  control;
    0x09 "members"     Members    => MembersPage, User, Query,  Query,  control;
    0x0a "switch"      Switch     => Switched,    User, Change, Change, control;
    0x0b "query"       QueryMembers => MembersFound, User, Query, Query, control;
    0x20 "set_role"    SetRole    => RoleSet,     User, Change, Change, control;
    0x21 "transfer"    Transfer   => Transferred, User, Change, Change, control;
    0x22 "kick"        Kick       => Kicked,      User, Change, Change, control;
    0x23 "ban"         Ban        => Restricted,  User, Change, Change, control;
    0x24 "mute"        Mute       => Restricted,  User, Change, Change, control;
    0x25 "mute_all"    MuteAll    => Restricted,  User, Change, Change, control;
    0x26 "restrictions" Restrictions => RestrictionsPage, User, Query, Query, control;
    0x30 "set_attributes"        SetAttributes       => AttributesChanged,       User, Change, Change, control;
    0x31 "delete_attributes"     DeleteAttributes    => AttributesChanged,       User, Change, Change, control;
    0x32 "attributes"            Attributes          => AttributesPage,          Visitor, Query,  Query,  control;
    0x33 "set_member_attributes" SetMemberAttributes => MemberAttributesChanged, User, Change, Change, control;
    0x34 "member_attributes"     MemberAttributes    => MemberAttributesPage,    User, Query,  Query,  control;
    0x40 "set_counters"          SetCounters         => CountersChanged,         User, Change, Change, control;
    0x41 "increase_counters"     IncreaseCounters    => CountersChanged,         User, Send,   Change, control;
    0x42 "counters"              Counters            => CountersPage,            Visitor, Query,  Query,  control;
}}

open_enum! {
    /// What somebody is in a room. ZIM's group roles; its rooms have none.
    Role: u8 {
        /// Who created it.
        Owner = 1,
        /// Whom the owner trusts.
        Admin = 2,
        /// Everybody else.
        Member = 3,
    }
}

open_enum! {
    /// When a room ends by itself.
    LifetimeKind: u8 {
        /// So many milliseconds after the last one left.
        WhenEmpty = 1,
        /// At a time, whoever is in it; in milliseconds since 1970.
        Until = 2,
        /// Not before it is dismissed.
        Kept = 3,
    }
}

/// When a room ends by itself. ZIM's `roomDestroyDelayTime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Lifetime {
    /// What it depends on.
    pub kind: LifetimeKind,
    /// When; 0 for a room that is kept.
    pub ms: u64,
}

impl Default for Lifetime {
    /// At once when the last one left.
    fn default() -> Self {
        Self { kind: LifetimeKind::WhenEmpty, ms: 0 }
    }
}

/// What a room begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Settings {
    /// What it says of itself.
    pub info: RoomInfo,
    /// When it ends by itself.
    pub lifetime: Lifetime,
    /// Whether every member may change its counters. Otherwise its owner and its admins may.
    pub counters_for_members: bool,
    /// Messages come without [`Message::member`], and whoever is told to have come or gone without name and avatar:
    /// fewer bytes where all know each other.
    pub omit_notes: bool,
    /// Where its messages are kept.
    pub history: RoomHistory,
}

/// Make a room and be in it, as its owner. ZIM's `createRoom`.
///
/// Rejects: `RateLimited`, `RoomExists`, `TooManyRooms`, `AppRoomsFull`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Create {
    /// Its name among the rooms of the app.
    pub room: RoomId,
    /// What it begins with.
    pub settings: Settings,
}

/// Come into a room that exists. ZIM's `joinRoom`. Whoever is in already gets the same answer with another status.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `RoomFull`, `TooManyRooms`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Join {
    /// Which.
    pub room: RoomId,
    /// How many of the newest messages are wanted, 0 to 50. RongCloud's `count`.
    pub recent: u8,
}

/// Come into a room, and make it if it does not exist. ZIM's `enterRoom`: only who makes it decides its settings.
///
/// Rejects: `RateLimited`, `RoomFull`, `TooManyRooms`, `AppRoomsFull`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Enter {
    /// Which.
    pub room: RoomId,
    /// What it begins with, if it begins now.
    pub settings: Settings,
    /// How many of the newest messages are wanted, 0 to 50.
    pub recent: u8,
}

open_enum! {
    /// How somebody came in.
    EntryStatus: u8 {
        /// The room was made.
        Created = 1,
        /// The room was there.
        Joined = 2,
        /// This session was in the room already.
        AlreadyIn = 3,
    }
}

/// This session is in the room. What is placed behind `head` comes as events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Entered {
    /// How.
    pub status: EntryStatus,
    /// How the room stands.
    pub state: RoomState,
    /// The newest messages that were asked for, oldest first; fewer if a frame could not hold them.
    pub recent: List<Message, RECENT_MAX>,
}

/// How a room stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RoomState {
    /// Which.
    pub room: RoomId,
    /// What it says of itself.
    pub info: RoomInfo,
    /// When it ends by itself.
    pub lifetime: Lifetime,
    /// Whether every member may change its counters.
    pub counters_for_members: bool,
    /// Whether names, avatars and roles are left out of messages and events.
    pub omit_notes: bool,
    /// Where its messages are kept.
    pub history: RoomHistory,
    /// Who owns it, even if they are not in it.
    pub owner: UserId,
    /// How many users are in it.
    pub members: u64,
    /// How many visitors are in it beside them.
    pub visitors: u64,
    /// Its newest position.
    pub head: Position,
    /// The first number that is still kept.
    pub first: Seq,
    /// The number of the newest change of a message.
    pub rev: Rev,
    /// When it was made.
    pub created: Timestamp,
    /// What the asking user is in it; none if they are not in it.
    pub role: Option<Role>,
    /// The version of its attributes, 0 if none was ever set.
    pub attributes_version: u64,
    /// The version of what is set of its members.
    pub member_attributes_version: u64,
    /// The version of its counters.
    pub counters_version: u64,
}

/// Leave a room with this session; the user is out when the last one left. ZIM's `leaveRoom`.
///
/// Rejects: `RateLimited`, `NotInRoom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Leave {
    /// Which.
    pub room: RoomId,
    /// With every session of the user.
    pub all_devices: bool,
}

/// This session is out. Nothing of the room up to `last` comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Left {
    /// The room's newest position then.
    pub last: Position,
}

/// Leave every room with this session. ZIM's `leaveAllRoom`.
///
/// Rejects: `RateLimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct LeaveAll {
    /// With every session of the user.
    pub all_devices: bool,
}

/// This session is in no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct LeftAll {
    /// How many there were.
    pub rooms: u32,
}

/// End a room. Only its owner may.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `RightMissing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Dismiss {
    /// Which.
    pub room: RoomId,
    /// Why.
    pub reason: Reason,
}

/// The room is gone. One of the same name may be made at once; its epoch is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Dismissed {
    /// Its last position.
    pub last: Position,
}

/// This session is out of a room, and did not ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RoomLeft {
    /// Of which.
    pub room: RoomId,
    /// The room's newest position then; later frames at or below it are to be ignored.
    pub last: Position,
    /// Why.
    pub cause: LeaveCause,
    /// Who did it, if somebody did.
    pub operator: Option<UserId>,
    /// What they said of it.
    pub reason: Reason,
}
