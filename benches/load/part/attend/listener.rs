//! One who listens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use super::{
    Counted, Hall,
    line::{Line, Word},
    tally::Tally,
};
use crate::cpu;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listener(Mutex<Tally>);

impl Listener {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what it heard.
    pub(super) fn begin(&self) {
        *self.tally() = Tally::default();
    }

    /// Messages of this round that are accounted for.
    pub(super) fn has_heard(&self) -> u64 {
        self.tally().heard()
    }

    /// Adds it up.
    pub(super) fn counted(&self, expected: u64) -> Counted {
        self.tally().counted(expected)
    }

    /// Listens to the end of the connection, which the scenario finds out by what is missing.
    pub(super) async fn listen(self: Arc<Self>, mut line: Line, hall: Arc<Hall>) -> anyhow::Result<()> {
        let mut received = line.received();
        while line.more().await? {
            hall.received.fetch_add(line.received() - received, Ordering::Relaxed);
            received = line.received();
            while let Some(word) = line.ready()? {
                self.hear(&word, &hall);
            }
            hall.heard.notify_waiters();
        }
        Ok(())
    }

    fn hear(&self, word: &Word, hall: &Hall) {
        match word {
            Word::Message(number, intended) => {
                hall.latencies().record(cpu::since_boot().saturating_sub(*intended));
                self.tally().arrived(*number);
            }
            Word::LeftOut(count) => self.tally().dropped(*count),
            _ => {}
        }
    }
}
