//! What a room says of itself.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::{
    bounded::{Blob, Text},
    id::{RoomId, UserId},
    limits::{AVATAR_BYTES_MAX, NAME_BYTES_MAX, ROOM_EXTENSION_BYTES_MAX, ROOM_NOTICE_BYTES_MAX},
    position::Position,
};

/// What a room says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RoomInfo {
    /// Display name.
    pub name: Text<NAME_BYTES_MAX>,
    /// What everybody is to know.
    pub notice: Text<ROOM_NOTICE_BYTES_MAX>,
    /// Avatar URL.
    pub avatar: Text<AVATAR_BYTES_MAX>,
    /// What the app adds.
    pub extension: Blob<ROOM_EXTENSION_BYTES_MAX>,
}

/// Change what a room says of itself. Its owner and its admins may.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `RightMissing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct UpdateInfo {
    /// Which.
    pub room: RoomId,
    /// New name; `None` keeps what was there.
    pub name: Option<Text<NAME_BYTES_MAX>>,
    /// New notice; `None` keeps what was there.
    pub notice: Option<Text<ROOM_NOTICE_BYTES_MAX>>,
    /// New avatar URL; `None` keeps what was there.
    pub avatar: Option<Text<AVATAR_BYTES_MAX>>,
    /// New extension; `None` keeps what was there.
    pub extension: Option<Blob<ROOM_EXTENSION_BYTES_MAX>>,
}

/// The change is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct InfoChanged {
    /// All that the room says of itself.
    pub info: RoomInfo,
}

/// Ask how a room stands. Whoever is not in it may only if the app is configured so, and gets it without a role.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Info {
    /// Which.
    pub room: RoomId,
}

/// What a room says of itself was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct InfoUpdated {
    /// Which.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// All of it.
    pub info: RoomInfo,
    /// By whom.
    pub operator: UserId,
    /// What they were.
    pub role: Role,
}
