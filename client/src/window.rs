//! Whose turn it is to ask: the slots of requests that wait for their reply.

use std::sync::Arc;

use quail_protocol::Lane;
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore};

/// Slots that the driver keeps for its own ping, logout and fetch.
const OWN_SLOTS: usize = 3;

/// Shares the session's request slots fairly, first come first served on each lane.
pub(crate) struct Window {
    slots: Arc<Semaphore>,
    /// The lanes below High share three quarters of the slots, so that a flood of theirs never holds High or Control up.
    bulk: Arc<Semaphore>,
    /// Only the first in line of a lane waits for a slot; that keeps a lane's requests in the order of the calls.
    lines: [Mutex<()>; Lane::COUNT],
    capacity: usize,
}

/// A slot, taken until the reply is there.
pub(crate) struct Slot {
    _any: OwnedSemaphorePermit,
    _bulk: Option<OwnedSemaphorePermit>,
}

/// A slot and the right to queue the lane's next request.
pub(crate) struct Turn<'a> {
    pub(crate) slot: Slot,
    pub(crate) first: MutexGuard<'a, ()>,
}

/// The connection ended, there are no turns any more.
#[derive(Debug)]
pub(crate) struct Ended;

impl Window {
    /// Shares out what is left of `requests_in_flight` after the driver's own.
    pub(crate) fn new(requests_in_flight: usize) -> Self {
        let capacity = requests_in_flight.saturating_sub(OWN_SLOTS).max(1);
        Self {
            slots: Arc::new(Semaphore::new(capacity)),
            bulk: Arc::new(Semaphore::new((capacity * 3 / 4).max(1))),
            lines: Default::default(),
            capacity,
        }
    }

    /// How many slots there are for calls.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Waits for a slot for a request on `lane`.
    pub(crate) async fn turn(&self, lane: Lane) -> Result<Turn<'_>, Ended> {
        let first = self.lines[lane.index()].lock().await;
        let bulk = match lane {
            Lane::Control | Lane::High => None,
            Lane::Normal | Lane::Low | Lane::Lowest => Some(take(&self.bulk).await?),
        };
        let slot = Slot { _any: take(&self.slots).await?, _bulk: bulk };
        Ok(Turn { slot, first })
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.slots.close();
        self.bulk.close();
    }
}

async fn take(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Ended> {
    semaphore.clone().acquire_owned().await.map_err(|_| Ended)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_flood_of_bulk_leaves_slots_for_the_urgent() {
        let window = Window::new(11);
        let take = |lane| window.turn(lane).now_or_never().map(|turn| turn.unwrap().slot);
        let mut bulk: Vec<_> = std::iter::from_fn(|| take(Lane::Low)).collect();
        assert_eq!((window.capacity(), bulk.len()), (8, 6));
        let urgent: Vec<_> = std::iter::from_fn(|| take(Lane::High)).collect();
        assert_eq!(urgent.len(), 2);
        bulk.pop();
        assert!(take(Lane::Control).is_some());
    }

    #[test]
    fn a_lane_is_served_in_the_order_of_the_calls() {
        let window = Window::new(1);
        let held = window.turn(Lane::Normal).now_or_never().unwrap().unwrap().slot;
        let mut first = Box::pin(window.turn(Lane::Normal));
        let mut second = Box::pin(window.turn(Lane::Normal));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_some());
    }

    #[test]
    fn nobody_waits_for_a_closed_window() {
        let window = Window::new(1);
        let _held = window.turn(Lane::High).now_or_never().unwrap().unwrap().slot;
        let mut waiting = Box::pin(window.turn(Lane::High));
        assert!(waiting.as_mut().now_or_never().is_none());
        window.close();
        assert!(waiting.as_mut().now_or_never().unwrap().is_err());
    }
}
