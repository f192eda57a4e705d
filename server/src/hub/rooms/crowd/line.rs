//! What is to happen in one shard of a large room, in the order of the room.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{runtime::Handle, task::yield_now};

use super::{Address, Seat, Telling, address, gather, run::Run};
use crate::telemetry::Metrics;

/// Answers somebody.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

/// Something that happens in a shard.
pub(super) enum Item {
    /// Somebody came, and has this slot.
    Came(usize, Arc<Seat>),
    /// Whoever has this slot is out, and is told so if they did not ask for it.
    Left(usize, Option<Bytes>),
    /// Something is told to all but one.
    Told(Arc<Telling>, Option<Address>),
    /// Somebody in this shard is answered.
    Answer(Address, Option<Answer>),
    /// The room is over, which is told to all but one.
    Ended(Bytes, Option<Address>),
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Came(..) => "Came",
            Self::Left(..) => "Left",
            Self::Told(..) => "Told",
            Self::Answer(..) => "Answer",
            Self::Ended(..) => "Ended",
        })
    }
}

#[derive(Debug, Default)]
struct Items {
    waiting: VecDeque<Item>,
    /// A task takes them.
    walked: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    /// By slot. Held while an item happens, so that they happen one after the other.
    seats: Mutex<Vec<Option<Arc<Seat>>>>,
    items: Mutex<Items>,
    waiting_max: usize,
    metrics: Arc<Metrics>,
    /// Where its task runs, whichever thread it is that brings something.
    runtime: Handle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells all but one that they are out.
pub(super) fn notify<'a>(seats: impl Iterator<Item = &'a Arc<Seat>>, notice: &Bytes, but: Option<Address>) {
    for seat in seats.filter(|seat| Some(address(&seat.session)) != but && seat.is_there()) {
        seat.session.outbox.push_notice(notice.clone());
    }
}

impl Line {
    pub(super) fn new(waiting_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            seats: Mutex::default(),
            items: Mutex::default(),
            waiting_max,
            metrics,
            runtime: Handle::current(),
        }
    }

    /// Adds what happens next. A task is begun for it if none is under way; it ends by itself.
    pub(super) fn push(self: &Arc<Self>, item: Item) {
        let mut items = lock(&self.items);
        items.waiting.push_back(item);
        let is_long = items.waiting.len() > self.waiting_max;
        if !items.walked {
            items.walked = true;
            gather::begin(self);
        }
        drop(items);
        if is_long {
            // The room is told more than its tasks can tell: those who bring it lend a hand, and are slowed down by it.
            self.step();
        }
    }

    /// Begins its task.
    pub(super) fn begin(self: &Arc<Self>) {
        self.runtime.spawn(self.clone().walk());
    }

    async fn walk(self: Arc<Self>) {
        while self.step() {
            yield_now().await;
        }
    }

    /// Lets the next thing happen, and with it what may happen together with it. False if there is none.
    fn step(&self) -> bool {
        let mut seats = lock(&self.seats);
        let mut items = lock(&self.items);
        let mut run = Run::default();
        while items.waiting.front().is_some_and(|item| run.takes(item)) {
            items.waiting.pop_front().into_iter().for_each(|item| run.push(item));
        }
        if !run.is_empty() {
            drop(items);
            run.happen(&seats, &self.metrics);
            return true;
        }
        let Some(item) = items.waiting.pop_front() else {
            items.walked = false;
            return false;
        };
        drop(items);
        match item {
            Item::Came(slot, seat) => {
                if seats.len() <= slot {
                    seats.resize(slot + 1, None);
                }
                seats[slot] = Some(seat);
            }
            Item::Left(slot, notice) => {
                let seat = seats.get_mut(slot).and_then(Option::take);
                if let (Some(seat), Some(notice)) = (seat, notice) {
                    seat.session.outbox.push_notice(notice);
                }
            }
            // A run takes these.
            Item::Told(..) | Item::Answer(..) => {}
            Item::Ended(notice, but) => {
                notify(seats.iter().flatten(), &notice, but);
                seats.clear();
            }
        }
        true
    }

    /// True if nothing waits or happens.
    pub(super) fn is_idle(&self) -> bool {
        let items = lock(&self.items);
        items.waiting.is_empty() && !items.walked
    }
}
