//! Server time.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC by the server's clock. Stays below 2^53.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds since 1970-01-01 UTC, the unit of JWT claims.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}
