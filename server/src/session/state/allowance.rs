//! How much a connection may ask for that draws from no bucket of its user.

use std::time::{Duration, Instant};

/// What a connection that asked for nothing yet may ask for at once, as time.
const BURST: Duration = Duration::from_secs(2);

/// Evenly refilled. It is charged after the fact, so it may go into debt, and no request is read until that is paid.
#[derive(Debug)]
pub(super) struct Allowance {
    interval: Duration,
    full_at: Option<Instant>,
    held_until: Option<Instant>,
}

impl Allowance {
    /// So many per second, at least one.
    pub(super) fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), full_at: None, held_until: None }
    }

    pub(super) fn charge(&mut self, count: u32, now: Instant) {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + self.interval * count;
        self.full_at = Some(full_at);
        let debt = full_at.duration_since(now).saturating_sub(BURST);
        if !debt.is_zero() {
            self.held_until = Some(now + debt);
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.held_until = self.held_until.filter(|until| now < *until);
    }

    /// Until when no request is read, if it is not.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_worth_passes_at_once_and_then_debt_is_waited_for() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut allowance = Allowance::new(10);
        allowance.charge(20, now);
        assert_eq!(allowance.held_until(), None);
        allowance.charge(3, now);
        assert_eq!(allowance.held_until(), Some(after(300)));
        allowance.tick(after(299));
        assert_eq!(allowance.held_until(), Some(after(300)));
        allowance.tick(after(300));
        assert_eq!(allowance.held_until(), None);
        allowance.charge(1, after(300));
        assert_eq!(allowance.held_until(), Some(after(400)));
        allowance.tick(after(5000));
        allowance.charge(20, after(5000));
        assert_eq!(allowance.held_until(), None, "it is full again");
    }
}
