//! Who is in a room, who came and who went.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::{
    bounded::{List, Text},
    id::{RoomId, UserId},
    limits::{AVATAR_BYTES_MAX, MEMBERS_PER_EVENT_MAX, MEMBERS_PER_PAGE_MAX, NAME_BYTES_MAX},
    open::open_enum,
    position::Position,
    time::Timestamp,
};

/// Page through the users in a room, in the order in which they came.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Members {
    /// Which.
    pub room: RoomId,
    /// The `next` of the page before; 0 begins.
    pub after: u64,
    /// At most this many, 0 to 100; 0 asks for their number alone.
    pub limit: u16,
    /// The newest first.
    pub newest_first: bool,
}

/// Some of the users in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MembersPage {
    /// How many are in it.
    pub count: u64,
    /// These.
    pub members: List<Member, MEMBERS_PER_PAGE_MAX>,
    /// The `after` of the next page, if there are more.
    pub next: Option<u64>,
}

/// A user in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Display name when they came in.
    pub name: Text<NAME_BYTES_MAX>,
    /// Avatar URL when they came in.
    pub avatar: Text<AVATAR_BYTES_MAX>,
    /// What they are.
    pub role: Role,
    /// When they came in.
    pub joined: Timestamp,
}

/// Users came in. In busy rooms those of a moment come together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MembersJoined {
    /// Where.
    pub room: RoomId,
    /// The room's newest position when this was sent.
    pub follows: Position,
    /// They, or the first 100 of them.
    pub joined: List<Member, MEMBERS_PER_EVENT_MAX>,
    /// How many they are.
    pub count: u32,
    /// How many are in it now.
    pub members: u64,
}

open_enum! {
    /// Why somebody is out of a room.
    LeaveCause: u8 {
        /// They left.
        Left = 1,
        /// Their last session was lost and did not come back.
        Offline = 2,
        /// They logged out, or gave way to another login.
        LoggedOut = 3,
        /// The room was dismissed.
        Dismissed = 4,
        /// The room ended by itself.
        Ended = 5,
        /// They were put out, and may come in again.
        KickedOut = 6,
        /// They were put out and are kept out.
        Banned = 7,
    }
}

/// A user who is out of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Gone {
    /// Who.
    pub user: UserId,
    /// Display name when they came in.
    pub name: Text<NAME_BYTES_MAX>,
    /// Avatar URL when they came in.
    pub avatar: Text<AVATAR_BYTES_MAX>,
    /// What they are.
    pub role: Role,
    /// Why.
    pub cause: LeaveCause,
}

/// Users are out. In busy rooms those of a moment come together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MembersLeft {
    /// Of where.
    pub room: RoomId,
    /// The room's newest position when this was sent.
    pub follows: Position,
    /// They, or the first 100 of them.
    pub left: List<Gone, MEMBERS_PER_EVENT_MAX>,
    /// How many they are.
    pub count: u32,
    /// How many are in it now.
    pub members: u64,
}
