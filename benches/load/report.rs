//! What a run found out, for people and for programs.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use crate::{
    cpu,
    flags::Shared,
    latency::{Latencies, Percentiles},
    machine::{self, Machine},
    rounds::Rounds,
    sampler::Sampler,
    series::AllSeries,
};

/// See the module.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What was played.
    pub(crate) scenario: &'static str,
    /// What was built from.
    pub(crate) commit: String,
    /// True if it was built without optimisation: its figures say nothing.
    pub(crate) debug_build: bool,
    /// Of the process that played it.
    pub(crate) process: u32,
    /// When it began, in seconds since 1970.
    pub(crate) began: u64,
    /// Where.
    pub(crate) machine: Machine,
    /// Runnable threads over the minute before and the minute at the end: the machine may have had other work.
    pub(crate) machine_load: [f64; 2],
    /// The flags of the run.
    pub(crate) flags: Value,
    /// `lifted`, or `default` if the server kept its limits.
    pub(crate) limits: &'static str,
    /// The server's configuration, secrets hidden.
    pub(crate) server: Value,
    /// What an acknowledgement promised.
    pub(crate) durability: String,
    /// Times in milliseconds.
    pub(crate) histograms: BTreeMap<String, Percentiles>,
    /// Numbers of things.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Everything else; the unit is in the name.
    pub(crate) figures: BTreeMap<String, f64>,
    /// Rounds with a control, and the median of their ratios.
    pub(crate) rounds: BTreeMap<String, Ratio>,
    /// What was aimed at.
    pub(crate) aims: Vec<Aim>,
    /// Promises that were broken.
    pub(crate) broken: Vec<String>,
    /// Things of one kind side by side.
    pub(crate) rows: Vec<Value>,
    /// What processes had over time.
    pub(crate) series: AllSeries,
    /// Looks at processes while the scenario is played; what starts one may tell it.
    #[serde(skip)]
    pub(crate) sampler: Sampler,
    /// Why it could not be played here.
    pub(crate) not_run: Option<String>,
}

/// A scenario that cannot be played on this machine.
#[derive(Debug, thiserror::Error)]
#[error("not run: {0}")]
pub(crate) struct NotRun(String);

impl NotRun {
    /// What the process ends with.
    pub(crate) const CODE: u8 = 3;
}

/// Rounds and what they come to.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    /// The median ratio to the control.
    pub(crate) ratio: f64,
    /// The rounds.
    #[serde(flatten)]
    pub(crate) rounds: Rounds,
}

/// A figure and its bound.
#[derive(Debug, Serialize)]
pub(crate) struct Aim {
    /// What is bounded.
    pub(crate) what: String,
    /// What was measured.
    pub(crate) value: f64,
    /// The bound.
    pub(crate) bound: f64,
    /// `at most` or `at least`.
    pub(crate) side: &'static str,
    /// Whether it was reached.
    pub(crate) met: bool,
}

impl Report {
    /// Nothing found out yet.
    pub(crate) fn new(
        scenario: &'static str,
        shared: &Shared,
        flags: &impl Serialize,
    ) -> anyhow::Result<Self> {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_secs();
        Ok(Self {
            scenario,
            commit: machine::commit(),
            debug_build: cfg!(debug_assertions),
            process: std::process::id(),
            began,
            machine: Machine::this(),
            machine_load: [cpu::machine_load(); 2],
            flags: serde_json::to_value(flags)?,
            limits: if shared.default_limits { "default" } else { "lifted" },
            server: Value::Null,
            durability: String::new(),
            histograms: BTreeMap::new(),
            counts: BTreeMap::new(),
            figures: BTreeMap::new(),
            rounds: BTreeMap::new(),
            aims: Vec::new(),
            broken: Vec::new(),
            rows: Vec::new(),
            series: AllSeries::new(),
            sampler: Sampler::new(),
            not_run: None,
        })
    }

    /// Adds times.
    pub(crate) fn histogram(&mut self, name: &str, latencies: &Latencies) {
        self.histograms.insert(name.to_owned(), latencies.percentiles());
    }

    /// Adds a number of things.
    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.counts.insert(name.to_owned(), count);
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Adds rounds; returns the median ratio.
    pub(crate) fn rounds(&mut self, name: &str, rounds: Rounds) -> f64 {
        let ratio = rounds.ratio();
        self.rounds.insert(name.to_owned(), Ratio { ratio, rounds });
        ratio
    }

    /// Says that `value` should be at most `bound`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, bound: f64) {
        let met = value <= bound;
        self.aims.push(Aim { what: what.to_owned(), value, bound, side: "at most", met });
    }

    /// Says that `value` should be at least `bound`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, bound: f64) {
        let met = value >= bound;
        self.aims.push(Aim { what: what.to_owned(), value, bound, side: "at least", met });
    }

    /// Ends the run: prints it, and writes it where the flags say.
    pub(crate) fn end(mut self, shared: &Shared) -> anyhow::Result<()> {
        self.machine_load[1] = cpu::machine_load();
        self.series = self.sampler.series();
        print!("{}", self.summary());
        if let Some(path) = &shared.json {
            let text = serde_json::to_string_pretty(&self)? + "\n";
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        if let Some(why) = self.not_run {
            return Err(NotRun(why).into());
        }
        anyhow::ensure!(self.broken.is_empty(), "promises were broken: {}", self.broken.join(", "));
        Ok(())
    }

    /// For people.
    fn summary(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        _ = self.write_summary(&mut text);
        text
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        let Machine { processor, cores, kernel, .. } = &self.machine;
        writeln!(out, "{} at {}, limits {}", self.scenario, self.commit, self.limits)?;
        let [before, after] = self.machine_load;
        writeln!(
            out,
            "  {processor}, {cores} cores, Linux {kernel}, load {before} before and {after} after"
        )?;
        if self.debug_build {
            writeln!(out, "  built WITHOUT optimisation: the figures say nothing")?;
        }
        writeln!(out, "  {}", self.durability)?;
        for (name, value) in &self.counts {
            writeln!(out, "  {name:<52} {value:>12}")?;
        }
        for (name, value) in &self.figures {
            writeln!(out, "  {name:<52} {:>12}", rounded(*value))?;
        }
        for (name, Percentiles { count, p50, p99, p999, max, .. }) in &self.histograms {
            writeln!(
                out,
                "  {name:<40} p50 {p50:.3} ms, p99 {p99:.3}, p999 {p999:.3}, max {max:.3} ({count})"
            )?;
        }
        for (name, Ratio { ratio, rounds }) in &self.rounds {
            let (measured, control) = rounds.medians();
            let (measured, control) = (rounded(measured), rounded(control));
            let count = rounds.measured.len();
            writeln!(out, "  {name:<40} {ratio:.3} ({measured} to {control}, medians of {count} rounds)")?;
        }
        for Aim { what, value, bound, side, met } in &self.aims {
            let met = if *met { "met" } else { "MISSED" };
            writeln!(out, "  aim: {what} {side} {bound}: {}: {met}", rounded(*value))?;
        }
        for row in &self.rows {
            writeln!(out, "  {row}")?;
        }
        if let Some(why) = &self.not_run {
            writeln!(out, "  NOT RUN: {why}")?;
        }
        for broken in &self.broken {
            writeln!(out, "  BROKEN: {broken}")?;
        }
        Ok(())
    }
}

/// About four digits.
fn rounded(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_about_four_digits() {
        assert_eq!([rounded(12345.6), rounded(12.34), rounded(0.1234)], ["12346", "12.3", "0.123"]);
    }
}
