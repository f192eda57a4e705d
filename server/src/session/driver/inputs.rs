//! Whether anything came in: a driver that is woken to write looks for nothing to read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as TaskContext, Wake, Waker},
};

#[derive(Debug, Default)]
struct Shared {
    came: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.came.store(true, Ordering::Release);
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Inputs {
    shared: Arc<Shared>,
    /// Who is woken.
    driver: Option<Waker>,
    waker: Waker,
}

impl Inputs {
    /// Whatever there is has not been looked at.
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        shared.came.store(true, Ordering::Release);
        Self { waker: Waker::from(shared.clone()), shared, driver: None }
    }

    /// Wakes the driver when something comes in.
    pub(super) fn register(&mut self, cx: &TaskContext<'_>) {
        if self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            return;
        }
        self.driver = Some(cx.waker().clone());
        *self.shared.driver.lock().unwrap_or_else(PoisonError::into_inner) = self.driver.clone();
    }

    /// True if something came in since the last time.
    pub(super) fn take(&self) -> bool {
        // The swap would cost every turn what a load does not.
        self.shared.came.load(Ordering::Acquire) && self.shared.came.swap(false, Ordering::AcqRel)
    }

    /// What is to be polled with that waits for something to come in.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(Mutex<u32>);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() += 1;
        }
    }

    #[test]
    fn what_comes_in_is_noted_and_wakes_the_driver() {
        let (mut inputs, count) = (Inputs::new(), Arc::new(Count::default()));
        assert!(inputs.take(), "what was there before");
        assert!(!inputs.take());
        inputs.waker().wake();
        assert!(inputs.take(), "although nobody was to be woken");
        let driver = Waker::from(count.clone());
        inputs.register(&TaskContext::from_waker(&driver));
        inputs.waker().wake_by_ref();
        assert_eq!(*count.0.lock().unwrap(), 1);
        driver.wake();
        assert!(inputs.take() && !inputs.take(), "the driver may be woken for something else");
    }
}
