//! What outlives a server of its rooms: rows that the room alone understands.

use quail_protocol::{
    Epoch,
    id::{AppId, RoomId},
};

use super::ConversationKey;

/// Rows of one room that are written, and removed, in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomChange {
    /// The tenant.
    pub app: AppId,
    /// Which room.
    pub room: RoomId,
    /// The room's epoch: the store remembers the highest of all rooms that ever were.
    pub epoch: Epoch,
    /// Names of rows and what they hold from now on; `None` removes.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl RoomChange {
    /// Bytes of names and values.
    pub(super) fn bytes(&self) -> usize {
        self.rows.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// A row of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// The tenant.
    pub app: AppId,
    /// Which room.
    pub room: RoomId,
    /// Its name in the room.
    pub name: Vec<u8>,
    /// What it holds.
    pub value: Vec<u8>,
}

/// What is kept of all rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsKept {
    /// The highest epoch that a room ever had.
    pub last_epoch: Epoch,
    /// The rows of living rooms, those of one room together.
    pub rows: Vec<RoomRow>,
    /// Rooms of which there are messages: those of rooms that are over are yet to be removed.
    pub histories: Vec<ConversationKey>,
}
