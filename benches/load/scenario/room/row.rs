//! One row of the table.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Pace, Rounds, hall::Played};
use crate::{latency::Latencies, part::attend::Counted, report::Report};

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

/// All rounds of one side.
pub(super) struct Side {
    pub(super) deliveries: u64,
    flushes_heard: u64,
    seconds: f64,
    grown: u64,
    resident: u64,
    sent: u64,
    refused: BTreeMap<String, u64>,
    counted: Counted,
    latencies: Latencies,
    late: Latencies,
}

/// See the module.
pub(super) struct Row {
    pub(super) point: Point,
    pub(super) quail: Side,
    bare: Side,
    /// Microseconds of the server's CPU for a delivery, of both.
    pub(super) cpu: Rounds,
    broken: Vec<String>,
}

impl Side {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            deliveries: 0,
            flushes_heard: 0,
            seconds: 0.0,
            grown: 0,
            resident: 0,
            sent: 0,
            refused: BTreeMap::new(),
            counted: Counted::default(),
            latencies: Latencies::new()?,
            late: Latencies::new()?,
        })
    }

    fn add(&mut self, played: Played, per_flush: u32) {
        let Played { seconds, grown, resident, sent, refused, counted, latencies, late, .. } = played;
        self.deliveries += counted.delivered;
        self.flushes_heard += counted.delivered / u64::from(per_flush);
        self.seconds += seconds;
        self.grown = self.grown.max(grown);
        self.resident = self.resident.max(resident);
        self.sent += sent;
        for (reason, count) in refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.counted.add(&counted);
        self.latencies.merge(&latencies);
        self.late.merge(&late);
    }
}

impl Row {
    /// No round yet.
    pub(super) fn new(point: Point) -> anyhow::Result<Self> {
        let (quail, bare) = (Side::new()?, Side::new()?);
        Ok(Self { point, quail, bare, cpu: Rounds::default(), broken: vec![] })
    }

    /// A round that is not measured keeps promises, too.
    pub(super) fn warm(&mut self, played: &Played) {
        self.broken.extend(played.counted.broken());
    }

    /// Adds a round of both.
    pub(super) fn push(&mut self, quail: Played, bare: Played) {
        let each = |played: &Played| played.cpu.seconds() * 1e6 / played.counted.delivered.max(1) as f64;
        self.cpu.push(each(&quail), each(&bare));
        self.broken.extend(quail.counted.broken());
        self.broken.extend(bare.counted.broken().iter().map(|broken| format!("of the bare loop, {broken}")));
        self.quail.add(quail, self.point.per_flush);
        self.bare.add(bare, self.point.per_flush);
    }

    /// Tells the report.
    pub(super) fn tell(&self, report: &mut Report) {
        let (Self { point, quail, bare, cpu, broken }, name) = (self, self.point.name());
        report.broken.extend(broken.iter().map(|broken| format!("{name}: {broken}")));
        let (each, bare_each) = cpu.medians();
        let (times, bare_times, late) =
            (quail.latencies.percentiles(), bare.latencies.percentiles(), quail.late.percentiles());
        // What a flush to everybody takes at most while it is on its way.
        let on_the_way = f64::from(point.members) * f64::from(point.per_flush);
        report.rows.push(json!({
            "row": name,
            "deliveries": quail.deliveries,
            "deliveries_per_second": quail.deliveries as f64 / quail.seconds,
            "deliveries_per_core_second": 1e6 / each,
            "cpu_us": each,
            "bare_cpu_us": bare_each,
            "cpu_ratio": cpu.ratio(),
            "p50_ms": times.p50, "p99_ms": times.p99, "p999_ms": times.p999,
            "bare_p50_ms": bare_times.p50, "bare_p99_ms": bare_times.p99, "bare_p999_ms": bare_times.p999,
            "load_late_p99_ms": late.p99,
            "memory_bytes_per_delivery": quail.grown as f64 / on_the_way,
            "bare_memory_bytes_per_delivery": bare.grown as f64 / on_the_way,
            "memory_mib": quail.resident as f64 / f64::from(1 << 20),
            "bare_memory_mib": bare.resident as f64 / f64::from(1 << 20),
            "sent": quail.sent,
            "refused": quail.refused,
            "dropped": quail.counted.dropped,
            "lost": quail.counted.lost,
            "duplicated": quail.counted.duplicates,
            "out_of_order": quail.counted.misordered,
        }));
        report.rounds(&format!("CPU µs, {name}"), cpu.clone());
    }
}
