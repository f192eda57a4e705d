//! How often a user may ask.

use std::time::{Duration, Instant};

/// A bucket that refills evenly and holds one second's worth (the generic cell rate algorithm, ITU-T I.371).
///
/// Its whole state is the time at which it would be full again, so an untouched bucket and a new one are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

/// What a full bucket holds, as time.
const BURST: Duration = Duration::from_secs(1);

impl Bucket {
    /// Takes one token of a bucket with `per_second` of them, or says how long to wait for it.
    ///
    /// `per_second` 0 refuses always, with a second to wait.
    pub fn draw(&mut self, per_second: u32, now: Instant) -> Result<(), Duration> {
        if per_second == 0 {
            return Err(BURST);
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + BURST / per_second;
        let ahead = full_at.duration_since(now);
        if ahead > BURST {
            return Err(ahead - BURST);
        }
        self.full_at = Some(full_at);
        Ok(())
    }

    /// True if the bucket is full, so that forgetting it changes nothing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_then_one_per_interval() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert_eq!(bucket.draw(10, start), Ok(()));
        }
        assert_eq!(bucket.draw(10, start), Err(Duration::from_millis(100)));
        assert_eq!(bucket.draw(10, start + Duration::from_millis(40)), Err(Duration::from_millis(60)));
        assert_eq!(bucket.draw(10, start + Duration::from_millis(100)), Ok(()));
        assert!(bucket.draw(10, start + Duration::from_millis(100)).is_err());
    }

    #[test]
    fn a_refused_draw_costs_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(bucket.draw(1, start), Ok(()));
        for _ in 0..100 {
            assert!(bucket.draw(1, start).is_err());
        }
        assert_eq!(bucket.draw(1, start + BURST), Ok(()));
    }

    #[test]
    fn a_bucket_is_full_again_after_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert!(bucket.is_full(start));
        for _ in 0..5 {
            bucket.draw(5, start).unwrap();
        }
        assert!(!bucket.is_full(start + Duration::from_millis(999)));
        assert!(bucket.is_full(start + BURST));
    }

    #[test]
    fn a_rate_of_nothing_refuses() {
        assert_eq!(Bucket::default().draw(0, Instant::now()), Err(BURST));
    }
}
