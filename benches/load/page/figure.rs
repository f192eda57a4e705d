//! Which charts a report has, each with a table of the same numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::chart::{self, COLOURS, Look, Mark, Strip};
use crate::{
    compare::row_name,
    number::rounded,
    report::{Ratio, Report},
    series::{self, Series},
};

/// A chart, what it says, and the same as a table.
#[derive(Debug)]
pub(super) struct Figure {
    /// Its heading.
    pub(super) title: String,
    /// What is to be seen.
    pub(super) caption: String,
    /// What the colours mean: the number of each and a name.
    pub(super) legend: Vec<(usize, String)>,
    /// The chart.
    pub(super) svg: String,
    /// The numbers.
    pub(super) table: Table,
}

/// A table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// What the columns are called.
    pub(super) head: Vec<String>,
    /// The lines.
    pub(super) lines: Vec<Vec<String>>,
}

/// What fields of rows stand for the control are called.
const CONTROLS: [&str; 2] = ["bare_", "control_"];

/// All charts.
pub(super) fn all(report: &Report) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![];
    figures.extend(ratios(report)?);
    figures.extend(times(report)?);
    figures.extend(times_of_rows(report)?);
    figures.extend(over_time(report)?);
    for field in fields_to_draw(report) {
        figures.extend(field_of_rows(report, &field)?);
    }
    Ok(figures)
}

fn ratios(report: &Report) -> anyhow::Result<Option<Figure>> {
    // An aim at a median of ratios is that of the rounds they come from.
    let bound = |ratio: f64| report.aims.iter().find(|aim| aim.value == ratio).map(|aim| aim.bound);
    let strips = report.rounds.iter().map(|(name, Ratio { ratio, rounds })| {
        let mark = |look| move |value| Mark { value, colour: 0, look };
        let small = rounds.ratios().into_iter().map(mark(Look::Small));
        let marks = small.chain([mark(Look::Full)(*ratio)]).collect();
        Strip { name: name.clone(), marks, bound: bound(*ratio) }
    });
    let strips: Vec<_> = strips.collect();
    let Some(svg) = chart::strips(&strips, Some(1.0), "to the control")? else { return Ok(None) };
    let lines = report.rounds.iter().map(|(name, Ratio { ratio, rounds })| {
        let (measured, control) = rounds.medians();
        let each = rounds.ratios().into_iter().map(rounded).collect::<Vec<_>>().join(", ");
        let aim = bound(*ratio).map_or(String::new(), |bound| bound.to_string());
        vec![name.clone(), rounded(*ratio), each, rounded(measured), rounded(control), aim]
    });
    Ok(Some(Figure {
        title: "Ratios to the control".to_owned(),
        caption: "Small: a round. Large: their median. The line at 1 is the control, a dashed one the aim."
            .to_owned(),
        legend: vec![(0, "measured to control".to_owned()), (1, "aim".to_owned())],
        svg,
        table: Table {
            head: columns(&["", "median", "rounds", "measured, median", "control, median", "aim"]),
            lines: lines.collect(),
        },
    }))
}

fn times(report: &Report) -> anyhow::Result<Option<Figure>> {
    let names = ["p50", "p90", "p99", "p999", "max"];
    let all = report.histograms.iter().map(|(name, it)| (name, [it.p50, it.p90, it.p99, it.p999, it.max]));
    let all: Vec<_> = all.collect();
    let strips: Vec<_> = all
        .iter()
        .map(|(name, values)| Strip {
            name: (*name).clone(),
            marks: values
                .iter()
                .enumerate()
                .map(|(colour, value)| Mark { value: *value, colour, look: Look::Full })
                .collect(),
            bound: None,
        })
        .collect();
    let Some(svg) = chart::strips(&strips, None, "ms")? else { return Ok(None) };
    let lines = all.iter().map(|(name, values)| {
        let count = report.histograms[*name].count.to_string();
        let values = values.iter().copied().map(rounded);
        std::iter::once((*name).clone()).chain(values).chain([count]).collect()
    });
    Ok(Some(Figure {
        title: "Times".to_owned(),
        caption: "Percentiles in milliseconds.".to_owned(),
        legend: names.iter().map(|name| (*name).to_owned()).enumerate().collect(),
        svg,
        table: Table {
            head: columns(&["ms", "p50", "p90", "p99", "p999", "max", "samples"]),
            lines: lines.collect(),
        },
    }))
}

/// The fields of all rows, each with its name.
fn rows(report: &Report) -> impl Iterator<Item = (String, &Map<String, Value>)> {
    report.rows.iter().filter_map(Value::as_object).map(|fields| (row_name(fields), fields))
}

/// A number of a row, and that of its control.
fn pair(fields: &Map<String, Value>, field: &str) -> (Option<f64>, Option<f64>) {
    let of = |name: &str| fields.get(name).and_then(Value::as_f64);
    (of(field), CONTROLS.iter().find_map(|control| of(&format!("{control}{field}"))))
}

/// Marks of a number and of its control.
fn marks(fields: &Map<String, Value>, field: &str, colour: usize) -> Vec<Mark> {
    let (measured, control) = pair(fields, field);
    let mark = |look| move |value| Mark { value, colour, look };
    measured.map(mark(Look::Full)).into_iter().chain(control.map(mark(Look::Control))).collect()
}

fn times_of_rows(report: &Report) -> anyhow::Result<Option<Figure>> {
    let percentiles = ["p50_ms", "p99_ms", "p999_ms", "max_ms"];
    let strips = rows(report).map(|(name, fields)| {
        let marks = percentiles.iter().enumerate().flat_map(|(number, field)| marks(fields, field, number));
        Strip { name, marks: marks.collect(), bound: None }
    });
    let strips: Vec<_> = strips.filter(|strip| !strip.marks.is_empty()).collect();
    let Some(svg) = chart::strips(&strips, None, "ms")? else { return Ok(None) };
    let lines = rows(report).filter(|(_, fields)| pair(fields, percentiles[0]).0.is_some());
    let lines = lines.map(|(name, fields)| {
        let cells = percentiles.iter().map(|field| cell(pair(fields, field)));
        std::iter::once(name).chain(cells).collect()
    });
    let used: BTreeSet<_> = strips.iter().flat_map(|strip| &strip.marks).map(|mark| mark.colour).collect();
    let legend = percentiles.iter().map(|name| name.trim_end_matches("_ms").to_owned()).enumerate();
    Ok(Some(Figure {
        title: "Times of the rows".to_owned(),
        caption: "Percentiles in milliseconds. Full: measured. Hollow: the control's.".to_owned(),
        legend: legend.filter(|(colour, _)| used.contains(colour)).collect(),
        svg,
        table: Table {
            head: columns(&["ms, to the control's", "p50", "p99", "p999", "max"]),
            lines: lines.collect(),
        },
    }))
}

/// Fields that at least two rows have and that are a rate, a ratio, or have one of the control beside them.
fn fields_to_draw(report: &Report) -> BTreeSet<String> {
    let mut seen = BTreeMap::<&String, usize>::new();
    for (_, fields) in rows(report) {
        for field in fields.keys() {
            let (measured, control) = pair(fields, field);
            let rate = field.ends_with("_per_second") || field.ends_with("_per_core_second");
            // One of rounds has a chart already.
            let ratio =
                field.ends_with("_ratio") && report.rounds.values().all(|it| Some(it.ratio) != measured);
            let to_draw = measured.is_some() && (rate || ratio || control.is_some());
            *seen.entry(field).or_default() += usize::from(to_draw && !is_percentile(field));
        }
    }
    seen.into_iter().filter(|(_, count)| *count > 1).map(|(field, _)| field.clone()).collect()
}

fn is_percentile(field: &str) -> bool {
    ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].iter().any(|end| field.ends_with(end))
}

fn field_of_rows(report: &Report, field: &str) -> anyhow::Result<Option<Figure>> {
    let strips = rows(report).map(|(name, fields)| {
        let marks = marks(fields, field, 0);
        Strip { name, marks, bound: None }
    });
    let strips: Vec<_> = strips.filter(|strip| !strip.marks.is_empty()).collect();
    let name = field.replace('_', " ");
    let all = field.ends_with("_ratio").then_some(1.0);
    let Some(svg) = chart::strips(&strips, all, &name)? else { return Ok(None) };
    let lines = rows(report).filter(|(_, fields)| pair(fields, field).0.is_some());
    let lines = lines.map(|(name, fields)| vec![name, cell(pair(fields, field))]);
    let controlled = strips.iter().any(|strip| strip.marks.len() > 1);
    Ok(Some(Figure {
        title: format!("Rows: {name}"),
        caption: if controlled { "Full: measured. Hollow: the control's." } else { "One mark for each row." }
            .to_owned(),
        legend: vec![],
        svg,
        table: Table { head: columns(&["", &name]), lines: lines.collect() },
    }))
}

/// One chart for each kind of series, with a line for everybody who has one.
fn over_time(report: &Report) -> anyhow::Result<Vec<Figure>> {
    let mut kinds = BTreeMap::<(&str, &str), Vec<(&str, &Series)>>::new();
    for (name, series) in &report.series {
        let (who, what) = series::who_and_what(name);
        kinds.entry((what, &series.unit)).or_default().push((who, series));
    }
    // Who is measured has the same colour everywhere.
    kinds.values_mut().for_each(|all| all.sort_by_key(|(who, _)| *who != "server"));
    let mut figures = vec![];
    // Colours would be said twice.
    let charts = kinds.iter().flat_map(|(kind, all)| all.chunks(COLOURS).map(move |some| (kind, some)));
    for ((what, unit), all) in charts {
        let points: Vec<_> = all.iter().map(|(_, series)| &series.points[..]).collect();
        let Some(svg) = chart::lines(&points)? else { continue };
        let lines = all.iter().map(|(who, series)| {
            let values: Vec<_> = series.points.iter().map(|point| point.1).collect();
            let most = values.iter().copied().max_by(f64::total_cmp).unwrap_or(f64::NAN);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let last = values.last().copied().unwrap_or(f64::NAN);
            vec![(*who).to_owned(), rounded(mean), rounded(most), rounded(last), values.len().to_string()]
        });
        figures.push(Figure {
            title: format!("{}{} over time", what[..1].to_uppercase(), &what[1..]),
            caption: format!("In {unit}, by seconds since the scenario began."),
            legend: all.iter().map(|(who, _)| (*who).to_owned()).enumerate().collect(),
            svg,
            table: Table {
                head: columns(&[unit, "mean", "most", "last", "samples"]),
                lines: lines.collect(),
            },
        });
    }
    Ok(figures)
}

/// A number, and that of its control behind it.
fn cell((measured, control): (Option<f64>, Option<f64>)) -> String {
    let measured = measured.map_or("none".to_owned(), rounded);
    control.map_or(measured.clone(), |control| format!("{measured} to {}", rounded(control)))
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
