//! How many sessions an app has.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use quail_protocol::id::AppId;

/// The sessions of every app. The apps are those of the configuration, which bounds the table.
#[derive(Debug, Default)]
pub struct Seats {
    taken: Mutex<BTreeMap<AppId, Arc<AtomicUsize>>>,
}

/// The right of one session to be, given back when dropped.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Seats {
    /// Takes one of `max` seats of `app`; `None` if all are taken.
    pub fn take(&self, app: &AppId, max: usize) -> Option<Seat> {
        let mut apps = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = apps.entry(app.clone()).or_default();
        let one_more = |now: usize| (now < max).then_some(now + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Seat(taken.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_so_many_seats_and_each_that_is_left_is_free_again() {
        let seats = Seats::default();
        let (shop, game) = (AppId::new("shop").unwrap(), AppId::new("game").unwrap());
        let first = seats.take(&shop, 2).unwrap();
        let _second = seats.take(&shop, 2).unwrap();
        assert!(seats.take(&shop, 2).is_none());
        assert!(seats.take(&game, 2).is_some(), "another app");
        drop(first);
        assert!(seats.take(&shop, 2).is_some());
    }
}
