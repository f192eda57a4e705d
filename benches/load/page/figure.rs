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

/// A number, and that of its control.
type Pair = (Option<f64>, Option<f64>);

/// A number of a row, and that of its control.
fn pair(fields: &Map<String, Value>, field: &str) -> Pair {
    let of = |name: &str| fields.get(name).and_then(Value::as_f64);
    (of(field), CONTROLS.iter().find_map(|control| of(&format!("{control}{field}"))))
}

/// Marks of a number and of its control.
fn marks((measured, control): Pair, colour: usize) -> Vec<Mark> {
    let mark = |look| move |value| Mark { value, colour, look };
    measured.map(mark(Look::Full)).into_iter().chain(control.map(mark(Look::Control))).collect()
}

/// What rows call percentiles of theirs, and what a list of percentiles calls them.
const PERCENTILES: [(&str, &str); 4] =
    [("p50_ms", "p50"), ("p99_ms", "p99"), ("p999_ms", "p999"), ("max_ms", "max")];

/// Percentiles that stand in a row by themselves, each with its control's, and those of every list of them in it.
fn percentiles_of_rows(report: &Report) -> Vec<(String, Vec<Pair>)> {
    let mut all: Vec<(String, Vec<Pair>)> = vec![];
    for (name, fields) in rows(report) {
        all.push((name.clone(), PERCENTILES.iter().map(|(field, _)| pair(fields, field)).collect()));
        for (field, list) in fields.iter().filter_map(|(field, value)| Some((field, value.as_object()?))) {
            let of = |(_, field): &(&str, &str)| (list.get(*field).and_then(Value::as_f64), None);
            all.push((format!("{name}, {field}"), PERCENTILES.iter().map(of).collect()));
        }
    }
    all.retain(|(_, pairs)| pairs.iter().any(|(measured, _)| measured.is_some()));
    all
}

fn times_of_rows(report: &Report) -> anyhow::Result<Option<Figure>> {
    let all = percentiles_of_rows(report);
    let strips = all.iter().map(|(name, pairs)| {
        let marks = pairs.iter().enumerate().flat_map(|(number, pair)| marks(*pair, number)).collect();
        Strip { name: name.clone(), marks, bound: None }
    });
    let Some(svg) = chart::strips(&strips.collect::<Vec<_>>(), None, "ms")? else { return Ok(None) };
    let used = |number: usize| all.iter().any(|(_, pairs)| pairs[number].0.is_some());
    let legend = (0..).zip(PERCENTILES).filter(|(number, _)| used(*number));
    let legend: Vec<_> = legend.map(|(number, (_, name))| (number, name.to_owned())).collect();
    let lines = all.iter().map(|(name, pairs)| {
        let cells = legend.iter().map(|(number, _)| cell(pairs[*number]));
        std::iter::once(name.clone()).chain(cells).collect()
    });
    let head = legend.iter().map(|(_, name)| name.clone());
    let table = Table {
        head: std::iter::once("ms, to the control's".to_owned()).chain(head).collect(),
        lines: lines.collect(),
    };
    Ok(Some(Figure {
        title: "Times of the rows".to_owned(),
        caption: "Percentiles in milliseconds. Full: measured. Hollow: the control's.".to_owned(),
        legend,
        svg,
        table,
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
        let marks = marks(pair(fields, field), 0);
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
            title: format!("{} over time", capitalised(what)),
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
fn cell((measured, control): Pair) -> String {
    let measured = measured.map_or("none".to_owned(), rounded);
    control.map_or(measured.clone(), |control| format!("{measured} to {}", rounded(control)))
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// With a large first letter, if it has one.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::tests::changed;

    /// What each chart is called, and the lines of its table.
    fn charts(pointer: &str, change: Value) -> Vec<(String, Vec<Vec<String>>)> {
        let report = changed(&[(pointer, change), ("/histograms", json!({}))]);
        all(&report).unwrap().into_iter().map(|figure| (figure.title, figure.table.lines)).collect()
    }

    #[test]
    fn a_ratio_has_its_rounds_and_the_aim_at_its_median() {
        let [(title, lines)] = &charts("/flags", json!({}))[..] else { panic!("one chart") };
        assert_eq!(title, "Ratios to the control");
        assert_eq!(lines[..], [["CPU", "1.750", "1.500, 2.000", "3.500", "2.000", "1.25"]]);
        let charts = charts("/aims", json!([]));
        assert_eq!(charts[0].1[0][5], "", "an aim at something else is not drawn");
    }

    #[test]
    fn rows_are_drawn_by_what_their_fields_are() {
        let rows = json!([
            { "row": "a", "p99_ms": 2, "bare_p99_ms": 1, "cpu_us": 5, "bare_cpu_us": 4, "sent": 9 },
            { "row": "b", "high": { "p50": 7, "p99": 8, "count": 3 }, "cpu_us": 6, "bare_cpu_us": 3 },
            { "row": "c", "refused": { "RateLimited": 2 }, "messages_per_second": 4, "cpu_ratio": 1.75 },
            { "row": "d", "messages_per_second": 5, "cpu_ratio": 1.5 },
        ]);
        let charts = charts("/rows", rows);
        let titles: Vec<_> = charts.iter().map(|(title, _)| title.as_str()).collect();
        let expected =
            ["Ratios to the control", "Times of the rows", "Rows: cpu us", "Rows: messages per second"];
        assert_eq!(titles, expected, "the ratio of one row is that of rounds, one is too few");
        assert_eq!(charts[1].1[..], [["a", "none", "2.000 to 1.000"], ["b, high", "7.000", "8.000"]]);
        assert_eq!(charts[2].1[..], [["a", "5.000 to 4.000"], ["b", "6.000 to 3.000"]]);
        assert_eq!(charts[3].1[..], [["c", "4.000"], ["d", "5.000"]]);
    }

    #[test]
    fn series_of_one_kind_share_a_chart_and_the_server_comes_first() {
        let series = |points: Value| json!({ "unit": "cores", "points": points });
        let all = json!({
            "bare loop: CPU": series(json!([[0, 1], [1, 3]])),
            "server: CPU": series(json!([[0, 2.0], [1, 2.5]])),
            "server: nothing": series(json!([])),
        });
        let charts = charts("/series", all);
        let [_, (title, lines)] = &charts[..] else { panic!("{charts:?}") };
        assert_eq!(title, "CPU over time");
        let expected =
            [["server", "2.250", "2.500", "2.500", "2"], ["bare loop", "2.000", "3.000", "3.000", "2"]];
        assert_eq!(lines[..], expected);
    }
}
