//! What is said of an app.

use std::collections::BTreeMap;

use super::{Mingled, Options, Said};
use crate::{
    latency::Latencies,
    part::{attend::Counted, mingle::Talk},
    report::Report,
    rounds::Rounds,
    scenario::stand::Played,
};

/// See the module.
pub(super) struct Tally<'a> {
    options: &'a Options,
    users: usize,
    connections: usize,
    /// Bytes of a session and of a bare connection.
    each: [f64; 2],
    /// Microseconds of the server's CPU for a delivery, of both.
    cpu: Rounds,
    /// Cores that both servers had.
    cores: Rounds,
    times: BTreeMap<Talk, Latencies>,
    bare_times: Latencies,
    /// What counts from the start, as of the last round.
    last: Option<(Mingled, Counted)>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(options: &'a Options, users: usize, connections: usize) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            users,
            connections,
            each: [0.0; 2],
            cpu: Rounds::default(),
            cores: Rounds::default(),
            times: BTreeMap::new(),
            bare_times: Latencies::new()?,
            last: None,
        })
    }

    /// Resident bytes of both servers with nobody and with everybody.
    pub(super) fn memory(&mut self, empty: [u64; 2], full: [u64; 2]) {
        let each =
            |side: usize, count: usize| full[side].saturating_sub(empty[side]) as f64 / count.max(1) as f64;
        self.each = [each(0, self.users), each(1, self.connections)];
    }

    /// Adds a round of both.
    pub(super) fn push(&mut self, mingled: Mingled, fanned: &Played) -> anyhow::Result<()> {
        let fan = fanned.seconds.together(fanned.program.seconds_of(0));
        let each = |cpu: f64, delivered: u64| cpu * 1e6 / delivered.max(1) as f64;
        let (cpu, bare_cpu) = (mingled.cpu.seconds(), fanned.cpu.seconds());
        self.cpu.push(each(cpu, mingled.delivered()), each(bare_cpu, fan.delivered));
        self.cores.push(cpu / self.options.duration, bare_cpu / fanned.program.length().as_secs_f64());
        for (talk, times) in mingled.heard.iter().flat_map(|heard| &heard.times) {
            match self.times.get_mut(talk) {
                Some(sum) => sum.merge(times),
                None => _ = self.times.insert(*talk, times.clone()),
            }
        }
        fan.others.iter().for_each(|times| self.bare_times.merge(times));
        self.last = Some((mingled, fanned.counted));
        Ok(())
    }

    /// Tells the report.
    pub(super) fn tell(self, report: &mut Report) {
        let Self { options, users, connections, each, cpu, cores, times, bare_times, last } = self;
        report.count("users", users as u64);
        report.count("bare connections", connections as u64);
        for (what, each) in ["session", "bare connection"].iter().zip(each) {
            report.figure(&format!("{what}: memory, bytes"), each);
        }
        let measured = options.duration * f64::from(options.rounds);
        for (talk, times) in &times {
            report.histogram(&format!("{}: intended send to app", talk.name()), times);
            let count = times.percentiles().count as f64;
            report.figure(&format!("{}: deliveries/s", talk.name()), count / measured);
        }
        report.histogram("bare loop: intended send to client", &bare_times);
        report.rounds("server CPU µs per delivery, Quail to bare loop", cpu);
        report.rounds("cores that the server had, Quail to bare loop", cores);
        let Some((Mingled { said, heard, resident, .. }, bare)) = last else { return };
        report.figure("server memory at the end, MiB", resident as f64 / f64::from(1 << 20));
        let Said { sent, refused, left, .. } = said;
        for talk in Talk::ALL {
            let of = |counts: &BTreeMap<Talk, u64>| counts.get(&talk).copied().unwrap_or_default();
            report.count(&format!("{}: messages sent", talk.name()), of(&sent));
            let left_out = heard.iter().map(|heard| of(&heard.left_out)).sum();
            report.count(&format!("{}: deliveries told as left out", talk.name()), left_out);
        }
        refused.iter().for_each(|(why, count)| report.count(&format!("refused, {why}"), *count));
        report.count("times that somebody left a large room and came again", left);
        report.count(
            "times that clients were told of messages that are gone",
            heard.iter().map(|heard| heard.behind).sum(),
        );
        report.count("clients without a connection at the end", heard.iter().map(|heard| heard.gone).sum());
        let mut counted = Counted::default();
        heard.iter().for_each(|heard| counted.add(&heard.counted));
        let Counted { delivered, dropped, lost, duplicates, misordered, unexpected } = counted;
        for (what, count) in [
            ("delivered", delivered),
            ("told as left out", dropped),
            ("lost", lost),
            ("duplicated", duplicates),
            ("out of order", misordered),
            ("unexpected", unexpected),
        ] {
            report.count(&format!("messages {what}"), count);
        }
        report.broken.extend(counted.broken());
        report.broken.extend(bare.broken().into_iter().map(|broken| format!("bare loop: {broken}")));
    }
}
