//! Which of some users are in a room.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Member;
use crate::{
    bounded::List,
    id::{RoomId, UserId},
    limits::MEMBERS_PER_PAGE_MAX,
};

/// Ask which of up to 100 users are in a room. ZIM's `queryRoomMembers`. For those who are in it.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct QueryMembers {
    /// Which room.
    pub room: RoomId,
    /// Whom.
    pub users: List<UserId, MEMBERS_PER_PAGE_MAX>,
}

/// Those of them who are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MembersFound {
    /// In the order they were asked for. Users who are not in the room are left out.
    pub members: List<Member, MEMBERS_PER_PAGE_MAX>,
}
