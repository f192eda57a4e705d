//! All rounds of a room with slow members and of one without.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{BYTES_MAX, Kind, Options, P99_RATIO_MAX};
use crate::{
    cpu::Memory,
    latency::{Latencies, Percentiles},
    part::{attend::Counted, heed::Heard, pour::Poured},
    report::Report,
    rounds::{Rounds, median},
};

/// One round of one variant.
pub(super) struct Pass {
    /// When times were taken, since the machine started.
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// Of the server, at the end.
    pub(super) memory: Memory,
    /// Of a core that the server had meanwhile.
    pub(super) cpu_share: f64,
    /// Messages that the server says it left out.
    pub(super) dropped: u64,
    /// Connections that it says it closed for being slow.
    pub(super) closed_slow: u64,
    sent: u64,
    accepted: u64,
    first_failure: Option<String>,
    others: Counted,
    latencies: Latencies,
    /// What those who are slow or stuck, if anybody is, heard.
    rest: Counted,
    gaps: u64,
    /// Whose connection ended.
    closed: Vec<(Kind, Duration, String)>,
}

impl Pass {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            began: Duration::ZERO,
            ended: Duration::ZERO,
            memory: Memory::default(),
            cpu_share: 0.0,
            dropped: 0,
            closed_slow: 0,
            sent: 0,
            accepted: 0,
            first_failure: None,
            others: Counted::default(),
            latencies: Latencies::new()?,
            rest: Counted::default(),
            gaps: 0,
            closed: vec![],
        })
    }

    /// What the others' messages took.
    pub(super) fn times(&self) -> Percentiles {
        self.latencies.percentiles()
    }

    /// What became of a sender's messages.
    pub(super) fn said(&mut self, said: Poured) {
        self.sent += said.sent;
        self.accepted += said.accepted;
        self.first_failure = self.first_failure.take().or(said.first_failure);
    }

    /// What members of one kind heard.
    pub(super) fn heard(&mut self, kind: Kind, heard: Heard) {
        let Heard { counted, latencies, gaps, closed } = heard;
        if kind == Kind::Others {
            self.others.add(&counted);
            self.latencies.merge(&latencies);
        } else {
            self.rest.add(&counted);
        }
        self.gaps += gaps;
        self.closed.extend(closed.into_iter().map(|(at, why)| (kind, at, why)));
    }
}

/// See the module.
pub(super) struct Tally {
    slow: u32,
    stuck: u32,
    all_well: Vec<Pass>,
    some_slow: Vec<Pass>,
}

impl Tally {
    /// No round yet.
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        let Options { slow, stuck, .. } = options;
        Ok(Self { slow: *slow, stuck: *stuck, all_well: vec![], some_slow: vec![] })
    }

    /// Adds a round.
    pub(super) fn push(&mut self, slow: bool, pass: Pass) {
        if slow { self.some_slow.push(pass) } else { self.all_well.push(pass) }
    }

    /// Tells the report.
    pub(super) fn tell(&self, report: &mut Report) -> anyhow::Result<()> {
        for (name, passes) in [("all read well", &self.all_well), ("some slowly", &self.some_slow)] {
            row(name, passes, report)?;
            report.broken.extend(broken(name, passes));
        }
        let [p50, p99, memory] = [Measure::P50, Measure::P99, Measure::Anonymous].map(|measure| {
            let mut rounds = Rounds::default();
            for (slow, well) in self.some_slow.iter().zip(&self.all_well) {
                rounds.push(measure.of(slow), measure.of(well));
            }
            rounds
        });
        let each = |measure: Measure| {
            let pairs = self.some_slow.iter().zip(&self.all_well);
            let more = pairs.map(|(slow, well)| measure.of(slow) - measure.of(well));
            median(more.collect()) / f64::from(self.slow.max(1))
        };
        let (resident, anonymous) = (each(Measure::Resident), each(Measure::Anonymous));
        report.rounds("ms to the others, p50, some slow to all well", p50);
        let ratio = report.rounds("ms to the others, p99, some slow to all well", p99);
        report.rounds("anonymous bytes of the server, some slow to all well", memory);
        report.figure("memory for one who reads slowly, resident, bytes", resident);
        report.figure("memory for one who reads slowly, anonymous, bytes", anonymous);
        report.at_most("of the p99 of a room in which all read well", ratio, P99_RATIO_MAX);
        report.at_most("bytes of server memory for one who reads slowly", resident, BYTES_MAX);
        self.tell_closed(report);
        Ok(())
    }

    /// Who was closed, and who was not.
    fn tell_closed(&self, report: &mut Report) {
        let rounds = self.some_slow.len() as u64;
        let mut told = vec![];
        for (kind, name, there) in [(Kind::Slow, "slowly", self.slow), (Kind::Stuck, "nothing", self.stuck)] {
            let all = self.some_slow.iter().flat_map(|pass| &pass.closed);
            let closed: Vec<_> = all.filter(|(whose, ..)| *whose == kind).collect();
            let mut reasons = BTreeMap::<&str, u64>::new();
            closed.iter().for_each(|(_, _, why)| *reasons.entry(why).or_default() += 1);
            report.count(&format!("who read {name}"), u64::from(there) * rounds);
            report.count(&format!("who read {name} and were closed"), closed.len() as u64);
            told.push(
                json!({ "row": format!("who read {name} and were closed, by reason"), "reasons": reasons }),
            );
        }
        report.rows.extend(told);
        let since_began = |pass: &Pass| {
            let began = pass.began;
            let stuck = pass.closed.iter().filter(|(kind, ..)| *kind == Kind::Stuck);
            stuck.map(move |(_, at, _)| at.as_secs_f64() - began.as_secs_f64()).collect::<Vec<_>>()
        };
        let mut after: Vec<f64> = self.some_slow.iter().flat_map(since_began).collect();
        after.sort_by(f64::total_cmp);
        if let (Some(first), Some(last)) = (after.first(), after.last()) {
            report.figure("who read nothing: first closed after, s behind the warm-up", *first);
            report.figure("who read nothing: last closed after, s behind the warm-up", *last);
        }
    }
}

/// A number of a round.
#[derive(Clone, Copy)]
enum Measure {
    P50,
    P99,
    Resident,
    Anonymous,
}

impl Measure {
    fn of(self, pass: &Pass) -> f64 {
        match self {
            Self::P50 => pass.latencies.percentiles().p50,
            Self::P99 => pass.latencies.percentiles().p99,
            Self::Resident => pass.memory.resident as f64,
            Self::Anonymous => pass.memory.anonymous as f64,
        }
    }
}

fn row(name: &str, passes: &[Pass], report: &mut Report) -> anyhow::Result<()> {
    let mut latencies = Latencies::new()?;
    let (mut others, mut rest) = (Counted::default(), Counted::default());
    for pass in passes {
        latencies.merge(&pass.latencies);
        others.add(&pass.others);
        rest.add(&pass.rest);
    }
    let sum = |of: fn(&Pass) -> u64| passes.iter().map(of).sum::<u64>();
    let each = |of: fn(&Pass) -> f64| passes.iter().map(of).collect::<Vec<_>>();
    let times = latencies.percentiles();
    report.rows.push(json!({
        "row": name,
        "p50_ms": times.p50, "p99_ms": times.p99, "p999_ms": times.p999, "max_ms": times.max,
        "p99_ms_of_rounds": each(|pass| Measure::P99.of(pass)),
        "samples": times.count,
        "resident_mib_of_rounds": each(|pass| Measure::Resident.of(pass) / f64::from(1 << 20)),
        "anonymous_mib_of_rounds": each(|pass| Measure::Anonymous.of(pass) / f64::from(1 << 20)),
        "server_cores_of_rounds": each(|pass| pass.cpu_share),
        "seconds_of_rounds": each(|pass| (pass.ended - pass.began).as_secs_f64()),
        "sent": sum(|pass| pass.sent),
        "accepted": sum(|pass| pass.accepted),
        "delivered_to_the_others": others.delivered,
        "left_out_for_the_others": others.dropped,
        "lost": others.lost,
        "duplicated": others.duplicates,
        "out_of_order": others.misordered,
        "delivered_to_the_rest": rest.delivered,
        "left_out_for_the_rest_as_they_were_told": rest.dropped,
        "gaps_read": sum(|pass| pass.gaps),
        "left_out_by_the_server": sum(|pass| pass.dropped),
        "closed_as_slow_by_the_server": sum(|pass| pass.closed_slow),
    }));
    Ok(())
}

/// Promises that were broken. Whoever reads slowly is behind, and is told at the end of all that was left out.
fn broken(name: &str, passes: &[Pass]) -> Vec<String> {
    let mut all = vec![];
    for pass in passes {
        all.extend(pass.others.broken().iter().map(|broken| format!("{name}: {broken}")));
        all.extend(pass.rest.broken().iter().map(|broken| format!("{name}, who reads slowly: {broken}")));
        if pass.accepted < pass.sent {
            let why = pass.first_failure.as_deref().unwrap_or("unknown");
            all.push(format!("{name}: {} messages were not taken ({why})", pass.sent - pass.accepted));
        }
        let others = pass.closed.iter().filter(|(kind, ..)| *kind == Kind::Others).count();
        if others > 0 {
            all.push(format!("{name}: {others} who read well were closed"));
        }
    }
    all
}
