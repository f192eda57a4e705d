//! Committer and engine without a network, at the batch sizes of a plan.

use std::{
    collections::VecDeque,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use quail_protocol::Timestamp;
use quail_server::{
    clock::Clock,
    store::{
        Appended, Write, Written,
        commit::{Committer, Stage, Submission},
        embedded::{self, Embedded},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    child::{Orders, say},
    cpu::{self, Spent},
    plan::Plan,
};

/// What to commit, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// A directory that does not exist.
    pub(crate) store: PathBuf,
    /// What.
    pub(crate) plan: Plan,
}

/// Commits the plan and answers with the [`Spent`].
pub(crate) async fn run() -> anyhow::Result<()> {
    let Order { store, plan } = Orders::listen().first().await?;
    let clock = Clock::system();
    let time = clock.timestamp();
    let store = Arc::new(Embedded::open(&store, &embedded::Config::default(), false, clock)?);
    let committer = Committer::default();
    let stage = Arc::new(Turns {
        committer: committer.clone(),
        batches: Mutex::new(plan.ranges().collect()),
        plan,
        time,
        making: AtomicU64::new(0),
        open: AtomicUsize::new(0),
        placed: AtomicU64::new(0),
    });

    let (before, started) = (cpu::this_process(), Instant::now());
    stage.submit_next();
    // Closing the store is not part of it.
    committer.run(store.clone(), Follow(stage.clone()), clock).await?;
    let (cpu, wall) = (cpu::this_process() - before, started.elapsed());
    let (placed, planned) = (stage.placed.load(Ordering::Acquire), stage.plan.messages());
    anyhow::ensure!(placed == planned, "{placed} of {planned} were placed");
    // A server has the messages from the network.
    let making = Duration::from_nanos(stage.making.load(Ordering::Acquire));
    let seconds = |time: Duration| time.saturating_sub(making).as_secs_f64();
    say(&Spent { cpu: seconds(cpu), wall: seconds(wall) })
}

/// Submits a batch when the one before is told: what waits then is one batch of the committer.
struct Turns {
    committer: Committer<()>,
    batches: Mutex<VecDeque<Range<u64>>>,
    plan: Plan,
    time: Timestamp,
    /// Nanoseconds of processor time that making messages took.
    making: AtomicU64,
    /// Of the batch before.
    open: AtomicUsize,
    placed: AtomicU64,
}

impl Turns {
    fn submit_next(&self) {
        let next = self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(range) = next else { return self.committer.close() };
        // Made as they are needed: a heap full of them would cost more than they do.
        let before = cpu::this_thread();
        let batch: Vec<_> = range.filter_map(|number| self.plan.append(number, self.time).ok()).collect();
        self.making.fetch_add((cpu::this_thread() - before).as_nanos() as u64, Ordering::AcqRel);
        self.open.store(batch.len(), Ordering::Release);
        for append in batch {
            // One that is refused is missed in the count of those placed.
            _ = self.committer.submit(Submission { write: Write::Append(append), ticket: () });
        }
    }
}

struct Follow(Arc<Turns>);

impl Stage<()> for Follow {
    fn admits(&self, (): &()) -> bool {
        true
    }

    fn refuse(&self, (): ()) {}

    fn deliver(&self, (): (), outcome: Option<Written>) {
        if matches!(outcome, Some(Written::Append(Appended::Placed(_)))) {
            self.0.placed.fetch_add(1, Ordering::AcqRel);
        }
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.submit_next();
        }
    }
}
