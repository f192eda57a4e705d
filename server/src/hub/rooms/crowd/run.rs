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
        told.report(metrics);
        told.passing[0] + told.placed[self.priority.index()][0] > 0
    }
}

/// In how many outboxes events wait, and at how many they were dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    placed: [[u64; 2]; Priority::COUNT],
    passing: [u64; 2],
}

impl Told {
    fn count(&mut self, telling: &Telling, pushed: Pushed, outboxes: u64) {
        let [queued, dropped] = match telling.position {
            Some(_) => &mut self.placed[telling.priority.index()],
            None => &mut self.passing,
        };
        match pushed {
            Pushed::Queued => *queued += outboxes,
            Pushed::Dropped => *dropped += outboxes,
            Pushed::Away => {}
        }
    }

    fn report(self, metrics: &Metrics) {
        for priority in Priority::ALL {
            let [queued, dropped] = self.placed[priority.index()];
            metrics.room_told(priority, queued, dropped);
        }
        let [queued, dropped] = self.passing;
        metrics.passed(queued, dropped);
    }
}

/// Bytes of a priority that are told together at most: what one write on a lane takes.
const BYTES_MAX: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Run {
    items: Vec<Item>,
    /// Of each priority. They go different ways, and nobody is promised an order between them.
    parts: [Part; Priority::COUNT],
}

#[derive(Clone, Debug, Default)]
struct Part {
    bytes: usize,
    events: u32,
    /// The first of them.
    first: Option<Arc<Telling>>,
    /// Outboxes that took all of it.
    whole: u64,
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True if an item may happen together with those before it.
    pub(super) fn takes(&self, item: &Item) -> bool {
        match item {
            Item::Told(telling, _) => {
                let part = &self.parts[telling.priority.index()];
                part.events == 0 || part.bytes + telling.frame.len() <= BYTES_MAX
            }
            Item::Answer(..) => true,
            Item::Came(..) | Item::Left(..) | Item::Ended(..) => false,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        if let Item::Told(telling, _) = &item {
            let part = &mut self.parts[telling.priority.index()];
            part.first.get_or_insert_with(|| telling.clone());
            part.bytes += telling.frame.len();
            part.events += 1;
        }
        self.items.push(item);
    }

    /// Tells everybody, the most urgent first. Whoever is answered, or is not told all of it, is told one by one.
    pub(super) fn happen(self, seats: &[Option<Arc<Seat>>], metrics: &Metrics) {
        let Self { mut items, mut parts } = self;
        let mut told = Told::default();
        let apart = apart(&items);
        let frames = parts.each_ref().map(|part| join(&items, part));
        for seat in seats.iter().flatten() {
            let it = address(&seat.session);
            if apart.binary_search(&it).is_ok() {
                one_by_one(&mut items, seat, it, &Priority::ALL, &mut told);
                continue;
            }
            for (part, frames) in parts.iter_mut().zip(&frames).rev() {
                let Some(first) = part.first.as_ref().filter(|_| seat.is_there()) else { continue };
                let (lane, frames) = (first.priority.lane(), frames.clone());
                match seat.session.outbox.push_run(lane, frames, part.events, &first.conversation) {
                    Some(Pushed::Queued) => part.whole += 1,
                    Some(_) => {}
                    None => one_by_one(&mut items, seat, it, &[first.priority], &mut told),
                }
            }
        }
        for item in items {
            match item {
                Item::Told(telling, _) => {
                    told.count(&telling, Pushed::Queued, parts[telling.priority.index()].whole);
                }
                // Whoever has no seat any more is answered all the same.
                Item::Answer(_, answer) => answer.into_iter().for_each(|answer| answer()),
                Item::Came(..) | Item::Left(..) | Item::Ended(..) => {}
            }
        }
        told.report(metrics);
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

/// The bytes of a part.
fn join(items: &[Item], part: &Part) -> Bytes {
    let Some(first) = &part.first else { return Bytes::new() };
    if part.events == 1 {
        return first.frame.clone();
    }
    let mut joined = BytesMut::with_capacity(part.bytes);
    for item in items {
        if let Item::Told(telling, _) = item
            && telling.priority == first.priority
        {
            joined.extend_from_slice(&telling.frame);
        }
    }
    joined.freeze()
}

/// What a session is told of these priorities, and answered.
fn one_by_one(items: &mut [Item], seat: &Seat, it: Address, priorities: &[Priority], told: &mut Told) {
    for item in items {
        match item {
            Item::Told(telling, but)
                if *but != Some(it) && priorities.contains(&telling.priority) && seat.is_there() =>
            {
                told.count(telling, telling.push(&seat.session), 1);
            }
            Item::Answer(whom, answer) if *whom == it => {
                answer.take().into_iter().for_each(|answer| answer());
            }
            _ => {}
        }
    }
}
