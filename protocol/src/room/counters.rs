//! Numbers of a room that many may add to at once.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::{
    bounded::{List, Text},
    id::{ClientMessageId, RoomId, UserId},
    limits::{COUNTER_KEY_BYTES_MAX, COUNTERS_MAX},
    position::Position,
};

/// The key of a counter; not empty.
pub type CounterKey = Text<COUNTER_KEY_BYTES_MAX>;

/// How a counter stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Counter {
    /// Its key.
    pub key: CounterKey,
    /// Its value, at most 2^52 from 0.
    pub value: i64,
}

/// What is to be added to a counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Increase {
    /// Which.
    pub key: CounterKey,
    /// So much; less than 0 decreases.
    pub by: i64,
}

/// Set and delete counters of a room, all or none. Its owner and its admins may; members if the room's settings say so.
/// Tencent's `setGroupCounters`.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `RightMissing`, `InvalidArgument`, `TooManyCounters`,
/// `CounterOutOfRange`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct SetCounters {
    /// Of which.
    pub room: RoomId,
    /// Those that are to be there, no key twice.
    pub set: List<Counter, COUNTERS_MAX>,
    /// Those that are to be gone. None that is set.
    pub deleted: List<CounterKey, COUNTERS_MAX>,
}

/// Add to counters of a room, all or none; those that are not there begin with 0. Tencent's `increaseGroupCounter` and
/// `decreaseGroupCounter`. A retry with the same `id` and the same increases adds nothing and gets how the counters stand;
/// a room remembers the last 1,024 ids, and refuses those that may be older.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `RightMissing`, `InvalidArgument`, `TooManyCounters`,
/// `CounterOutOfRange`, `MessageConflict`, `MessageIdStale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct IncreaseCounters {
    /// Of which.
    pub room: RoomId,
    /// The asker's own name for it: a UUIDv7 made with server time.
    pub id: ClientMessageId,
    /// At least one, no key twice.
    pub increases: List<Increase, COUNTERS_MAX>,
}

/// How the counters stand that were named and are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct CountersChanged {
    /// Their version. What is told of an older one is no news.
    pub version: u64,
    /// They, in the order of their keys.
    pub counters: List<Counter, COUNTERS_MAX>,
}

/// Ask for all counters of a room. Tencent's `getGroupCounters`.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Counters {
    /// Of which.
    pub room: RoomId,
}

/// All counters of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct CountersPage {
    /// Their version.
    pub version: u64,
    /// They, in the order of their keys.
    pub counters: List<Counter, COUNTERS_MAX>,
}

/// Counters of a room were changed. One event for each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct CountersUpdated {
    /// Of which.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// The version behind it: one more than before.
    pub version: u64,
    /// How those stand that were changed.
    pub counters: List<Counter, COUNTERS_MAX>,
    /// Those that are gone.
    pub deleted: List<CounterKey, COUNTERS_MAX>,
    /// By whom.
    pub operator: UserId,
    /// What they were.
    pub role: Role,
}
