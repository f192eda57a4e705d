//! What is played for a while, and what one server made of it.

use std::collections::BTreeMap;

use super::{audience::Played, door::seconds};
use crate::{
    latency::Latencies,
    part::attend::{Counted, Pace, Round},
    rounds::{Rounds, median},
};

/// What is varied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Sessions that listen.
    pub(super) members: u32,
    /// Bytes of a text.
    pub(super) bytes: u32,
    /// Messages that are sent together.
    pub(super) per_flush: u32,
    /// When.
    pub(super) pace: Pace,
}

impl Point {
    /// So many seconds of it.
    pub(super) fn round(&self, duration: f64) -> anyhow::Result<Round> {
        let milliseconds = seconds(duration)?.as_millis() as u64;
        Ok(Round { milliseconds, per_flush: self.per_flush, bytes: self.bytes, pace: self.pace })
    }

    /// As people call it.
    pub(super) fn name(&self) -> String {
        let Self { members, bytes, per_flush, pace } = self;
        let pace = match pace {
            Pace::PerSecond(rate) => format!("{rate:.1} flushes/s"),
            Pace::Ahead(_) => "saturated".to_owned(),
        };
        format!("{members} members, {bytes} B, {per_flush} per flush, {pace}")
    }
}

/// Messages that are sent together when listeners set the pace.
const SATURATED_BURST: u32 = 64;

/// Flushes that all listeners together get per second.
const FLUSHES_HEARD: f64 = 8000.0;

/// Every size with every number of messages together, at so many flushes per second, or as many as listeners bear.
pub(super) fn paced(members: u32, sizes: &[u32], bursts: &[u32], rate: Option<f64>) -> Vec<Point> {
    let pace = Pace::PerSecond(rate.unwrap_or(FLUSHES_HEARD / f64::from(members.max(1))));
    let all = sizes.iter().flat_map(|bytes| bursts.iter().map(move |per_flush| (*bytes, *per_flush)));
    all.map(|(bytes, per_flush)| Point { members, bytes, per_flush, pace }).collect()
}

/// Every size as fast as those who listen follow, so many messages ahead of them.
pub(super) fn saturated(members: u32, sizes: &[u32], ahead: u64) -> Vec<Point> {
    let point =
        |bytes: &u32| Point { members, bytes: *bytes, per_flush: SATURATED_BURST, pace: Pace::Ahead(ahead) };
    sizes.iter().map(point).collect()
}

/// All rounds of one server.
pub(super) struct Side {
    /// Messages that were heard, each counted for everyone who did.
    pub(super) deliveries: u64,
    /// On the wall.
    pub(super) seconds: f64,
    /// Microseconds of the server's CPU for a delivery, of each round.
    pub(super) cpu_us: Vec<f64>,
    /// Bytes that the server grew by at most in a round.
    pub(super) grown: u64,
    /// Bytes that it had before a round at most.
    pub(super) resident: u64,
    /// Messages that were sent.
    pub(super) sent: u64,
    /// Of them, those that were refused, by the reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// What became of the others.
    pub(super) counted: Counted,
    /// From the intended time of a message to a listener.
    pub(super) latencies: Latencies,
    /// Bytes of the protocol that listeners received.
    pub(super) received: u64,
    /// What the load itself was late.
    pub(super) late: Latencies,
}

impl Side {
    /// No round yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            deliveries: 0,
            seconds: 0.0,
            cpu_us: vec![],
            grown: 0,
            resident: 0,
            sent: 0,
            refused: BTreeMap::new(),
            counted: Counted::default(),
            latencies: Latencies::new()?,
            received: 0,
            late: Latencies::new()?,
        })
    }

    /// Adds a round.
    pub(super) fn add(&mut self, played: Played) {
        let Played {
            cpu, seconds, grown, resident, sent, refused, counted, latencies, late, received, ..
        } = played;
        self.cpu_us.push(cpu.seconds() * 1e6 / counted.delivered.max(1) as f64);
        self.deliveries += counted.delivered;
        self.seconds += seconds;
        self.grown = self.grown.max(grown);
        self.resident = self.resident.max(resident);
        self.sent += sent;
        for (reason, count) in refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.counted.add(&counted);
        self.latencies.merge(&latencies);
        self.received += received;
        self.late.merge(&late);
    }

    /// The median of the rounds.
    pub(super) fn cpu_us_median(&self) -> f64 {
        median(self.cpu_us.clone())
    }

    /// Its CPU beside that of a control in the same rounds.
    pub(super) fn cpu_to(&self, control: &Self) -> Rounds {
        Rounds { measured: self.cpu_us.clone(), control: control.cpu_us.clone() }
    }
}
