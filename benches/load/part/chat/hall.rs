//! What the clients of one process find out together.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use quail_client::CallError;
use quail_protocol::{Code, message::Sent};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Order, Told};
use crate::{
    latency::Latencies,
    ledger::{Account, Answer, Ledger},
};

/// One sender's messages.
#[derive(Debug, Default)]
pub(super) struct Way(Mutex<Ledger>);

/// See the module.
pub(super) struct Hall {
    started: Instant,
    /// What is measured.
    window: Range<Duration>,
    ways: Vec<Arc<Way>>,
    found: Mutex<Chatted>,
}

/// What became of a chat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chatted {
    /// All messages, the warm-up's included.
    pub(crate) account: Account,
    /// Acknowledgements that came while it was measured.
    pub(crate) acknowledged_in_window: u64,
    /// Deliveries that came while it was measured.
    pub(crate) delivered_in_window: u64,
    /// Refusals and missing answers by their reason.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Times that a client was told that it missed messages and could not fetch them.
    pub(crate) behind: u64,
    /// Messages that no sender of ours wrote.
    pub(crate) strange: u64,
    /// From the intended time of a message to its acknowledgement.
    pub(crate) to_ack: Latencies,
    /// From the intended time of a message to its receiver's app.
    pub(crate) to_receiver: Latencies,
    /// From the intended time of a message to the moment it was handed to the client: what the load itself was late.
    pub(crate) late: Latencies,
    acknowledged: u64,
    delivered: u64,
}

impl Way {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    /// The start is now.
    pub(super) fn begin(order: &Order) -> anyhow::Result<Self> {
        let [warm_up, duration] = [order.warm_up, order.duration].map(Duration::from_millis);
        let found = Chatted {
            account: Account::default(),
            acknowledged_in_window: 0,
            delivered_in_window: 0,
            refusals: BTreeMap::new(),
            behind: 0,
            strange: 0,
            to_ack: Latencies::new()?,
            to_receiver: Latencies::new()?,
            late: Latencies::new()?,
            acknowledged: 0,
            delivered: 0,
        };
        Ok(Self {
            started: Instant::now(),
            window: warm_up..warm_up + duration,
            ways: (0..order.crowd.users).map(|_| Arc::default()).collect(),
            found: Mutex::new(found),
        })
    }

    /// The messages of the sender at `index`.
    pub(super) fn way(&self, index: u32) -> Arc<Way> {
        // Users come in pairs, so every partner is there.
        self.ways.get(index as usize).cloned().unwrap_or_default()
    }

    pub(super) fn at(&self, intended: Duration) -> Instant {
        self.started + intended
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When the last message is meant to go.
    pub(super) fn until(&self) -> Duration {
        self.window.end
    }

    /// A message is handed to the client.
    pub(super) fn sending(&self, intended: Duration) {
        let late = self.elapsed().saturating_sub(intended);
        if self.window.contains(&intended) {
            self.found().late.record(late);
        }
    }

    /// A sender has the answer.
    pub(super) fn answered(
        &self,
        way: &Way,
        number: u64,
        intended: Duration,
        answer: Result<Sent, CallError>,
    ) {
        let now = self.elapsed();
        let mut found = self.found();
        let answer = match answer {
            Ok(_) => {
                found.acknowledged += 1;
                found.acknowledged_in_window += u64::from(self.window.contains(&now));
                if self.window.contains(&intended) {
                    found.to_ack.record(now.saturating_sub(intended));
                }
                Answer::Accepted
            }
            Err(CallError::Reject(reject)) => {
                *found.refusals.entry(format!("{:?}", reject.code)).or_default() += 1;
                // Given up by the server, which may do it all the same.
                if matches!(reject.code, Code::TimedOut | Code::Internal) {
                    Answer::Unknown
                } else {
                    Answer::Refused
                }
            }
            Err(error) => {
                *found.refusals.entry(error.to_string()).or_default() += 1;
                Answer::Unknown
            }
        };
        drop(found);
        way.ledger().answered(number, answer);
    }

    /// A receiver has a message.
    pub(super) fn arrived(&self, way: &Way, number: u64, intended: Duration, now: Instant) {
        let now = now.duration_since(self.started);
        if !way.ledger().arrived(number) {
            return;
        }
        let mut found = self.found();
        found.delivered += 1;
        found.delivered_in_window += u64::from(self.window.contains(&now));
        if self.window.contains(&intended) {
            found.to_receiver.record(now.saturating_sub(intended));
        }
    }

    pub(super) fn strange(&self) {
        self.found().strange += 1;
    }

    pub(super) fn behind(&self) {
        self.found().behind += 1;
    }

    pub(super) fn progress(&self) -> Told {
        let Chatted { acknowledged, delivered, .. } = *self.found();
        Told::Progress { acknowledged, delivered }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.ways.iter().all(|way| way.ledger().is_settled())
    }

    /// Adds everything up.
    pub(super) fn end(&self) -> anyhow::Result<Chatted> {
        let mut found = self.found().clone();
        self.ways.iter().for_each(|way| found.account.add(&way.ledger().account()));
        Ok(found)
    }

    fn found(&self) -> MutexGuard<'_, Chatted> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chatted {
    /// Adds what another process found out.
    pub(crate) fn add(&mut self, other: &Self) {
        self.account.add(&other.account);
        self.acknowledged_in_window += other.acknowledged_in_window;
        self.delivered_in_window += other.delivered_in_window;
        for (reason, count) in &other.refusals {
            *self.refusals.entry(reason.clone()).or_default() += count;
        }
        self.behind += other.behind;
        self.strange += other.strange;
        self.to_ack.merge(&other.to_ack);
        self.to_receiver.merge(&other.to_receiver);
        self.late.merge(&other.late);
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
    }

    /// What all processes found out together.
    pub(crate) fn sum(all: Vec<Self>) -> anyhow::Result<Self> {
        let add = |mut sum: Self, one| {
            sum.add(&one);
            sum
        };
        all.into_iter().reduce(add).context("nobody chatted")
    }
}
