//! Where an entry stands in its conversation.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

/// Incarnation of a conversation. It changes only when the history before it is no longer continued.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct Epoch(pub u64);

/// Dense number of an entry inside an epoch, from 1. 0 stands before the first entry.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct Seq(pub u64);

impl Seq {
    /// The number that follows; the largest stays.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Number of a change to a placed entry, dense from 1 in each epoch of a conversation. 0 stands before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct Rev(pub u64);

impl Rev {
    /// The number that follows; the largest stays.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An entry's place: incarnation first, number second, so positions compare in time order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct Position {
    /// Incarnation of the conversation.
    pub epoch: Epoch,
    /// Number inside the incarnation.
    pub seq: Seq,
}
