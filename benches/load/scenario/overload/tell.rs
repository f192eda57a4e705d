//! What is said of overloads.

use std::ops::Range;

use serde_json::{Value, json};

use super::{Options, Played, Search, Seen};
use crate::{
    latency::Latencies,
    part::{
        attend::Counted,
        throng::seconds::{Second, Seconds},
    },
    report::Report,
    rounds::{Rounds, median},
};

/// Of the knee's goodput, how much is to be left while more is offered.
const GOODPUT_MIN: f64 = 0.8;

/// Of the urgent deliveries, those that must arrive for their times to say anything.
const URGENT_SHARE_MIN: f64 = 0.95;

/// To the knee's p99 of urgent messages, at most so much.
const URGENT_MAX: f64 = 5.0;

/// Seconds until everything is normal again at most.
const NORMAL_MAX: f64 = 10.0;

/// A stretch of time of one side.
struct Stretch {
    /// Deliveries per second that were meant to be.
    offered: f64,
    /// Of them, of urgent messages.
    urgent_offered: f64,
    /// Of them, those that arrived.
    urgent_share: f64,
    /// All seconds together.
    all: Second,
    seen: Seen,
    lowest: f64,
    urgent_p99_ms: Option<f64>,
}

/// A round of one side.
struct Round {
    /// At the knee, above it, and below it.
    stretches: [Stretch; 3],
    /// Seconds below the knee until all is normal; `None` if it did not become so.
    normal: Option<usize>,
    played: Played,
}

/// One side.
#[derive(Default)]
struct Side(Vec<Round>);

/// See the module.
pub(super) struct Tally<'a> {
    options: &'a Options,
    name: &'static str,
    search: Search,
    quail: Side,
    bare: Side,
}

/// Deliveries and p99 of a stretch.
pub(super) fn seen(seconds: &Seconds, stretch: Range<usize>) -> anyhow::Result<Seen> {
    let (count, all) = (stretch.len().max(1), seconds.together(stretch));
    let mut times = Latencies::new()?;
    [&all.urgent, &all.others].into_iter().flatten().for_each(|some| times.merge(some));
    Ok(Seen {
        goodput: all.delivered as f64 / count as f64,
        p99_ms: (all.delivered > 0).then(|| times.percentiles().p99),
    })
}

/// A step of the search for the knee.
pub(super) fn row(name: &str, per_second: f64, offered: f64, seen: Seen, borne: bool) -> Value {
    json!({
        "row": format!("{name}: {per_second:.0} messages per second"),
        "offered_deliveries_per_second": offered,
        "deliveries_per_second": seen.goodput,
        "p99_ms": seen.p99_ms,
        "borne": borne,
    })
}

impl Stretch {
    fn of(played: &Played, step: usize, [offered, urgent_offered]: [f64; 2]) -> anyhow::Result<Self> {
        let seconds = played.program.measured_of(step);
        let lowest = seconds.clone().map(|second| played.seconds.second(second).delivered).min();
        let all = played.seconds.together(seconds.clone());
        Ok(Self {
            offered,
            urgent_offered,
            urgent_share: all.urgent.as_ref().map_or(0.0, |times| times.percentiles().count as f64)
                / (urgent_offered * seconds.len() as f64).max(1.0),
            seen: seen(&played.seconds, seconds)?,
            lowest: lowest.unwrap_or_default() as f64,
            urgent_p99_ms: all.urgent.as_ref().map(|times| times.percentiles().p99),
            all,
        })
    }

    fn row(&self, name: String) -> Value {
        let Second { sent, held_back, accepted, refused, delivered, urgent, others, late } = &self.all;
        let times = |times: &Option<Latencies>| {
            times.as_ref().map(|times| {
                let times = times.percentiles();
                json!({ "count": times.count, "p50_ms": times.p50, "p99_ms": times.p99, "max_ms": times.max })
            })
        };
        json!({
            "row": name,
            "offered_deliveries_per_second": self.offered,
            "of_them_high": self.urgent_offered,
            "of_them_arrived": self.urgent_share,
            "deliveries_per_second": self.seen.goodput,
            "deliveries_in_the_lowest_second": self.lowest,
            "delivered": delivered,
            "sent": sent,
            "not_offered": held_back,
            "accepted": accepted,
            "refused": refused,
            "high": times(urgent),
            "normal_and_low": times(others),
            "load_late": times(late),
        })
    }
}

impl Round {
    fn new(options: &Options, knee: f64, reached: u32, played: Played) -> anyhow::Result<Self> {
        let steps = &played.program.steps;
        let offered = |step: usize| {
            let per_second = steps.get(step).map_or(knee, |step| step.per_second);
            (per_second + options.high_rate) * f64::from(reached)
        };
        let urgent = options.high_rate * f64::from(reached);
        let of = |step| Stretch::of(&played, step, [offered(step), urgent]);
        let stretches = [of(0)?, of(1)?, of(2)?];
        let after = played.program.seconds_of(2);
        let after = after.map(|second| seen(&played.seconds, second..second + 1));
        let after: Vec<Seen> = after.collect::<anyhow::Result<_>>()?;
        let normal = options.bound().normal_from(offered(2), &after);
        Ok(Self { stretches, normal, played })
    }

    /// Goodput above the knee to the knee's.
    fn goodput(&self) -> f64 {
        let [at, above, _] = &self.stretches;
        above.seen.goodput / at.seen.goodput.max(1e-9)
    }

    /// p99 of urgent messages above the knee to the knee's; without end if not nearly all of them arrived there, for then those
    /// that did say little.
    fn urgent(&self) -> f64 {
        let [at, above, _] = &self.stretches;
        match (at.urgent_p99_ms, above.urgent_p99_ms) {
            (Some(at), Some(above))
                if self.stretches.iter().all(|some| some.urgent_share >= URGENT_SHARE_MIN) =>
            {
                above / at
            }
            _ => f64::INFINITY,
        }
    }
}

impl Side {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }
}

impl<'a> Tally<'a> {
    /// Nothing was played yet but the search.
    pub(super) fn new(options: &'a Options, name: &'static str, search: &Search) -> Self {
        Self { options, name, search: search.clone(), quail: Side::default(), bare: Side::default() }
    }

    /// Adds a program that was played by the one side or the other.
    pub(super) fn push(&mut self, is_quail: bool, reached: u32, played: Played) -> anyhow::Result<()> {
        let side = if is_quail { &mut self.quail } else { &mut self.bare };
        side.0.push(Round::new(self.options, self.search.knee(), reached, played)?);
        Ok(())
    }

    /// Tells the report.
    pub(super) fn tell(&self, report: &mut Report) {
        let Self { name, search, quail, bare, .. } = self;
        report.figure(&format!("{name}: knee, messages/s"), search.knee());
        report.count(&format!("{name}: knee found"), search.is_borne().into());
        for (who, side) in [("Quail", quail), ("bare loop", bare)] {
            self.tell_side(report, who, side);
        }
        for (what, of) in [
            ("deliveries/s above the knee to at the knee", Round::goodput as fn(&Round) -> f64),
            ("High p99 above the knee to at the knee", Round::urgent),
        ] {
            let mut rounds = Rounds::default();
            quail.0.iter().zip(&bare.0).for_each(|(quail, bare)| rounds.push(of(quail), of(bare)));
            report.rounds(&format!("{name}: {what}, Quail to bare loop"), rounds);
        }
        if !search.is_borne() {
            // What is three times of nothing shows nothing.
            report.broken.push(format!("{name}: not even the lowest rate was borne"));
            return;
        }
        let normal = |round: &Round| round.normal.map_or(f64::INFINITY, |second| second as f64);
        report.at_least(
            &format!("{name}: of the knee's deliveries/s above it"),
            quail.median(Round::goodput),
            GOODPUT_MIN,
        );
        report.at_most(
            &format!("{name}: of the knee's High p99 above it"),
            quail.median(Round::urgent),
            URGENT_MAX,
        );
        report.at_most(&format!("{name}: seconds until all is normal"), quail.median(normal), NORMAL_MAX);
    }

    fn tell_side(&self, report: &mut Report, who: &str, side: &Side) {
        let name = format!("{}: {who}", self.name);
        for (number, round) in (1..).zip(&side.0) {
            let above = format!("{} times the knee", self.options.factor);
            for (where_, stretch) in ["at the knee", &above, "half the knee"].iter().zip(&round.stretches) {
                report.rows.push(stretch.row(format!("{name}, round {number}, {where_}")));
            }
            let [before, most, after] = round.played.memory.map(|bytes| bytes as f64 / f64::from(1 << 20));
            report.rows.push(json!({
                "row": format!("{name}, round {number}, in all"),
                "seconds_until_normal": round.normal,
                "memory_before_mib": before,
                "memory_at_most_mib": most,
                "memory_after_mib": after,
                "cpu_seconds": round.played.cpu.seconds(),
            }));
        }
        // The sessions count from when they came.
        let Some(Played { counted, fetched, behind, closed, .. }) = side.0.last().map(|round| &round.played)
        else {
            return;
        };
        let Counted { delivered, dropped, lost, duplicates, misordered, unexpected } = *counted;
        for (what, count) in [
            ("delivered", delivered),
            ("told as left out", dropped),
            ("lost", lost),
            ("duplicated", duplicates),
            ("out of order", misordered),
            ("unexpected", unexpected),
            ("fetched from the history", *fetched),
        ] {
            report.count(&format!("{name}: messages {what}"), count);
        }
        report.count(&format!("{name}: times told to read the history"), *behind);
        report.count(&format!("{name}: sessions that ended"), closed.values().sum());
        for (reason, count) in closed {
            report.count(&format!("{name}: sessions that ended, {reason}"), *count);
        }
        report.broken.extend(counted.broken().into_iter().map(|broken| format!("{name}: {broken}")));
    }
}
