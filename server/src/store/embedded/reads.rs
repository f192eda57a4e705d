//! Where reads run: in the pool for blocking calls, or, if they are short, on the thread that asks.
//!
//! What is in memory is read in microseconds, and a thread of the pool costs ten times as much: it has to be woken, and has
//! to wake who waits. What has to come from a disk may take as long as a disk likes. Nobody knows before, but it shows:
//! reads that take long use up what there is of time to wait, and are for the pool then. One at a time runs outside
//! of it, so that a disk which answers nothing at all stops one thread and no more.

use std::{
    sync::{Mutex, TryLockError},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};

use super::{Embedded, Inner};
use crate::store::StoreError;

/// A read that takes longer may have waited for a disk; or its thread for a core, which happens now and then.
const LONG: Duration = Duration::from_micros(500);

/// How long reads may wait outside of the pool at once.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// In this time as much may be waited again.
const REGAINED_IN: Duration = Duration::from_secs(1);

impl Embedded {
    /// Runs `read` where blocking is allowed.
    pub(super) fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let inner = self.inner.clone();
        async move {
            tokio::task::spawn_blocking(move || read(&inner))
                .await
                .unwrap_or_else(|error| Err(StoreError(Box::new(error))))
        }
        .boxed()
    }

    /// Runs a `read` of a few rows here, if such reads are short.
    pub(super) fn short<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        async move {
            // A runtime of one thread has none to spare.
            if tokio::runtime::Handle::current().metrics().num_workers() == 1 {
                return self.blocking(read).await;
            }
            match self.inner.short.run(read, &self.inner) {
                Ok(outcome) => outcome,
                Err(read) => self.blocking(read).await,
            }
        }
        .boxed()
    }
}

/// Whether short reads may run on the thread that asks.
#[derive(Debug)]
pub(super) struct Short(Mutex<Patience>);

/// How long reads may wait yet.
#[derive(Debug)]
struct Patience {
    left: Duration,
    as_of: Instant,
}

impl Short {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Patience { left: WAIT_MAX, as_of: now }))
    }

    /// Runs `read`, or gives it back: while another runs, and when too much was waited.
    fn run<R: FnOnce(&Inner) -> T, T>(&self, read: R, inner: &Inner) -> Result<T, R> {
        let mut patience = match self.0.try_lock() {
            Ok(patience) => patience,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(read),
        };
        let begun = inner.clock.now();
        if !patience.is_left(begun) {
            return Err(read);
        }
        let outcome = read(inner);
        patience.took(inner.clock.now().saturating_duration_since(begun));
        Ok(outcome)
    }
}

impl Patience {
    fn is_left(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.as_of);
        let regained = WAIT_MAX.mul_f64(passed.as_secs_f64() / REGAINED_IN.as_secs_f64());
        (self.left, self.as_of) = ((self.left + regained).min(WAIT_MAX), now);
        self.left > Duration::ZERO
    }

    fn took(&mut self, time: Duration) {
        if time > LONG {
            self.left = self.left.saturating_sub(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_take_long_are_for_the_pool_after_a_while() {
        let begin = crate::clock::Clock::system().now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut patience = Patience { left: WAIT_MAX, as_of: begin };
        for _ in 0..1000 {
            assert!(patience.is_left(begin));
            patience.took(LONG);
        }
        for _ in 0..4 {
            assert!(patience.is_left(begin), "short ones cost nothing");
            patience.took(Duration::from_millis(5));
        }
        assert!(!patience.is_left(begin));
        assert!(patience.is_left(at(50)), "a millisecond is regained");
        patience.took(Duration::from_secs(3));
        assert!(!patience.is_left(at(50)));
        assert!(patience.is_left(at(10_000)));
        assert_eq!(patience.left, WAIT_MAX, "and no more than there was");
    }
}
