//! What a storm was like, in figures.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::json;

use super::{
    By,
    curve::{PERCENTS, Second, by_second, normal_from, until, usual},
};
use crate::{
    cpu::{Cpu, Memory},
    ledger::Account,
    part::{
        chat::Chatted,
        cling::{Clung, Passage},
    },
    report::Report,
    rounds::Rounds,
};

/// Sessions up to which the aims are those of a machine that has time for all.
const FEW: u32 = 5000;

/// Seconds within which more than [`FEW`] are back, and traffic is as usual again.
const BOUNDED_S: f64 = 60.0;

/// Seconds from the server's start until all are back who were told that it goes.
const TOLD_S: f64 = 10.0;

/// The same for those who were not: they say after 10 s of silence that they are there, and learn so that they are not.
const UNTOLD_S: f64 = 20.0;

/// Seconds from then on until traffic is as usual.
const NORMAL_S: f64 = 5.0;

/// The server or the bare endpoint, from when it is there again until everybody is back.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) cpu: Cpu,
    /// Most resident bytes.
    pub(super) peak: u64,
    /// Just before it was lost.
    pub(super) memory_before: Memory,
    /// What it counted.
    pub(super) counters: BTreeMap<String, u64>,
}

/// What became of the traffic.
#[derive(Debug)]
struct Traffic {
    account: Account,
    refusals: BTreeMap<String, u64>,
    /// Clients that were told that they missed messages and could not fetch them, and messages of nobody.
    broken: u64,
    seconds: Vec<Second>,
}

/// One storm.
#[derive(Debug)]
pub(super) struct Turn {
    by: By,
    /// From the loss to the return of the server.
    away: Duration,
    there_us: u64,
    served: Served,
    passages: Vec<Passage>,
    traffic: Option<Traffic>,
}

impl Turn {
    pub(super) fn new(
        by: By,
        lost_at: Duration,
        there_at: Duration,
        served: Served,
        clung: Vec<Clung>,
    ) -> anyhow::Result<Self> {
        let (mut passages, mut chats) = (vec![], vec![]);
        for Clung { passages: some, chatted } in clung {
            passages.extend(some);
            chats.extend(chatted);
        }
        let traffic = match chats.is_empty() {
            true => None,
            false => {
                let Chatted { account, refusals, behind, strange, times, .. } = Chatted::sum(chats)?;
                let seconds = by_second(&times, lost_at.as_micros() as u64)?;
                Some(Traffic { account, refusals, broken: behind + strange, seconds })
            }
        };
        let away = there_at.saturating_sub(lost_at);
        Ok(Self { by, away, there_us: there_at.as_micros() as u64, served, passages, traffic })
    }

    /// Those who lost the server, and were to come back.
    fn lost(&self) -> usize {
        self.passages.iter().filter(|passage| passage.lost_us.is_some()).count()
    }

    /// Seconds from when the server is there until parts of those who lost it had done this.
    fn until(&self, done: fn(&Passage) -> Option<u64>) -> [Option<f64>; 4] {
        let lost = self.passages.iter().filter(|passage| passage.lost_us.is_some());
        until(lost.filter_map(done).collect(), self.lost(), self.there_us)
    }

    /// Seconds until everybody was back; without end if not all are.
    fn all_back(&self) -> f64 {
        self.until(|passage| passage.back_us)[PERCENTS.len() - 1].unwrap_or(f64::INFINITY)
    }

    fn cpu_each_us(&self) -> f64 {
        self.served.cpu.seconds() * 1e6 / self.lost().max(1) as f64
    }

    /// Seconds from when the server is there until the traffic is as usual.
    fn normal(&self) -> Option<f64> {
        let traffic = self.traffic.as_ref().filter(|traffic| traffic.account.sent > 0)?;
        let from = normal_from(&traffic.seconds).map_or(f64::INFINITY, |second| second as f64);
        Some((from - self.away.as_secs_f64()).max(0.0))
    }

    fn row(&self, what: &str, round: u32) -> serde_json::Value {
        let Self { by, away, served, passages, .. } = self;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let of = |done| PERCENTS.into_iter().zip(self.until(done)).collect::<BTreeMap<_, _>>();
        let troubles: u64 = passages.iter().map(|passage| u64::from(passage.troubles)).sum();
        json!({
            "row": format!("{by:?}, {what}, round {round}"),
            "away_s": away.as_secs_f64(),
            "lost_the_server": self.lost(),
            "gave_up": passages.iter().filter(|passage| passage.gave_up).count(),
            "s_until_percent_logged_in": of(|passage| passage.logged_in_us),
            "s_until_percent_back": of(|passage| passage.back_us),
            "tries_that_failed": troubles.saturating_sub(self.lost() as u64),
            "server_cpu_s": served.cpu.seconds(),
            "server_cpu_us_each": self.cpu_each_us(),
            "server_memory_before_mib": mib(served.memory_before.resident),
            "server_memory_peak_mib": mib(served.peak),
            "server_counted": served.counters,
            "traffic": self.traffic.as_ref().map(|traffic| {
                let (p99, delivered) = usual(&traffic.seconds);
                json!({
                    "account": traffic.account,
                    "refusals": traffic.refusals,
                    "p99_ms_before": p99,
                    "delivered_per_second_before": delivered,
                    "normal_after_s": self.normal(),
                    "seconds": by_column(&traffic.seconds),
                })
            }),
        })
    }
}

/// Seconds from shortly before the loss on, each number in a list.
fn by_column(seconds: &[Second]) -> serde_json::Value {
    fn list<T: Serialize>(seconds: &[Second], of: impl Fn(&Second) -> T) -> Vec<T> {
        seconds.iter().filter(|second| second.second >= -5).map(of).collect()
    }
    json!({
        "second": list(seconds, |second| second.second),
        "delivered": list(seconds, |second| second.delivered),
        "p50_ms": list(seconds, |second| second.p50_ms),
        "p99_ms": list(seconds, |second| second.p99_ms),
        "max_ms": list(seconds, |second| second.max_ms),
    })
}

/// The rounds of one way to lose the server.
#[derive(Debug, Default)]
struct Variant {
    back: Rounds,
    cpu: Rounds,
    /// The slowest round's.
    all_back: f64,
    /// The slowest round's; none if nobody writes.
    normal: Option<f64>,
    /// The same from when all were back.
    normal_after_all: Option<f64>,
}

/// All storms.
#[derive(Debug)]
pub(super) struct All {
    sessions: u32,
    variants: BTreeMap<By, Variant>,
    account: Account,
}

impl All {
    pub(super) fn new(sessions: u32) -> Self {
        Self { sessions, variants: BTreeMap::new(), account: Account::default() }
    }

    /// Adds a round.
    pub(super) fn add(&mut self, report: &mut Report, round: u32, measured: Turn, control: Turn) {
        report.rows.push(measured.row("sessions", round));
        report.rows.push(control.row("bare connections", round));
        for (turn, what) in [(&measured, "sessions"), (&control, "bare connections")] {
            let missing = turn.passages.iter().filter(|passage| !passage.is_there()).count();
            if missing > 0 {
                report.broken.push(format!("{:?}: {missing} {what} did not come back", turn.by));
            }
        }
        if let Some(Traffic { account, broken, .. }) = &measured.traffic {
            self.account.add(account);
            report.broken.extend(account.broken());
            if *broken > 0 {
                report.broken.push(format!(
                    "{broken} times clients were told what nobody wrote, or could not fetch it"
                ));
            }
        }
        let variant = self.variants.entry(measured.by).or_default();
        let ninety_nine = |turn: &Turn| turn.until(|passage| passage.back_us)[2];
        if let (Some(measured), Some(control)) = (ninety_nine(&measured), ninety_nine(&control)) {
            variant.back.push(measured, control);
        }
        variant.cpu.push(measured.cpu_each_us(), control.cpu_each_us());
        let (back, normal) = (measured.all_back(), measured.normal());
        variant.all_back = variant.all_back.max(back);
        let slower = |slowest: Option<f64>, this: Option<f64>| match (slowest, this) {
            (Some(slowest), Some(this)) => Some(slowest.max(this)),
            (slowest, this) => slowest.or(this),
        };
        variant.normal = slower(variant.normal, normal);
        variant.normal_after_all = slower(variant.normal_after_all, normal.map(|normal| wait(back, normal)));
    }

    /// Tells the report.
    pub(super) fn tell(self, report: &mut Report, per_address: u32) {
        let Self { sessions, variants, account } = self;
        report.count("sessions", sessions.into());
        report.count("sessions of each client address at most", per_address.min(sessions).into());
        report.count("client addresses", sessions.div_ceil(per_address).into());
        report.account(&account);
        for (by, variant) in variants {
            let Variant { back, cpu, all_back, normal, normal_after_all } = variant;
            if !back.measured.is_empty() {
                report.rounds(&format!("{by:?}: s until 99 percent are back, sessions to bare"), back);
            }
            report.rounds(&format!("{by:?}: server CPU µs each, traffic included, sessions to bare"), cpu);
            let few = sessions <= FEW;
            let bound = match by {
                _ if !few => BOUNDED_S,
                By::SigTerm | By::Cut => TOLD_S,
                By::SigKill => UNTOLD_S,
            };
            report.at_most(&format!("{by:?}: s until all sessions are back"), all_back, bound);
            match (normal, normal_after_all) {
                (Some(_), Some(after)) if few => {
                    report.at_most(
                        &format!("{by:?}: s from then until traffic is as usual"),
                        after,
                        NORMAL_S,
                    );
                }
                (Some(normal), _) => {
                    report.at_most(&format!("{by:?}: s until traffic is as usual"), normal, BOUNDED_S);
                }
                (None, _) => {}
            }
        }
    }
}

/// From when all were back until traffic was as usual; without end if either never was.
fn wait(back: f64, normal: f64) -> f64 {
    if back.is_finite() && normal.is_finite() { (normal - back).max(0.0) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_not_as_usual_before_all_are_back() {
        let never = f64::INFINITY;
        for (back, normal, expected) in [
            (3.0, 5.0, 2.0),
            (5.0, 3.0, 0.0),
            (never, 3.0, never),
            (3.0, never, never),
            (never, never, never),
        ] {
            assert_eq!(wait(back, normal), expected);
        }
    }
}
