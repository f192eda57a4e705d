//! How often this client signals.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A bucket that holds one second's worth and refills evenly, as the server's does: what that would discard is refused
/// here.
pub(crate) struct SignalPace {
    interval: Duration,
    full_at: Mutex<Option<Instant>>,
}

const BURST: Duration = Duration::from_secs(1);

impl SignalPace {
    pub(crate) fn new(per_second: u32) -> Self {
        // Without a rate there is no signal that fits into the burst.
        let interval = BURST.checked_div(per_second).unwrap_or(2 * BURST);
        Self { interval, full_at: Mutex::new(None) }
    }

    /// Takes the right to one signal, if there is one.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.map_or(now, |at| at.max(now)) + self.interval;
        let admitted = next.duration_since(now) <= BURST;
        if admitted {
            *full_at = Some(next);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let (pace, start) = (SignalPace::new(4), Instant::now());
        assert!((0..4).all(|_| pace.admits(start)));
        assert!(!pace.admits(start));
        assert!(pace.admits(start + BURST / 4));
        assert!(!pace.admits(start + BURST / 4));
        assert!(!SignalPace::new(0).admits(start));
    }
}
