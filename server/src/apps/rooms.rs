//! What an app allows its rooms.

use std::{num::NonZeroU64, time::Duration};

use bytesize::ByteSize;
use quail_protocol::limits::{
    ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, COUNTERS_MAX, MEMBER_ATTRIBUTES_BYTES_MAX, MEMBER_ATTRIBUTES_MAX,
};
use serde::{Deserialize, Serialize};

use crate::domain::room::{Allowance, Bounds, Capacity, Keep};

/// Rooms of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Rooms that one user may be in at a time. Default 50.
    pub per_user: usize,
    /// Rooms that there may be at a time of those that one user made. Default 100.
    pub made_per_user: usize,
    /// Rooms that the app may have at a time. Default 100000.
    pub per_app: usize,
    /// Users that one room may have at a time. Default: any number.
    pub members_max: Option<NonZeroU64>,
    /// Users that one room may ban at a time, and mute. Default 10000.
    pub restrictions_max: usize,
    /// Users that one room may have as admins at a time. Default 100.
    pub admins_max: usize,
    /// Messages of each room that are kept, the newest. Default 1000.
    pub ring_entries: usize,
    /// Bytes of them. Default 4MiB.
    pub ring_size: ByteSize,
    /// How long they are kept. Default 24h.
    #[serde(with = "humantime_serde")]
    pub ring_age: Duration,
    /// How long those who were in rooms have to come back when the server was started again; as long a room does not
    /// count as empty. Default 60s.
    #[serde(with = "humantime_serde")]
    pub return_grace: Duration,
    /// Whether users who are not in a room may ask how it stands: its name, notice, owner, how many are in it. Default
    /// false.
    pub info_for_outsiders: bool,
    /// How many messages each room passes on.
    pub budget: Budget,
    /// What each may hold beside its messages.
    pub holds: Holds,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            per_user: 50,
            made_per_user: 100,
            per_app: 100_000,
            members_max: None,
            restrictions_max: 10_000,
            admins_max: 100,
            ring_entries: 1000,
            ring_size: ByteSize::mib(4),
            ring_age: Duration::from_secs(24 * 3600),
            return_grace: Duration::from_secs(60),
            info_for_outsiders: false,
            budget: Budget::default(),
            holds: Holds::default(),
        }
    }
}

impl Rooms {
    /// The bounds of each.
    pub fn bounds(&self) -> Bounds {
        let age_ms_max = u64::try_from(self.ring_age.as_millis()).unwrap_or(u64::MAX);
        let Budget { window, high, normal, low, lowest } = self.budget;
        Bounds {
            members_max: self.members_max.map(NonZeroU64::get),
            restrictions_max: self.restrictions_max,
            admins_max: self.admins_max,
            keep: Keep {
                entries_max: self.ring_entries,
                bytes_max: usize::try_from(self.ring_size.as_u64()).unwrap_or(usize::MAX),
                age_ms_max,
            },
            allowance: Allowance { window, high, normal, low, lowest },
            capacity: self.holds.in_force(),
        }
    }
}

/// Messages that a room passes on in each window; more are refused with `RoomThrottled`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// How long a window is. Default 200ms.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// High gets in while so many are not reached, of all priorities. Default 40.
    pub high: u32,
    /// Normal gets in while so many below High are not reached. Default 20.
    pub normal: u32,
    /// Low likewise. Default 15.
    pub low: u32,
    /// Lowest likewise. Default 10.
    pub lowest: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { window: Duration::from_millis(200), high: 40, normal: 20, low: 15, lowest: 10 }
    }
}

/// Attributes and counters of a room; what would be more is refused. None may be above what the wire takes, which is the
/// default of all but one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Holds {
    /// Attributes of the room. Default 100.
    pub attributes: usize,
    /// Bytes of their keys and values. Default 64KiB.
    pub attributes_size: ByteSize,
    /// Attributes of one member. Default 30.
    pub member_attributes: usize,
    /// Bytes of their keys and values. Default 4KiB.
    pub member_attributes_size: ByteSize,
    /// Bytes of the attributes of all members together. Default 16MiB.
    pub all_members_size: ByteSize,
    /// Counters. Default 20.
    pub counters: usize,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            attributes: ATTRIBUTES_MAX,
            attributes_size: ByteSize(ATTRIBUTES_BYTES_MAX as u64),
            member_attributes: MEMBER_ATTRIBUTES_MAX,
            member_attributes_size: ByteSize(MEMBER_ATTRIBUTES_BYTES_MAX as u64),
            all_members_size: ByteSize::mib(16),
            counters: COUNTERS_MAX,
        }
    }
}

impl Holds {
    /// What holds, whatever the configuration says.
    fn in_force(&self) -> Capacity {
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Capacity {
            attributes: self.attributes.min(ATTRIBUTES_MAX),
            attributes_bytes: bytes(self.attributes_size).min(ATTRIBUTES_BYTES_MAX),
            member_attributes: self.member_attributes.min(MEMBER_ATTRIBUTES_MAX),
            member_attributes_bytes: bytes(self.member_attributes_size).min(MEMBER_ATTRIBUTES_BYTES_MAX),
            all_members_bytes: bytes(self.all_members_size),
            counters: self.counters.min(COUNTERS_MAX),
        }
    }
}
