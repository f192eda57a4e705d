//! What a run found out, for people and for programs.

mod summary;

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    cpu,
    flags::Shared,
    latency::{Latencies, Percentiles},
    ledger::Account,
    machine::{self, Machine},
    number,
    rounds::Rounds,
    sampler::Sampler,
    series::AllSeries,
};

/// What a file of today is read by. Those of the first kind do not say so, and have no series.
const SCHEMA: u32 = 2;

fn first_schema() -> u32 {
    1
}

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// How it is to be read.
    #[serde(default = "first_schema")]
    pub(crate) schema: u32,
    /// What was played.
    pub(crate) scenario: String,
    /// What was built from.
    pub(crate) commit: String,
    /// True if it was built without optimisation: its figures say nothing.
    pub(crate) debug_build: bool,
    /// Of the process that played it.
    #[serde(default)]
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
    pub(crate) limits: String,
    /// The server's configuration, secrets hidden.
    pub(crate) server: Value,
    /// What an acknowledgement promised.
    pub(crate) durability: String,
    /// Times in milliseconds.
    pub(crate) histograms: BTreeMap<String, Percentiles>,
    /// Numbers of things.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Everything else; the unit is in the name.
    #[serde(deserialize_with = "number::map")]
    pub(crate) figures: BTreeMap<String, f64>,
    /// Rounds with a control, and the median of their ratios.
    pub(crate) rounds: BTreeMap<String, Ratio>,
    /// What was aimed at.
    pub(crate) aims: Vec<Aim>,
    /// Promises that were broken.
    pub(crate) broken: Vec<String>,
    /// Things of one kind side by side.
    #[serde(default)]
    pub(crate) rows: Vec<Value>,
    /// What processes had over time.
    #[serde(default)]
    pub(crate) series: AllSeries,
    /// Looks at processes while the scenario is played; what starts one may tell it.
    #[serde(skip)]
    pub(crate) sampler: Sampler,
    /// Why it could not be played here.
    #[serde(default)]
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
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// The median ratio to the control.
    #[serde(deserialize_with = "number::one")]
    pub(crate) ratio: f64,
    /// The rounds.
    #[serde(flatten)]
    pub(crate) rounds: Rounds,
}

/// A figure and its bound.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Aim {
    /// What is bounded.
    pub(crate) what: String,
    /// What was measured.
    #[serde(deserialize_with = "number::one")]
    pub(crate) value: f64,
    /// The bound.
    pub(crate) bound: f64,
    /// `at most` or `at least`.
    pub(crate) side: String,
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
            schema: SCHEMA,
            scenario: scenario.to_owned(),
            commit: machine::commit(),
            debug_build: cfg!(debug_assertions),
            process: std::process::id(),
            began,
            machine: Machine::this(),
            machine_load: [cpu::machine_load(); 2],
            flags: serde_json::to_value(flags)?,
            limits: if shared.default_limits { "default" } else { "lifted" }.to_owned(),
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

    /// Reads one from a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let read = || {
            let text = std::fs::read_to_string(path)?;
            Self::from_json(&text)
        };
        read().with_context(|| path.display().to_string())
    }

    fn from_json(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text).context("this is no JSON")?;
        let schema = value.get("schema").and_then(Value::as_u64).unwrap_or(first_schema().into());
        ensure!(schema <= SCHEMA.into(), "a report of schema {schema}, newer than this program's {SCHEMA}");
        serde_json::from_value(value).context("this is no report of a scenario")
    }

    /// Adds times.
    pub(crate) fn histogram(&mut self, name: &str, latencies: &Latencies) {
        self.histograms.insert(name.to_owned(), latencies.percentiles());
    }

    /// Adds a number of things.
    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.counts.insert(name.to_owned(), count);
    }

    /// Adds what became of messages.
    pub(crate) fn account(&mut self, account: &Account) {
        let Account { sent, accepted, refused, unknown, delivered, lost, duplicates, misordered, .. } =
            *account;
        for (what, count) in [
            ("sent", sent),
            ("acknowledged", accepted),
            ("refused", refused),
            ("without an answer", unknown),
            ("delivered", delivered),
            ("lost", lost),
            ("duplicated", duplicates),
            ("out of order", misordered),
        ] {
            self.count(&format!("messages {what}"), count);
        }
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
        self.aims.push(Aim { what: what.to_owned(), value, bound, side: "at most".to_owned(), met });
    }

    /// Says that `value` should be at least `bound`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, bound: f64) {
        let met = value >= bound;
        self.aims.push(Aim { what: what.to_owned(), value, bound, side: "at least".to_owned(), met });
    }

    /// Ends the run: prints it, and writes it where the flags say.
    pub(crate) fn end(mut self, shared: &Shared) -> anyhow::Result<()> {
        self.machine_load[1] = cpu::machine_load();
        self.series = self.sampler.series();
        if let Some(path) = &shared.json {
            let text = serde_json::to_string_pretty(&self)? + "\n";
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        // Whoever reads only the first lines closes the pipe.
        _ = write!(std::io::stdout(), "{}", summary::of(&self));
        if let Some(why) = self.not_run {
            return Err(NotRun(why).into());
        }
        anyhow::ensure!(self.broken.is_empty(), "promises were broken: {}", self.broken.join(", "));
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As the first kind of files: a report of a scenario on a machine, with one of everything.
    pub(crate) const FIRST: &str = r#"{
        "scenario": "peer", "commit": "0123456789ab", "debug_build": false, "began": 1790000000,
        "machine": { "processor": "a <fast> one", "cores": 2, "memory": 8589934592, "kernel": "6.18" },
        "machine_load": [0.1, 1.5], "flags": { "senders": 8, "json": "a.json" }, "limits": "lifted",
        "server": { "data_dir": "/tmp/1", "session": { "idle_timeout": "30s" } },
        "durability": "acks after the sync",
        "histograms": { "to ack": { "count": 9, "min": 0.5, "p50": 1, "p90": 2, "p99": 3, "p999": 4, "max": 5 } },
        "counts": { "messages sent": 100 }, "figures": { "messages/s": 50.0, "nothing": null },
        "rounds": { "CPU": { "ratio": 1.75, "measured": [3, 4], "control": [2, 2] } },
        "aims": [{ "what": "CPU", "value": 1.75, "bound": 1.25, "side": "at most", "met": false }],
        "broken": []
    }"#;

    /// The same with some members changed.
    pub(crate) fn changed(changes: &[(&str, Value)]) -> Report {
        let mut value: Value = serde_json::from_str(FIRST).unwrap();
        for (pointer, change) in changes {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[name] = change.clone();
        }
        Report::from_json(&value.to_string()).unwrap()
    }

    #[test]
    fn a_report_is_read_back_and_so_are_those_of_the_first_kind() {
        let first = changed(&[]);
        assert_eq!((first.schema, first.rounds["CPU"].rounds.ratio()), (1, 1.75));
        assert!(first.figures["nothing"].is_nan() && first.series.is_empty() && first.rows.is_empty());
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::to_string(&Report::from_json(&text).unwrap()).unwrap(), text);
    }

    #[test]
    fn what_is_no_report_is_said_to_be_none() {
        for (text, why) in [
            ("no", "this is no JSON"),
            ("{}", "this is no report of a scenario: missing field `scenario`"),
            ("[]", "this is no report of a scenario"),
            (r#"{ "schema": 3 }"#, "a report of schema 3, newer than this program's 2"),
        ] {
            let error = format!("{:#}", Report::from_json(text).unwrap_err());
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
