//! How many messages a room passes on.

use std::time::{Duration, Instant};

use quail_protocol::Priority;

/// Messages that a room passes on in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How long a window is.
    pub window: Duration,
    /// All together, which only High may fill up.
    pub high: u32,
    /// Those below High, which only Normal may fill up.
    pub normal: u32,
    /// Up to so many of those below High, Low gets in.
    pub low: u32,
    /// Up to so many of those below High, Lowest gets in.
    pub lowest: u32,
}

/// What was passed on in the window that runs. Decided on arrival; nobody waits.
#[derive(Debug)]
pub(super) struct Budget {
    allowance: Allowance,
    began: Option<Instant>,
    all: u32,
    below_high: u32,
}

impl Budget {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, began: None, all: 0, below_high: 0 }
    }

    /// Counts one message, or says when the next window begins.
    pub(super) fn draw(&mut self, priority: Priority, now: Instant) -> Result<(), Duration> {
        let Allowance { window, high, normal, low, lowest } = self.allowance;
        let began = match self.began {
            Some(began) if now.duration_since(began) < window => began,
            _ => {
                (self.began, self.all, self.below_high) = (Some(now), 0, 0);
                now
            }
        };
        let fits = match priority {
            Priority::High => self.all < high,
            Priority::Normal => self.below_high < normal,
            Priority::Low => self.below_high < low,
            Priority::Lowest => self.below_high < lowest,
        };
        if !fits {
            return Err(window - now.duration_since(began));
        }
        self.all += 1;
        self.below_high += u32::from(priority != Priority::High);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance =
        Allowance { window: Duration::from_millis(200), high: 40, normal: 20, low: 15, lowest: 10 };

    fn passed(budget: &mut Budget, priority: Priority, now: Instant) -> u32 {
        (0..100).filter(|_| budget.draw(priority, now).is_ok()).count() as u32
    }

    #[test]
    fn the_less_urgent_give_way_first_and_high_has_half_for_itself() {
        use Priority::{High, Low, Lowest, Normal};
        let now = Instant::now();
        for (order, expected) in [
            ([Lowest, Low, Normal, High], [10, 5, 5, 20]),
            ([High, Normal, Low, Lowest], [40, 20, 0, 0]),
            ([Normal, Low, Lowest, High], [20, 0, 0, 20]),
            ([Low, Normal, High, Lowest], [15, 5, 20, 0]),
        ] {
            let mut budget = Budget::new(ALLOWANCE);
            assert_eq!(order.map(|priority| passed(&mut budget, priority, now)), expected, "{order:?}");
        }
    }

    #[test]
    fn the_next_window_begins_anew_and_is_told() {
        let start = Instant::now();
        let mut budget = Budget::new(ALLOWANCE);
        passed(&mut budget, Priority::Normal, start);
        let later = start + Duration::from_millis(150);
        assert_eq!(budget.draw(Priority::Normal, later), Err(Duration::from_millis(50)));
        assert_eq!(passed(&mut budget, Priority::Normal, start + ALLOWANCE.window), 20);
    }
}
