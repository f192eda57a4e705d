//! Lanes and the priorities that travel on them.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

/// An ordered way between two ends. Order is kept inside a lane and promised nowhere else.
///
/// The variants stand in the order in which a writer serves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Login, membership, queries, receipts, notices.
    Control,
    /// Messages of [`Priority::High`].
    High,
    /// Messages of [`Priority::Normal`].
    Normal,
    /// Messages of [`Priority::Low`], long replies, replay.
    Low,
    /// Messages of [`Priority::Lowest`].
    Lowest,
}

impl Lane {
    /// How many lanes there are.
    pub const COUNT: usize = 5;

    /// All lanes, most urgent first.
    pub const ALL: [Self; Self::COUNT] = [Self::Control, Self::High, Self::Normal, Self::Low, Self::Lowest];

    /// The byte that names this lane: first on a QUIC stream, first in every WebSocket message.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The lane that `tag` names, if any.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag)).copied()
    }

    /// Place in arrays with one item per lane.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How urgent a message is. ZIM's 1, 2, 3 are Low, Normal, High; Tencent's names are the same four.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub enum Priority {
    /// First to be dropped under overload, last to be sent.
    Lowest,
    /// Bulk: barrage, likes with text.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Gifts, moderation, calls. Never waits behind the others.
    High,
}

impl Priority {
    /// How many priorities there are.
    pub const COUNT: usize = 4;

    /// All priorities, lowest first.
    pub const ALL: [Self; Self::COUNT] = [Self::Lowest, Self::Low, Self::Normal, Self::High];

    /// The lane that carries messages of this priority.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Lowest => Lane::Lowest,
            Self::Low => Lane::Low,
            Self::Normal => Lane::Normal,
            Self::High => Lane::High,
        }
    }

    /// Place in arrays with one item per priority.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_round_trip_and_the_next_is_unknown() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_tag(lane.tag()), Some(lane));
        }
        assert_eq!(Lane::from_tag(5), None);
    }
}
