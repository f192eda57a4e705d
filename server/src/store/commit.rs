//! The one place where messages, and all other changes that are kept, get their order.
//!
//! Writes queue here by priority, High first; one committer takes what waits as one batch, which the store syncs once,
//! and tells the fan-out stage in the order of the places. Nothing waits for a receiver.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use quail_protocol::{Priority, Timestamp};
use tokio::sync::Notify;

use super::{Store, StoreError, Write, Written};
use crate::clock::Clock;

/// Writes that go to the store together at most.
const BATCH_ITEMS_MAX: usize = 1024;

/// Writes that may wait for the store; past it those who ask are told to come back.
const QUEUE_ITEMS_MAX: usize = 16 * 1024;

/// Bytes of bodies and extensions that may wait for the store.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A write on its way and what waits for its outcome.
#[derive(Debug)]
pub struct Submission<T> {
    /// The write.
    pub write: Write,
    /// Who is to be told.
    pub ticket: T,
}

/// One FIFO per priority. Pure.
#[derive(Debug)]
pub struct CommitQueue<T> {
    by_priority: [VecDeque<Submission<T>>; Priority::COUNT],
    items: usize,
    bytes: usize,
}

impl<T> Default for CommitQueue<T> {
    fn default() -> Self {
        Self { by_priority: std::array::from_fn(|_| VecDeque::new()), items: 0, bytes: 0 }
    }
}

impl<T> CommitQueue<T> {
    /// Adds a submission, or gives it back when the queue is full.
    pub fn push(&mut self, submission: Submission<T>) -> Result<(), Box<Submission<T>>> {
        if self.items >= QUEUE_ITEMS_MAX || self.bytes + submission.write.content_bytes() > QUEUE_BYTES_MAX {
            return Err(Box::new(submission));
        }
        self.insist(submission);
        Ok(())
    }

    /// Adds a submission even if the queue is full.
    fn insist(&mut self, submission: Submission<T>) {
        self.items += 1;
        self.bytes += submission.write.content_bytes();
        self.by_priority[submission.write.priority().index()].push_back(submission);
    }

    /// Takes up to `items_max`: all that is more urgent before anything less urgent.
    pub fn take(&mut self, items_max: usize) -> Vec<Submission<T>> {
        let mut batch = Vec::with_capacity(items_max.min(self.items));
        for queue in self.by_priority.iter_mut().rev() {
            let room = items_max - batch.len();
            batch.extend(queue.drain(..room.min(queue.len())));
        }
        self.items -= batch.len();
        self.bytes -= batch.iter().map(|submission| submission.write.content_bytes()).sum::<usize>();
        batch
    }
}

/// Takes what was committed, in the order of the places.
pub trait Stage<T>: Send + 'static {
    /// False if a submission lost its right to a place while it waited.
    fn admits(&self, ticket: &T) -> bool;

    /// Tells that a submission got no place because it was not admitted.
    fn refuse(&self, ticket: T);

    /// One write and its outcome; `None` if the store failed.
    fn deliver(&self, ticket: T, outcome: Option<Written>);
}

/// The sending side of the committer.
#[derive(Debug)]
pub struct Committer<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<CommitQueue<T>>,
    wake: Notify,
    closed: AtomicBool,
    /// Batches that were taken from the queue; changed under its lock.
    taken: AtomicU64,
    /// Batches that were delivered.
    delivered: AtomicU64,
    /// Wakes who waits for a delivery, in the order in which they came.
    delivery: Notify,
}

impl<T> Clone for Committer<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Send + 'static> Default for Committer<T> {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                wake: Notify::new(),
                closed: AtomicBool::new(false),
                taken: AtomicU64::new(0),
                delivered: AtomicU64::new(0),
                delivery: Notify::new(),
            }),
        }
    }
}

impl<T: Send + 'static> Committer<T> {
    /// Queues a submission without waiting, or gives it back when too many wait.
    pub fn submit(&self, submission: Submission<T>) -> Result<(), Box<Submission<T>>> {
        self.lock().push(submission)?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Queues what happened already. Whoever lets it happen asks [`Committer::is_full`] before.
    pub fn insist(&self, submission: Submission<T>) {
        self.lock().insist(submission);
        self.shared.wake.notify_one();
    }

    /// True while no more should be asked for.
    pub fn is_full(&self) -> bool {
        let queue = self.lock();
        queue.items >= QUEUE_ITEMS_MAX || queue.bytes > QUEUE_BYTES_MAX
    }

    /// Returns when every batch that was taken before is delivered: what a guard refuses from now on has not slipped
    /// through.
    pub async fn barrier(&self) {
        let taken = {
            let _queue = self.lock();
            self.shared.taken.load(Ordering::Acquire)
        };
        loop {
            // Made before the look, so that no delivery slips in between.
            let delivery = self.shared.delivery.notified();
            if self.shared.delivered.load(Ordering::Acquire) >= taken {
                return;
            }
            delivery.await;
        }
    }

    /// Ends [`Committer::run`] when nothing waits any more.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// Commits until closed. Run it once; an engine that blocks wants a thread of its own for it.
    ///
    /// An error is final: what the engine holds is not known any more, and nothing may be acknowledged on top of it.
    pub async fn run(
        self,
        store: Arc<dyn Store>,
        stage: impl Stage<T>,
        clock: Clock,
    ) -> Result<(), StoreError> {
        let mut time = Timestamp::default();
        loop {
            let mut batch = {
                let mut queue = self.lock();
                self.shared.taken.fetch_add(1, Ordering::AcqRel);
                queue.take(BATCH_ITEMS_MAX)
            };
            // Looked at behind the count: a guard that closes later finds this batch to wait for.
            let refused = batch.extract_if(.., |submission| !stage.admits(&submission.ticket));
            refused.for_each(|submission| stage.refuse(submission.ticket));
            if batch.is_empty() {
                self.count_delivered();
                if self.shared.closed.load(Ordering::Acquire) {
                    return Ok(());
                }
                self.shared.wake.notified().await;
                continue;
            }
            // Writes are stamped where they get their order, so that time never runs against the numbers.
            time = clock.timestamp().max(time);
            batch.iter_mut().for_each(|submission| submission.write.stamp(time));
            let (writes, tickets): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|submission| (submission.write, submission.ticket)).unzip();
            match store.write_batch(writes).await {
                Ok(outcomes) => {
                    for (ticket, outcome) in tickets.into_iter().zip(outcomes) {
                        stage.deliver(ticket, Some(outcome));
                    }
                    self.count_delivered();
                }
                Err(error) => {
                    tracing::error!(%error, "a batch could not be committed");
                    for ticket in tickets {
                        stage.deliver(ticket, None);
                    }
                    self.count_delivered();
                    return Err(error);
                }
            }
        }
    }

    fn count_delivered(&self) {
        self.shared.delivered.fetch_add(1, Ordering::AcqRel);
        self.shared.delivery.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, CommitQueue<T>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::{
        bounded::{Blob, List},
        limits::EXT_VALUE_BYTES_MAX,
        message::{ExtPair, Text},
    };

    use super::*;
    use crate::store::Append;

    fn append(priority: Priority) -> Append {
        Append { asked: priority, priority, ..Append::note("alice", &"x".repeat(30_000)) }
    }

    fn submission(priority: Priority, ticket: u32) -> Submission<u32> {
        Submission { write: Write::Append(append(priority)), ticket }
    }

    fn tickets(batch: Vec<Submission<u32>>) -> Vec<u32> {
        batch.into_iter().map(|submission| submission.ticket).collect()
    }

    #[test]
    fn the_most_urgent_goes_first_and_each_priority_in_order() {
        let mut queue = CommitQueue::default();
        let order = [Priority::Lowest, Priority::High, Priority::Normal, Priority::High, Priority::Low];
        for (ticket, priority) in (0..).zip(order) {
            queue.push(submission(priority, ticket)).unwrap();
        }
        assert_eq!(tickets(queue.take(3)), [1, 3, 2]);
        queue.push(submission(Priority::High, 5)).unwrap();
        assert_eq!(tickets(queue.take(10)), [5, 4, 0]);
        assert!(queue.take(10).is_empty());
    }

    #[test]
    fn a_full_queue_gives_the_message_back_and_takes_more_when_it_was_emptied() {
        let mut queue = CommitQueue::default();
        let fitting = QUEUE_BYTES_MAX / append(Priority::Low).content.bytes();
        for ticket in 0..fitting as u32 {
            queue.push(submission(Priority::Low, ticket)).unwrap();
        }
        assert_eq!(queue.push(submission(Priority::High, 9)).unwrap_err().ticket, 9);
        assert_eq!(queue.take(1).len(), 1);
        assert!(queue.push(submission(Priority::High, 9)).is_ok());
    }

    #[test]
    fn extensions_fill_the_queue_too() {
        let mut queue = CommitQueue::default();
        let pair = |tag| ExtPair { tag, value: Blob::new(vec![0; EXT_VALUE_BYTES_MAX]).unwrap() };
        let mut extended = append(Priority::Low);
        extended.content.body = Text::encode("x").unwrap();
        extended.content.ext = List::new((0..16).map(pair).collect()).unwrap();
        let fitting = QUEUE_BYTES_MAX / (16 * EXT_VALUE_BYTES_MAX);
        let pushed = (0..QUEUE_ITEMS_MAX).take_while(|_| {
            let again = Submission { write: Write::Append(extended.clone()), ticket: 0 };
            queue.push(again).is_ok()
        });
        assert!(pushed.count() <= fitting);
        while !queue.take(1024).is_empty() {}
        assert_eq!((queue.items, queue.bytes), (0, 0));
    }
}
