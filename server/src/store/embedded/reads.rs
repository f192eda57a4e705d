//! Where reads run: in the pool for blocking calls, or, if they are short, on the thread that asks.
//!
//! What is in memory is read in microseconds, and a thread of the pool costs ten times as much: it has to be woken, and has
//! to wake who waits. What has to come from a disk may take as long as a disk likes. Nobody knows before, but it shows:
//! the time that reads took is owed, and paid off slowly; whoever owes much reads in the pool. One at a time runs outside
//! of it: a disk which answers nothing at all stops one thread, with the session that asks and the one that is next there.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, TryLockError},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};

use super::{Embedded, Inner};
use crate::store::StoreError;

/// A read that takes longer may have waited for a disk; or its thread for a core, which happens now and then.
const LONG: Duration = Duration::from_micros(500);

/// Rows of one read outside of the pool at most, or about as many.
pub(super) const SHORT_ROWS_MAX: usize = 16;

/// What reads outside of the pool may owe before the next.
const OWED_MAX: Duration = Duration::from_millis(20);

/// Of each second that passes, what is paid off.
const PAID_EACH_SECOND: Duration = OWED_MAX;

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

    /// Runs a `read` of so many `rows` here, if they are few and such reads are short.
    pub(super) fn short<T: Send + 'static>(
        &self,
        rows: usize,
        read: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        async move {
            // A runtime of one thread has none to spare.
            if rows > SHORT_ROWS_MAX || tokio::runtime::Handle::current().metrics().num_workers() == 1 {
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
pub(super) struct Short(Mutex<Owed>);

/// The time that reads waited, as far as it is not paid off.
#[derive(Debug)]
struct Owed {
    time: Duration,
    as_of: Instant,
}

impl Short {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Owed { time: Duration::ZERO, as_of: now }))
    }

    /// Runs `read`, or gives it back: while another runs, and when too much is owed.
    fn run<T, R>(&self, read: R, inner: &Inner) -> Result<Result<T, StoreError>, R>
    where
        R: FnOnce(&Inner) -> Result<T, StoreError>,
    {
        let mut owed = match self.0.try_lock() {
            Ok(owed) => owed,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(read),
        };
        let begun = inner.clock.now();
        if !owed.allows_more(begun) {
            return Err(read);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| read(inner)));
        owed.took(begun, inner.clock.now());
        Ok(outcome.unwrap_or_else(|_| Err(StoreError::new("a read panicked"))))
    }
}

impl Owed {
    fn allows_more(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.as_of);
        self.time = self.time.saturating_sub(PAID_EACH_SECOND.mul_f64(passed.as_secs_f64()));
        self.as_of = now;
        self.time < OWED_MAX
    }

    fn took(&mut self, begun: Instant, now: Instant) {
        let time = now.saturating_duration_since(begun);
        if time > LONG {
            self.time += time;
        }
        // Nothing is paid off by waiting.
        self.as_of = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long reads waited in a minute of a disk that takes so long for each, if one is asked for at every millisecond.
    fn waited(each: Duration) -> Duration {
        let (begin, mut waited) = (crate::clock::Clock::system().now(), Duration::ZERO);
        let (mut owed, mut now) = (Owed { time: Duration::ZERO, as_of: begin }, begin);
        while now < begin + Duration::from_secs(60) {
            if owed.allows_more(now) {
                owed.took(now, now + each);
                now += each;
                waited += each;
            }
            now += Duration::from_millis(1);
        }
        waited
    }

    #[test]
    fn reads_that_take_long_are_for_the_pool_most_of_the_time() {
        assert!(waited(LONG) > Duration::from_secs(19), "short ones always run");
        for each in [1, 10, 100] {
            let waited = waited(Duration::from_millis(each));
            let paid = OWED_MAX + 60 * PAID_EACH_SECOND + Duration::from_millis(each);
            assert!(waited <= paid && waited > paid / 2, "{each}: {waited:?}");
        }
        assert_eq!(waited(Duration::from_secs(5)), Duration::from_secs(5), "once in four minutes");
    }
}
