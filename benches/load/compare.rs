//! Two reports of one scenario side by side.
//!
//! A machine is never the same twice: the ratios to the control, which saw the same machine, come first.

mod doubts;

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use anyhow::ensure;
use serde_json::{Map, Value};

pub(crate) use self::doubts::of_one;
use crate::{
    number::rounded,
    report::{Aim, Ratio, Report},
    rounds::median,
};

/// Prints what two files say.
pub(crate) fn run(a: &Path, b: &Path) -> anyhow::Result<()> {
    let [a, b] = [Report::read(a)?, Report::read(b)?];
    print!("{}", Comparison::of(&a, &b)?.text());
    Ok(())
}

/// See the module.
#[derive(Debug)]
struct Comparison {
    heading: String,
    /// Why the two may not be held against each other.
    doubts: Vec<String>,
    parts: Vec<(&'static str, Vec<Line>)>,
}

/// A number of both.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    a: Option<f64>,
    b: Option<f64>,
}

impl Line {
    /// The second to the first.
    fn relation(&self) -> Option<f64> {
        let relation = self.b? / self.a?;
        relation.is_finite().then_some(relation)
    }
}

/// Numbers by name, in the order in which they are shown.
type Named = Vec<(String, f64)>;

impl Comparison {
    fn of(a: &Report, b: &Report) -> anyhow::Result<Self> {
        ensure!(a.scenario == b.scenario, "{} and {} are different scenarios", a.scenario, b.scenario);
        let parts = parts(a).into_iter().zip(parts(b));
        Ok(Self {
            heading: format!("{}: A is {}, B is {}", a.scenario, a.commit, b.commit),
            doubts: doubts::between(a, b),
            parts: parts.map(|((title, a), (_, b))| (title, beside(a, b))).collect(),
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", self.heading)?;
        for doubt in &self.doubts {
            writeln!(out, "  WARNING: {doubt}")?;
        }
        let shown = |value: f64| if value.fract() == 0.0 { format!("{value:.0}") } else { rounded(value) };
        let value = |value: Option<f64>| value.map_or("-".to_owned(), shown);
        let relation = |relation: Option<f64>| relation.map_or("-".to_owned(), |it| format!("{it:.3}"));
        let names = self.parts.iter().flat_map(|(_, lines)| lines).map(|line| line.name.chars().count());
        let width = names.max().unwrap_or_default();
        for (title, lines) in self.parts.iter().filter(|(_, lines)| !lines.is_empty()) {
            writeln!(out, "{title:<width$}   {:>12} {:>12} {:>8}", "A", "B", "B/A", width = width)?;
            for line in lines {
                let (a, b, relation) = (value(line.a), value(line.b), relation(line.relation()));
                writeln!(out, "  {:<width$} {a:>12} {b:>12} {relation:>8}", line.name)?;
            }
        }
        Ok(())
    }
}

/// All numbers of a report.
fn parts(report: &Report) -> Vec<(&'static str, Named)> {
    let mut ratios: Named =
        report.rounds.iter().map(|(name, Ratio { ratio, .. })| (name.clone(), *ratio)).collect();
    let rows = report.rows.iter().flat_map(row);
    let (of_rows, rows): (Named, Named) = rows.partition(|(name, _)| name.contains("ratio"));
    ratios.extend(of_rows);
    let aims = report.aims.iter();
    let aims = aims
        .map(|Aim { what, value, bound, side, .. }| (format!("{what} ({side} {bound})"), *value))
        .collect();
    let times = report.histograms.iter().flat_map(|(name, times)| {
        let all = [("p50", times.p50), ("p90", times.p90), ("p99", times.p99), ("p999", times.p999)];
        all.into_iter().chain([("max", times.max)]).map(move |(at, value)| (format!("{name}, {at}"), value))
    });
    let figures = report.figures.iter().map(|(name, value)| (name.clone(), *value));
    let counts = report.counts.iter().map(|(name, count)| (name.clone(), *count as f64));
    [
        ("ratios to the control", ratios),
        ("aims", aims),
        ("rows", rows),
        ("times, ms", times.collect()),
        ("figures", figures.collect()),
        ("counts", counts.collect()),
    ]
    .map(|(title, named)| (title, told_apart(named)))
    .into()
}

/// The numbers of a row, each behind what the row is called.
fn row(row: &Value) -> Named {
    let Value::Object(fields) = row else { return vec![] };
    let mut named = vec![];
    fields.iter().for_each(|(field, value)| numbers(field, value, &mut named));
    let name = row_name(fields);
    named.into_iter().map(|(field, value)| (format!("{name}: {field}"), value)).collect()
}

/// The numbers in a value of this name; of a list its median.
fn numbers(name: &str, value: &Value, named: &mut Named) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| numbers(&format!("{name} {field}"), value, named));
        }
        Value::Array(values) if !values.is_empty() => {
            let values: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
            named.extend(values.map(|values| (format!("{name}, median"), median(values))));
        }
        value => named.extend(value.as_f64().map(|number| (name.to_owned(), number))),
    }
}

/// What makes a row another one than those beside it: its name, or all words in it if it has none.
pub(crate) fn row_name(fields: &Map<String, Value>) -> String {
    match fields.get("row").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => fields.values().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Adds a number to names that were there before.
fn told_apart(named: Named) -> Named {
    let mut seen = BTreeSet::new();
    let mut tell = |(name, value): (String, f64)| {
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !seen.contains(name))?;
        seen.insert(free.clone());
        Some((free, value))
    };
    named.into_iter().filter_map(&mut tell).collect()
}

/// Matches numbers by name; what only one has comes in as well.
fn beside(a: Named, b: Named) -> Vec<Line> {
    let of = |named: &Named, name: &str| named.iter().find(|(it, _)| it == name).map(|(_, value)| *value);
    let names = a.iter().chain(b.iter().filter(|(name, _)| of(&a, name).is_none()));
    names.map(|(name, _)| Line { name: name.clone(), a: of(&a, name), b: of(&b, name) }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::tests::changed;

    fn lines(comparison: &Comparison, title: &str) -> Vec<(String, Option<f64>, Option<f64>)> {
        let (_, lines) = comparison.parts.iter().find(|(it, _)| *it == title).unwrap();
        lines.iter().map(|line| (line.name.clone(), line.a, line.b)).collect()
    }

    #[test]
    fn numbers_are_matched_by_name_and_the_ratios_come_first() {
        let rows = |ratio: f64| {
            json!([
                { "row": "100 members", "p99_ms": 3, "cpu_ratio": ratio, "refused": { "TooMuch": 2 }, "a": { "b": { "c": 4 } } },
                { "row": "5 members", "rounds": [1, 9, 2], "not_run": "no" },
            ])
        };
        let a = changed(&[("/rows", rows(1.5))]);
        let b = changed(&[
            ("/rows", rows(3.0)),
            ("/rounds", json!({ "more": { "ratio": 2, "measured": [4], "control": [2] } })),
            ("/figures", json!({ "messages/s": 75 })),
        ]);
        let comparison = Comparison::of(&a, &b).unwrap();
        assert_eq!(
            comparison.parts.iter().map(|part| part.0).next().unwrap(),
            "ratios to the control",
            "machines differ"
        );
        let (one, some) = (|text: &str| text.to_owned(), Some);
        assert_eq!(
            lines(&comparison, "ratios to the control"),
            [
                (one("CPU"), some(1.75), None),
                (one("100 members: cpu_ratio"), some(1.5), some(3.0)),
                (one("more"), None, some(2.0)),
            ]
        );
        assert_eq!(
            lines(&comparison, "rows"),
            [
                (one("100 members: a b c"), some(4.0), some(4.0)),
                (one("100 members: p99_ms"), some(3.0), some(3.0)),
                (one("100 members: refused TooMuch"), some(2.0), some(2.0)),
                (one("5 members: rounds, median"), some(2.0), some(2.0)),
            ]
        );
        assert_eq!(lines(&comparison, "aims"), [(one("CPU (at most 1.25)"), some(1.75), some(1.75))]);
        assert_eq!(lines(&comparison, "times, ms").len(), 5);
        assert_eq!(lines(&comparison, "counts"), [(one("messages sent"), some(100.0), some(100.0))]);
        let text = comparison.text();
        for line in [["messages/s", "50", "75", "1.500"], ["more", "-", "2", "-"]] {
            assert!(text.lines().any(|it| it.split_whitespace().eq(line)), "{line:?}: {text}");
        }
    }

    #[test]
    fn a_relation_to_nothing_is_none() {
        for (a, b, relation) in [
            (Some(2.0), Some(3.0), Some(1.5)),
            (Some(0.0), Some(3.0), None),
            (None, Some(3.0), None),
            (Some(f64::NAN), Some(3.0), None),
        ] {
            assert_eq!(Line { name: String::new(), a, b }.relation(), relation);
        }
    }

    #[test]
    fn things_of_one_name_stay_apart() {
        let named = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0.0)).collect::<Named>();
        assert_eq!(told_apart(named(&["a", "b", "a", "a"])), named(&["a", "b", "a (2)", "a (3)"]));
    }

    #[test]
    fn different_scenarios_are_not_compared() {
        let error = Comparison::of(&changed(&[]), &changed(&[("/scenario", json!("idle"))])).unwrap_err();
        assert_eq!(error.to_string(), "peer and idle are different scenarios");
    }
}
