//! What sessions are told together: one push for all of it, and bytes that are joined once for everybody.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quail_protocol::{Conversation, Position, Priority};

use super::{Address, Seat, address, line::Item};
use crate::{
    session::{Session, outbox::Pushed},
    telemetry::Metrics,
};

/// What everybody is told.
#[derive(Clone, Debug)]
pub(in super::super) struct Telling {
    /// The event.
    pub(in super::super) frame: Bytes,
    /// Of which room.
    pub(in super::super) conversation: Conversation,
    /// How urgent.
    pub(in super::super) priority: Priority,
    /// Its place, unless it is an event without one.
    pub(in super::super) position: Option<Position>,
}

impl Telling {
    fn push(&self, session: &Session) -> Pushed {
        let Self { frame, conversation, priority, position } = self;
        match position {
            Some(position) => session.outbox.push_live(*priority, frame.clone(), conversation, *position),
            None => session.outbox.push_passing(priority.lane(), frame.clone(), conversation),
        }
    }

    /// Tells all but one, and counts. True if it waits for anybody.
    pub(super) fn tell<'a>(
        &self,
        seats: impl Iterator<Item = &'a Arc<Seat>>,
        but: Option<Address>,
        metrics: &Metrics,
    ) -> bool {
        let mut told = Told::default();
        for seat in seats.filter(|seat| Some(address(&seat.session)) != but) {
            told.count(self, self.push(&seat.session), 1);
        }
        told.report(self.priority, metrics);
        told.placed[0] + told.passing[0] > 0
    }
}

/// In how many outboxes events wait, and at how many they were dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    placed: [u64; 2],
    passing: [u64; 2],
}

impl Told {
    fn count(&mut self, telling: &Telling, pushed: Pushed, outboxes: u64) {
        let side = if telling.position.is_some() { &mut self.placed } else { &mut self.passing };
        match pushed {
            Pushed::Queued => side[0] += outboxes,
            Pushed::Dropped => side[1] += outboxes,
            Pushed::Away => {}
        }
    }

    fn report(self, priority: Priority, metrics: &Metrics) {
        let Self { placed: [placed, gone], passing: [passing, dropped] } = self;
        metrics.room_told(priority, placed, gone);
        metrics.passed(passing, dropped);
    }
}

/// Bytes that are told together at most: what one write on a lane takes.
const BYTES_MAX: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Run {
    items: Vec<Item>,
    bytes: usize,
    events: u32,
    priority: Option<Priority>,
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True if an item may happen together with those before it.
    pub(super) fn takes(&self, item: &Item) -> bool {
        match item {
            Item::Told(telling, _) => {
                self.priority.is_none_or(|priority| priority == telling.priority)
                    && (self.events == 0 || self.bytes + telling.frame.len() <= BYTES_MAX)
            }
            Item::Answer(..) => true,
            Item::Came(..) | Item::Left(..) | Item::Ended(..) => false,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        if let Item::Told(telling, _) = &item {
            self.priority = Some(telling.priority);
            self.bytes += telling.frame.len();
            self.events += 1;
        }
        self.items.push(item);
    }

    /// Tells everybody. Whoever is answered, or is not told all of it, is told one by one.
    pub(super) fn happen(self, seats: &[Option<Arc<Seat>>], metrics: &Metrics) {
        let Self { mut items, bytes, events, priority } = self;
        let mut told = Told::default();
        let apart = apart(&items);
        let (all, first) = join(&items, bytes);
        let mut whole = 0;
        for seat in seats.iter().flatten() {
            let it = address(&seat.session);
            if apart.binary_search(&it).is_ok() {
                one_by_one(&mut items, seat, it, &mut told);
            } else if let (Some(first), true) = (&first, seat.is_there()) {
                let lane = first.priority.lane();
                match seat.session.outbox.push_run(lane, all.clone(), events, &first.conversation) {
                    Some(Pushed::Queued) => whole += 1,
                    Some(_) => {}
                    None => one_by_one(&mut items, seat, it, &mut told),
                }
            }
        }
        for item in items {
            match item {
                Item::Told(telling, _) => told.count(&telling, Pushed::Queued, whole),
                // Whoever has no seat any more is answered all the same.
                Item::Answer(_, answer) => answer.into_iter().for_each(|answer| answer()),
                Item::Came(..) | Item::Left(..) | Item::Ended(..) => {}
            }
        }
        if let Some(priority) = priority {
            told.report(priority, metrics);
        }
    }
}

/// Who does not hear exactly what everybody hears, in order.
fn apart(items: &[Item]) -> Vec<Address> {
    let named = items.iter().filter_map(|item| match item {
        Item::Told(_, but) => *but,
        Item::Answer(whom, _) => Some(*whom),
        Item::Came(..) | Item::Left(..) | Item::Ended(..) => None,
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// The bytes of all, and the first of them.
fn join(items: &[Item], bytes: usize) -> (Bytes, Option<Arc<Telling>>) {
    let mut tellings = items.iter().filter_map(|item| match item {
        Item::Told(telling, _) => Some(telling),
        _ => None,
    });
    let Some(first) = tellings.next() else { return (Bytes::new(), None) };
    if first.frame.len() == bytes {
        return (first.frame.clone(), Some(first.clone()));
    }
    let mut joined = BytesMut::with_capacity(bytes);
    joined.extend_from_slice(&first.frame);
    tellings.for_each(|telling| joined.extend_from_slice(&telling.frame));
    (joined.freeze(), Some(first.clone()))
}

fn one_by_one(items: &mut [Item], seat: &Seat, it: Address, told: &mut Told) {
    for item in items {
        match item {
            Item::Told(telling, but) if *but != Some(it) && seat.is_there() => {
                told.count(telling, telling.push(&seat.session), 1);
            }
            Item::Answer(whom, answer) if *whom == it => {
                answer.take().into_iter().for_each(|answer| answer());
            }
            _ => {}
        }
    }
}
