//! Committer and engine without a network, at the batch sizes of a plan.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

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
    cpu::{Cpu, Spent},
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
    let batch = |range: std::ops::Range<u64>| {
        range.map(|number| plan.append(number, time).map(Write::Append)).collect::<Result<Vec<_>, _>>()
    };
    let batches: VecDeque<_> = plan.ranges().map(batch).collect::<Result<_, _>>()?;
    let committer = Committer::default();
    let stage = Arc::new(Turns {
        committer: committer.clone(),
        batches: Mutex::new(batches),
        open: AtomicUsize::new(0),
        placed: AtomicU64::new(0),
    });

    let (before, started) = (Cpu::own()?, Instant::now());
    stage.submit_next();
    committer.run(store, Follow(stage.clone()), clock).await?;
    let spent = Spent::of(Cpu::own()?.since(before), started.elapsed());
    let placed = stage.placed.load(Ordering::Acquire);
    anyhow::ensure!(placed == plan.messages(), "{placed} of {} were placed", plan.messages());
    say(&spent)
}

/// Submits a batch when the one before is told: what waits then is one batch of the committer.
struct Turns {
    committer: Committer<()>,
    batches: Mutex<VecDeque<Vec<Write>>>,
    /// Of the batch before.
    open: AtomicUsize,
    placed: AtomicU64,
}

impl Turns {
    fn submit_next(&self) {
        let next = self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(batch) = next else { return self.committer.close() };
        self.open.store(batch.len(), Ordering::Release);
        for write in batch {
            // A batch is far below what may wait; one that is refused is missed in the count of those placed.
            _ = self.committer.submit(Submission { write, ticket: () });
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
