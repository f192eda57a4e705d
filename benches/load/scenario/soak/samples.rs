//! What the server had over time.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use crate::{report::Report, rounds::median};

/// The server at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sample {
    /// Seconds since members began to come and go.
    pub(super) seconds: f64,
    /// Bytes.
    pub(super) resident: u64,
    /// Of them, those of no file.
    pub(super) anonymous: u64,
    pub(super) sessions: u64,
    /// Each has one task.
    pub(super) connections: u64,
    pub(super) rooms: u64,
    pub(super) threads: u64,
    pub(super) files: u64,
}

/// One of its numbers.
type Of = fn(&Sample) -> u64;

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, sessions, connections, .. } = self;
        write!(f, "{} MiB, {sessions} sessions, {connections} connections", resident >> 20)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// The median of a part of the time, given in parts of the whole.
    fn median(&self, from: f64, until: f64, of: Of) -> f64 {
        let at = |part: f64| (part * self.0.len() as f64).round() as usize;
        let part = self.0.get(at(from)..at(until)).unwrap_or_default();
        median(part.iter().map(|sample| of(sample) as f64).collect())
    }

    /// The last tenth to the tenth around the middle.
    fn growth(&self, of: Of) -> f64 {
        self.median(0.9, 1.0, of) / self.median(0.45, 0.55, of).max(1.0)
    }

    /// Tells the report. Nothing may have grown beyond `growth_max`.
    pub(super) fn tell(&self, report: &mut Report, growth_max: f64) {
        let mut flat = |name: &str, of: Of| {
            report.at_most(&format!("{name}, last tenth to the middle"), self.growth(of), growth_max);
        };
        flat("resident memory", |sample| sample.resident);
        flat("sessions", |sample| sample.sessions);
        flat("connections, each a task", |sample| sample.connections);
        flat("threads", |sample| sample.threads);
        flat("open files", |sample| sample.files);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for tenth in 0..10_u32 {
            let (from, until) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
            report.rows.push(json!({
                "row": format!("{}0 to {}0 percent of the time", tenth, tenth + 1),
                "resident_mib": self.median(from, until, |sample| sample.resident) / f64::from(1 << 20),
                "anonymous_mib": self.median(from, until, |sample| sample.anonymous) / f64::from(1 << 20),
                "sessions": self.median(from, until, |sample| sample.sessions),
                "connections": self.median(from, until, |sample| sample.connections),
                "rooms": self.median(from, until, |sample| sample.rooms),
                "threads": self.median(from, until, |sample| sample.threads),
                "files": self.median(from, until, |sample| sample.files),
            }));
        }
        if let Some(most) = self.0.iter().map(|sample| sample.resident).max() {
            report.figure("most resident memory, MiB", mib(most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_held_against_the_middle() {
        let mut samples = Samples::default();
        for number in 0..40 {
            let resident = if number < 36 { 100 } else { 120 };
            let seconds = f64::from(number);
            let (anonymous, sessions, connections, rooms, threads, files) = (0, 7, 7, 1, 3, 9);
            samples.push(Sample {
                seconds,
                resident,
                anonymous,
                sessions,
                connections,
                rooms,
                threads,
                files,
            });
        }
        assert_eq!(samples.growth(|sample| sample.resident), 1.2);
        assert_eq!(samples.growth(|sample| sample.sessions), 1.0);
    }
}
