//! What all systems made of the same words.

use serde_json::json;

use super::{row_name, system::System};
use crate::{
    part::attend::{Counted, Pace},
    report::Report,
    scenario::{
        audience::Played,
        side::{Point, Side},
    },
};

/// See the module.
pub(super) struct Table {
    point: Point,
    sides: Vec<(System, Side)>,
    broken: Vec<String>,
}

/// What a delivery may cost a Quail in the CPU of another system, where.
const AIMED_MEMBERS: u32 = 1000;
const AIMED_BYTES: u32 = 256;
const AIMS: [(System, u32, f64); 4] = [
    (System::Nats, 1, 1.3),
    (System::Nats, 4, 0.75),
    (System::Nats, 16, 1.1),
    (System::Mosquitto, 16, 1.0 / 6.0),
];

/// Deliveries per core-second of a Quail that is kept busy.
const SATURATED_MIN: f64 = 1.2e6;

impl Table {
    /// No round yet.
    pub(super) fn new(point: Point, systems: Vec<System>) -> anyhow::Result<Self> {
        let sides = systems.into_iter().map(|system| anyhow::Ok((system, Side::new()?)));
        Ok(Self { point, sides: sides.collect::<Result<_, _>>()?, broken: vec![] })
    }

    /// A round that is not measured keeps promises, too.
    pub(super) fn warm(&mut self, index: usize, played: &Played) {
        let (system, _) = &self.sides[index];
        let broken = broken(*system, &played.counted);
        self.broken.extend(broken.iter().map(|broken| format!("{system}: {broken}")));
    }

    /// Adds a round of one of them.
    pub(super) fn add(&mut self, index: usize, played: Played) {
        self.warm(index, &played);
        self.sides[index].1.add(played);
    }

    /// Tells the report.
    pub(super) fn tell(self, report: &mut Report) {
        let (Self { point, sides, broken }, name) = (&self, self.point.name());
        report.broken.extend(broken.iter().map(|broken| format!("{name}: {broken}")));
        for (system, side) in sides {
            let each = side.cpu_us_median();
            let (times, late) = (side.latencies.percentiles(), side.late.percentiles());
            report.rows.push(json!({
                "row": row_name(&name, *system),
                "system": system,
                "tls": system.is_encrypted(),
                "members": point.members,
                "bytes": point.bytes,
                "per_flush": point.per_flush,
                "deliveries": side.deliveries,
                "deliveries_per_second": side.deliveries as f64 / side.seconds,
                "deliveries_per_core_second": 1e6 / each,
                "cpu_us": each,
                "protocol_bytes_each": side.received as f64 / side.deliveries.max(1) as f64,
                "p50_ms": times.p50, "p99_ms": times.p99, "p999_ms": times.p999,
                "load_late_p99_ms": late.p99,
                "memory_mib": side.resident as f64 / f64::from(1 << 20),
                "grown_mib": side.grown as f64 / f64::from(1 << 20),
                "sent": side.sent,
                "refused": side.refused,
                "dropped": side.counted.dropped,
                "lost": side.counted.lost,
                "duplicated": side.counted.duplicates,
                "out_of_order": side.counted.misordered,
            }));
        }
        let Some((_, quail)) = sides.iter().find(|(system, _)| *system == System::Quail) else { return };
        for (system, side) in sides.iter().filter(|(system, _)| *system != System::Quail) {
            let ratio = report.rounds(&format!("CPU µs, {name}, quail to {system}"), quail.cpu_to(side));
            if let Some(bound) = bound(point, *system) {
                report.at_most(&format!("CPU of {system}, {name}"), ratio, bound);
            }
        }
        if let Pace::Ahead(_) = point.pace {
            let rate = 1e6 / quail.cpu_us_median();
            report.at_least(&format!("deliveries per core-second, {name}"), rate, SATURATED_MIN);
        }
    }
}

/// What breaks a promise of this system, in words.
fn broken(system: System, counted: &Counted) -> Vec<String> {
    // The row says how many were lost all the same.
    let lost = if system.may_lose() { 0 } else { counted.lost };
    Counted { lost, ..*counted }.broken()
}

/// What a delivery of a Quail may cost in the CPU of this system there.
fn bound(point: &Point, system: System) -> Option<f64> {
    let Point { members, bytes, per_flush, pace } = *point;
    let aimed = members == AIMED_MEMBERS && bytes == AIMED_BYTES && matches!(pace, Pace::PerSecond(_));
    let bound = AIMS.iter().find(|(to, together, _)| aimed && (*to, *together) == (system, per_flush));
    bound.map(|(.., bound)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losing_is_held_against_whoever_promised_more() {
        let counted = Counted { delivered: 9, lost: 1, ..Counted::default() };
        for (system, number) in [
            (System::Nats, 0),
            (System::MosquittoTls, 0),
            (System::MosquittoQos1, 1),
            (System::Quail, 1),
            (System::Bare, 1),
        ] {
            assert_eq!(broken(system, &counted).len(), number, "{system}");
            assert_eq!(broken(system, &Counted { duplicates: 2, ..counted }).len(), number + 1, "{system}");
        }
    }

    #[test]
    fn only_what_was_aimed_at_is_held_against_its_bound() {
        let point = |members, per_flush, pace| Point { members, bytes: 256, per_flush, pace };
        let pace = Pace::PerSecond(8.0);
        assert_eq!(bound(&point(1000, 4, pace), System::Nats), Some(0.75));
        assert_eq!(bound(&point(1000, 4, pace), System::NatsTls), None);
        assert_eq!(bound(&point(1000, 4, pace), System::Mosquitto), None);
        assert_eq!(bound(&point(100, 4, pace), System::Nats), None);
        assert_eq!(bound(&point(1000, 16, Pace::Ahead(1)), System::Nats), None);
    }
}
