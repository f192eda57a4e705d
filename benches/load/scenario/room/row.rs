//! One row of the table.

use serde_json::json;

use crate::{
    report::Report,
    rounds::Rounds,
    scenario::{
        audience::Played,
        side::{Point, Side},
    },
};

/// See the module.
pub(super) struct Row {
    pub(super) point: Point,
    pub(super) quail: Side,
    bare: Side,
    broken: Vec<String>,
}

impl Row {
    /// No round yet.
    pub(super) fn new(point: Point) -> anyhow::Result<Self> {
        let (quail, bare) = (Side::new()?, Side::new()?);
        Ok(Self { point, quail, bare, broken: vec![] })
    }

    /// A round that is not measured keeps promises, too.
    pub(super) fn warm(&mut self, played: &Played) {
        self.broken.extend(played.counted.broken());
    }

    /// Adds a round of both.
    pub(super) fn push(&mut self, quail: Played, bare: Played) {
        self.broken.extend(quail.counted.broken());
        self.broken.extend(bare.counted.broken().iter().map(|broken| format!("of the bare loop, {broken}")));
        self.quail.add(quail);
        self.bare.add(bare);
    }

    /// Microseconds of the server's CPU for a delivery, of both.
    pub(super) fn cpu(&self) -> Rounds {
        self.quail.cpu_to(&self.bare)
    }

    /// Tells the report.
    pub(super) fn tell(&self, report: &mut Report) {
        let (Self { point, quail, bare, broken }, name, cpu) = (self, self.point.name(), self.cpu());
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
        report.rounds(&format!("CPU µs, {name}"), cpu);
    }
}
