//! The only place that asks for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quail_protocol::Timestamp;

/// Monotonic time for deadlines and wall time for stamps.
///
/// Monotonic time is tokio's, so that a paused or simulated runtime is followed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Wall,
}

#[derive(Clone, Copy, Debug)]
enum Wall {
    System,
    Simulated { started: Instant, at: Timestamp },
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self { wall: Wall::System }
    }

    /// Wall time that starts at `at` and runs with tokio's clock.
    pub fn simulated(at: Timestamp) -> Self {
        Self { wall: Wall::Simulated { started: monotonic(), at } }
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        monotonic()
    }

    /// Wall time.
    pub fn timestamp(&self) -> Timestamp {
        match self.wall {
            Wall::System => Timestamp(unix_time().as_millis() as u64),
            Wall::Simulated { started, at } => {
                Timestamp(at.0 + monotonic().duration_since(started).as_millis() as u64)
            }
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[allow(clippy::disallowed_methods)]
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
