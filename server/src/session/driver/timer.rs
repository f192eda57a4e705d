//! The next deadline of a connection. Most turns change none, and look at nothing but the clock for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// The deadline for which the driver is to be woken.
    armed: Option<Instant>,
}

impl Timer {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline.into())), armed: None }
    }

    /// Ready when `deadline` is over; else the driver is woken then. It is always the same task that asks.
    pub(super) fn poll(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed == Some(deadline) && now < deadline {
            return Poll::Pending;
        }
        if self.sleep.deadline() != deadline.into() {
            self.sleep.as_mut().reset(deadline.into());
        }
        let polled = self.sleep.as_mut().poll(cx);
        // A task that has used up its budget is put off, and the sleep has not heard of it.
        let heard = polled.is_pending() && tokio::task::coop::has_budget_remaining();
        self.armed = heard.then_some(deadline);
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::{Wake, Waker},
        time::Duration,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods)]
    async fn the_driver_is_woken_for_the_deadline_that_it_asked_for_last() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let start = tokio::time::Instant::now();
        let at = |seconds| start.into_std() + Duration::from_secs(seconds);
        let mut timer = Timer::new(at(5));
        for deadline in [5, 3, 3, 4, 4] {
            assert!(timer.poll(at(deadline), at(0), &mut cx).is_pending());
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(timer.poll(at(4), at(3), &mut cx).is_pending());
        assert_eq!(count.0.load(Ordering::Acquire), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        assert!(timer.poll(at(4), at(4), &mut cx).is_ready());
        assert!(timer.poll(at(9), at(4), &mut cx).is_pending());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(count.0.load(Ordering::Acquire), 2);
        assert!(timer.poll(at(9), at(9), &mut cx).is_ready());
    }
}
