//! What an app allows its rooms.

use std::{num::NonZeroU64, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::room::{Allowance, Bounds, Keep};

/// Rooms of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Rooms that one user may be in at a time. Default 50.
    pub per_user: usize,
    /// Rooms that the app may have at a time. Default 100000.
    pub per_app: usize,
    /// Users that one room may have at a time. Default: any number.
    pub members_max: Option<NonZeroU64>,
    /// Users that one room may ban at a time, and mute. Default 10000.
    pub restrictions_max: usize,
    /// Messages of each room that are kept, the newest. Default 1000.
    pub ring_entries: usize,
    /// How long they are kept. Default 24h.
    #[serde(with = "humantime_serde")]
    pub ring_age: Duration,
    /// How many messages each room passes on.
    pub budget: Budget,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            per_user: 50,
            per_app: 100_000,
            members_max: None,
            restrictions_max: 10_000,
            ring_entries: 1000,
            ring_age: Duration::from_secs(24 * 3600),
            budget: Budget::default(),
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
            keep: Keep { entries_max: self.ring_entries, age_ms_max },
            allowance: Allowance { window, high, normal, low, lowest },
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
