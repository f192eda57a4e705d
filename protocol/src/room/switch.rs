//! From one room into another.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::{Entered, Settings};
use crate::{id::RoomId, position::Position};

/// Leave a room and come into another in one step. ZIM's `switchRoom`. Whoever is not let into the other stays where they
/// are. Of the rooms that a user may be in it counts as one.
///
/// Rejects: `RateLimited`, `NotInRoom` for the first one, and those of `room.join` or, with settings, of `room.enter` for the
/// second; `InvalidArgument` if both are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Switch {
    /// Which to leave, with this session.
    pub from: RoomId,
    /// Which to come into.
    pub to: RoomId,
    /// What the other room begins with, if it begins now. Without it the room has to be there: ZIM's
    /// `isCreateWhenRoomNotExisted`.
    pub settings: Option<Settings>,
    /// How many of its newest messages are wanted, 0 to 50.
    pub recent: u8,
}

/// This session is in the one room and out of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Switched {
    /// As if it had come into the other one alone.
    pub entered: Entered,
    /// The newest position of the room that was left; zero if it was put out of it at the same moment.
    pub last: Position,
}
