//! Where the messages of a room are kept.

use crate::open::open_enum;

open_enum! {
    /// Where the messages of a room are kept.
    RoomHistory: u8 {
        /// In the memory of the server, the newest of them. They are lost with it; acks say `Accepted`.
        Ring = 1,
        /// On disk, for as long as the room lives: they outlive the server, and their positions go on in the same epoch.
        /// Acks say `Durable`, and nobody is told of a message before it is synced.
        Stored = 2,
    }
}

impl Default for RoomHistory {
    /// What a live place needs.
    fn default() -> Self {
        Self::Ring
    }
}
