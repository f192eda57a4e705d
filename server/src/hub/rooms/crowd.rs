//! The sessions of a room, and telling them all.
//!
//! A few are told one after the other, under the room's lock. Many are told by shard: each has a line of what is to happen in
//! it, in the order of the room, and a task that does it and ends when nothing is left. So the lock is held for a push to
//! each line, and whoever comes or goes does so at their place in the order: a line holds that, too. The answer to a sender
//! stands in it where the event would be.

mod gather;
mod line;
mod run;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use foldhash::fast::FixedState;
use quail_protocol::id::SessionId;

pub use self::gather::Gather;
use self::line::{Item, Line};
pub(super) use self::run::Telling;
use crate::{session::Session, telemetry::Metrics};

/// From how many sessions on a room is told by shards, and how large these are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Sessions that are told under the lock.
    pub(super) direct_max: usize,
    /// Sessions of a shard.
    pub(super) shard_max: usize,
    /// What may wait in the line of a shard. Whoever brings more takes one off it.
    pub(super) waiting_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { direct_max: 32, shard_max: 1000, waiting_max: 256 }
    }
}

/// A session in a room, from coming to going.
#[derive(Debug)]
struct Seat {
    id: SessionId,
    session: Arc<Session>,
    /// It left by itself: what is still in the line is not for it.
    gone: AtomicBool,
}

impl Seat {
    fn is_there(&self) -> bool {
        !self.gone.load(Ordering::Acquire)
    }
}

/// Names a session while it is held.
type Address = usize;

fn address(session: &Arc<Session>) -> Address {
    Arc::as_ptr(session).addr()
}

/// Where a session is: among all, and in a shard if there are any.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    shard: usize,
    slot: usize,
}

#[derive(Debug)]
struct Shard {
    line: Arc<Line>,
    slots: usize,
    free: Vec<usize>,
}

impl Shard {
    fn sessions(&self) -> usize {
        self.slots - self.free.len()
    }

    fn take_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Crowd {
    bounds: Bounds,
    seats: Vec<Arc<Seat>>,
    places: HashMap<Address, Place, FixedState>,
    /// None while all are told directly.
    shards: Vec<Shard>,
    /// The shards of some who were put out: whoever comes again hears that behind it in the same line.
    put_out: HashMap<Address, usize, FixedState>,
    metrics: Arc<Metrics>,
}

impl Crowd {
    /// Nobody.
    pub(super) fn new(bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        Self {
            bounds,
            seats: Vec::new(),
            places: HashMap::default(),
            shards: Vec::new(),
            put_out: HashMap::default(),
            metrics,
        }
    }

    pub(super) fn has(&self, session: &Arc<Session>) -> bool {
        self.places.contains_key(&address(session))
    }

    /// Lets a session in that is not in it.
    pub(super) fn add(&mut self, id: SessionId, session: Arc<Session>) {
        let place = Place { index: self.seats.len(), shard: 0, slot: 0 };
        self.places.insert(address(&session), place);
        self.seats.push(Arc::new(Seat { id, session, gone: AtomicBool::new(false) }));
        if !self.shards.is_empty() {
            self.assign(place.index);
        } else if self.seats.len() > self.bounds.direct_max {
            (0..self.seats.len()).for_each(|index| self.assign(index));
        }
    }

    /// Gives a seat a place in a shard.
    fn assign(&mut self, index: usize) {
        let seat = self.seats[index].clone();
        let with_room = || self.shards.iter().position(|shard| shard.sessions() < self.bounds.shard_max);
        let shard = self.put_out.remove(&address(&seat.session)).or_else(with_room);
        let shard = shard.unwrap_or_else(|| {
            let line = Arc::new(Line::new(self.bounds.waiting_max, self.metrics.clone()));
            self.shards.push(Shard { line, slots: 0, free: Vec::new() });
            self.shards.len() - 1
        });
        let slot = self.shards[shard].take_slot();
        self.places.insert(address(&seat.session), Place { index, shard, slot });
        self.shards[shard].line.push(Item::Came(slot, seat));
    }

    /// Lets a session out that is to hear nothing more.
    pub(super) fn remove(&mut self, session: &Arc<Session>) -> Option<SessionId> {
        let seat = self.take(session, None)?;
        seat.gone.store(true, Ordering::Release);
        Some(seat.id)
    }

    /// Puts sessions out, and tells them behind everything that came before.
    pub(super) fn put_out(
        &mut self,
        whom: impl Fn(&Session) -> bool,
        notice: &Bytes,
    ) -> Vec<(SessionId, Arc<Session>)> {
        let out: Vec<_> = self.seats.iter().filter(|seat| whom(&seat.session)).cloned().collect();
        for seat in &out {
            self.take(&seat.session, Some(notice));
        }
        out.into_iter().map(|seat| (seat.id, seat.session.clone())).collect()
    }

    fn take(&mut self, session: &Arc<Session>, notice: Option<&Bytes>) -> Option<Arc<Seat>> {
        let Place { index, shard, slot } = self.places.remove(&address(session))?;
        let seat = self.seats.swap_remove(index);
        if let Some(moved) = self.seats.get(index)
            && let Some(place) = self.places.get_mut(&address(&moved.session))
        {
            place.index = index;
        }
        if notice.is_some() && !self.shards.is_empty() {
            // Where nothing waits, nothing can be overtaken.
            self.put_out
                .retain(|_, shard| self.shards.get(*shard).is_some_and(|shard| !shard.line.is_idle()));
            self.put_out.insert(address(session), shard);
        }
        match (self.shards.get_mut(shard), notice) {
            (Some(shard), notice) => {
                shard.free.push(slot);
                shard.line.push(Item::Left(slot, notice.cloned()));
            }
            (None, Some(notice)) => seat.session.outbox.push_notice(notice.clone()),
            (None, None) => {}
        }
        Some(seat)
    }

    /// Puts everybody out, and tells all but one, behind everything that came before.
    pub(super) fn end(
        &mut self,
        notice: &Bytes,
        but: Option<&Arc<Session>>,
    ) -> impl Iterator<Item = Arc<Session>> {
        let but = but.map(address);
        if self.shards.is_empty() {
            line::notify(self.seats.iter(), notice, but);
        }
        for shard in self.shards.drain(..) {
            shard.line.push(Item::Ended(notice.clone(), but));
        }
        self.places.clear();
        self.put_out.clear();
        std::mem::take(&mut self.seats).into_iter().map(|seat| seat.session.clone())
    }

    /// Tells everybody but one. Returns whether it waits for anybody; in a large room, whether anybody is there for whom it
    /// may.
    pub(super) fn tell(&mut self, telling: Telling, but: Option<&Arc<Session>>) -> bool {
        self.gather();
        let but = but.map(address);
        if self.shards.is_empty() {
            return telling.tell(self.seats.iter(), but, &self.metrics);
        }
        let telling = Arc::new(telling);
        for shard in self.shards.iter().filter(|shard| shard.sessions() > 0) {
            shard.line.push(Item::Told(telling.clone(), but));
        }
        let mut others = self.seats.iter().filter(|seat| Some(address(&seat.session)) != but);
        others.any(|seat| !seat.session.outbox.is_away())
    }

    /// Answers a session in the room, behind everything that it was told before.
    pub(super) fn answer(&mut self, session: &Arc<Session>, answer: impl FnOnce() + Send + 'static) {
        match self.places.get(&address(session)).and_then(|place| self.shards.get(place.shard)) {
            Some(shard) => shard.line.push(Item::Answer(address(session), Some(Box::new(answer)))),
            None => answer(),
        }
    }

    /// Goes back to telling directly when few are left and nothing waits that could be overtaken.
    fn gather(&mut self) {
        if !self.shards.is_empty()
            && self.seats.len() <= self.bounds.direct_max / 2
            && self.shards.iter().all(|shard| shard.line.is_idle())
        {
            self.shards.clear();
            self.put_out.clear();
        }
    }
}

#[cfg(test)]
mod tests;
