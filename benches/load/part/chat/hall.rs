//! What the clients of one process find out together.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use quail_client::CallError;
use quail_protocol::{
    Code, Conversation, Event,
    message::{Sent, Text},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Told;
use crate::{
    body, cpu,
    latency::Latencies,
    ledger::{Account, Answer, Ledger},
};

/// One sender's messages.
#[derive(Debug, Default)]
pub(crate) struct Way(Mutex<Ledger>);

/// See the module.
pub(crate) struct Hall {
    started: Instant,
    /// What is measured.
    window: Range<Duration>,
    /// Nobody sends any more.
    over: AtomicBool,
    /// When it started, since this machine did; only if each message's time is kept.
    keeps_times: Option<Duration>,
    ways: Vec<Arc<Way>>,
    found: Mutex<Chatted>,
}

/// How long one message took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Took {
    /// When it was meant to go, in microseconds since this machine started.
    pub(crate) intended_us: u64,
    /// From then to its receiver's app, in microseconds.
    pub(crate) took_us: u64,
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
    /// How long each message took, if that is kept.
    pub(crate) times: Vec<Took>,
    acknowledged: u64,
    delivered: u64,
}

impl Way {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    /// Of so many users who measure this time of it; the start is now.
    pub(crate) fn begin(users: u32, window: Range<Duration>, keeps_times: bool) -> anyhow::Result<Self> {
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
            times: vec![],
            acknowledged: 0,
            delivered: 0,
        };
        Ok(Self {
            started: Instant::now(),
            window,
            over: AtomicBool::new(false),
            keeps_times: keeps_times.then(cpu::since_boot),
            ways: (0..users).map(|_| Arc::default()).collect(),
            found: Mutex::new(found),
        })
    }

    /// The messages of the sender at `index`.
    pub(crate) fn way(&self, index: u32) -> Arc<Way> {
        // Users come in pairs, so every partner is there.
        self.ways.get(index as usize).cloned().unwrap_or_default()
    }

    pub(super) fn at(&self, intended: Duration) -> Instant {
        self.started + intended
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// True if a message that is meant to go then is not sent any more.
    pub(super) fn is_over(&self, intended: Duration) -> bool {
        intended >= self.window.end || self.over.load(Relaxed)
    }

    /// No message is sent from now on.
    pub(crate) fn stop(&self) {
        self.over.store(true, Relaxed);
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
    fn arrived(&self, way: &Way, number: u64, intended: Duration, now: Instant) {
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
        if let Some(started) = self.keeps_times {
            let [intended_us, took_us] =
                [started + intended, now.saturating_sub(intended)].map(|time| time.as_micros() as u64);
            found.times.push(Took { intended_us, took_us });
        }
    }

    /// A client tells its app something, which may be a message of `way`.
    pub(crate) fn hear(&self, way: &Way, event: &Event) {
        let now = Instant::now();
        match event {
            Event::MessageSent(message) if matches!(message.conversation, Conversation::Peer(_)) => {
                match Text::decode(&message.content.body).ok().and_then(|text| body::read(&text.text)) {
                    Some((number, intended)) => self.arrived(way, number, intended, now),
                    None => self.found().strange += 1,
                }
            }
            // A room that kept nothing begins anew with its server.
            Event::Behind(behind) if matches!(behind.conversation, Conversation::Peer(_)) => {
                self.found().behind += 1;
            }
            _ => {}
        }
    }

    pub(super) fn progress(&self) -> Told {
        let Chatted { acknowledged, delivered, .. } = *self.found();
        Told::Progress { acknowledged, delivered }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.ways.iter().all(|way| way.ledger().is_settled())
    }

    /// Adds everything up.
    pub(crate) fn end(&self) -> anyhow::Result<Chatted> {
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
        self.times.extend_from_slice(&other.times);
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
