//! Reports as one page of HTML that needs nothing else.

mod chart;
mod figure;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;
use askama::Template;
use serde_json::Value;

use self::figure::{Figure, Table};
use crate::{
    compare::{of_one, row_name},
    number::rounded,
    report::{Aim, Report},
    rounds::median,
};

/// Writes the page of these reports.
pub(crate) fn run(files: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let reports = files.iter().map(|file| Report::read(file)).collect::<Result<Vec<_>, _>>()?;
    fs::write(out, render(&reports)?).with_context(|| out.display().to_string())
}

fn render(reports: &[Report]) -> anyhow::Result<String> {
    let sections = reports.iter().enumerate().map(|(number, report)| section(number, report));
    let sections: Vec<_> = sections.collect::<Result<_, _>>()?;
    Ok(Page { sections }.render()?)
}

/// See the module.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    sections: Vec<Section>,
}

/// A report on the page.
struct Section {
    id: String,
    scenario: String,
    /// What the figures come from, by name.
    origin: Vec<(&'static str, String)>,
    /// Why they say little.
    doubts: Vec<String>,
    aims: Vec<Aimed>,
    not_run: Vec<String>,
    figures: Vec<Figure>,
    /// Numbers that have no chart, by heading.
    tables: Vec<(&'static str, Table)>,
    /// Flags and configuration, by heading.
    settings: Vec<(&'static str, String)>,
}

/// An aim on the page.
struct Aimed {
    what: String,
    value: String,
    bound: String,
    met: bool,
}

fn section(number: usize, report: &Report) -> anyhow::Result<Section> {
    let Report { scenario, machine, machine_load: [before, after], .. } = report;
    let began =
        UNIX_EPOCH.checked_add(Duration::from_secs(report.began)).context("a time beyond all clocks")?;
    let gib = machine.memory as f64 / f64::from(1 << 30);
    let aimed = |Aim { what, value, bound, side, met }: &Aim| Aimed {
        what: what.clone(),
        value: rounded(*value),
        bound: format!("{side} {}", rounded(*bound)),
        met: *met,
    };
    let counts = report.counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]);
    let figures = report.figures.iter().map(|(name, value)| vec![name.clone(), rounded(*value)]);
    Ok(Section {
        id: format!("report-{}", number + 1),
        scenario: scenario.clone(),
        origin: vec![
            ("began", humantime::format_rfc3339_seconds(began).to_string()),
            ("commit", report.commit.clone()),
            ("built", if report.debug_build { "without optimisation" } else { "with optimisation" }.into()),
            ("processor", format!("{}, {} cores", machine.processor, machine.cores)),
            ("memory", format!("{gib:.1} GiB")),
            ("kernel", format!("Linux {}", machine.kernel)),
            ("load", format!("{before} before, {after} after")),
            ("limits", report.limits.clone()),
            ("durability", report.durability.clone()),
        ],
        doubts: of_one(report),
        aims: report.aims.iter().map(aimed).collect(),
        not_run: not_run(report),
        figures: figure::all(report)?,
        tables: [
            ("Figures", two_columns(figures.collect())),
            ("Counts", two_columns(counts.collect())),
            ("Rows", rows(report)),
        ]
        .into_iter()
        .filter(|(_, table)| !table.lines.is_empty())
        .collect(),
        settings: vec![
            ("Flags", serde_json::to_string_pretty(&report.flags)?),
            ("Configuration of the server", serde_json::to_string_pretty(&report.server)?),
        ],
    })
}

/// What could not be played, and why.
fn not_run(report: &Report) -> Vec<String> {
    let rows = report.rows.iter().filter_map(|row| {
        let fields = row.as_object()?;
        Some(format!("{}: {}", row_name(fields), fields.get("not_run")?.as_str()?))
    });
    report.not_run.iter().cloned().chain(rows).collect()
}

fn two_columns(lines: Vec<Vec<String>>) -> Table {
    Table { head: vec!["".into(), "value".into()], lines }
}

/// All rows with all their fields.
fn rows(report: &Report) -> Table {
    let rows = || report.rows.iter().filter_map(Value::as_object);
    let mut head: Vec<String> = vec![];
    for field in rows().flat_map(|fields| fields.keys()) {
        if field != "row" && !head.contains(field) {
            head.push(field.clone());
        }
    }
    let lines = rows().map(|fields| {
        let cells = head.iter().map(|field| fields.get(field).map_or(String::new(), shown));
        std::iter::once(row_name(fields)).chain(cells).collect()
    });
    let lines = lines.collect();
    let head = head.iter().map(|field| field.replace('_', " "));
    Table { head: std::iter::once(String::new()).chain(head).collect(), lines }
}

/// Values of a list that are shown; of a longer one it is said how many there are.
const LISTED_MAX: usize = 12;

/// A value of a row.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => rounded(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.len() > LISTED_MAX => {
            let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
            let median =
                numbers.map_or(String::new(), |numbers| format!(", median {}", rounded(median(numbers))));
            format!("{} values{median}", values.len())
        }
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", shown(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::tests::changed;

    #[test]
    fn a_page_has_what_a_report_has() {
        let points = json!([[0.0, 1.0], [1.0, 2.0], [2.0, 1.5]]);
        let aim = |met| json!([{ "what": "p99", "value": 3, "bound": 2, "side": "at most", "met": met }]);
        let row =
            |name: &str| json!({ "row": name, "p50_ms": 1, "p99_ms": 2, "cpu_us": 3.0, "bare_cpu_us": 2.0 });
        let cpu = json!({ "server: CPU": { "unit": "cores", "points": points } });
        for (pointer, change, expected) in [
            ("/scenario", json!("storm"), vec![">storm</h2>"]),
            ("/scenario", json!("<b>"), vec!["&#60;b&#62;</h2>"]),
            ("/commit", json!("abc"), vec!["<dd>abc</dd>", "2026-09-21T14:13:20Z", "8.0 GiB", "Linux 6.18"]),
            ("/durability", json!("none"), vec!["<dd>none</dd>", "<dd>lifted</dd>"]),
            ("/aims", aim(false), vec!["missed</span>", "at most 2"]),
            ("/aims", aim(true), vec!["met</span>", "at most 2"]),
            ("/debug_build", json!(true), vec!["This run was built without optimisation"]),
            ("/broken", json!(["1 lost"]), vec!["This run broke a promise: 1 lost"]),
            ("/not_run", json!("no root"), vec!["not run</span>", "no root"]),
            ("/rows", json!([{ "row": "big", "not_run": "no memory" }]), vec!["big: no memory"]),
            (
                "/rows",
                json!([row("small"), row("large")]),
                vec!["Times of the rows", "Rows: cpu us", "3.000 to 2.000", "small", "large"],
            ),
            ("/series", cpu, vec!["CPU over time", "In cores", "server"]),
            ("/series", json!({}), vec!["Ratios to the control", "Times</h3>", "messages sent", "senders"]),
            ("/rounds", json!({}), vec!["Times</h3>"]),
            ("/histograms", json!({}), vec!["Ratios to the control"]),
        ] {
            let page = render(&[changed(&[(pointer, change)])]).unwrap();
            for text in expected {
                assert!(page.contains(text), "{pointer}: {text}: {page}");
            }
        }
    }

    #[test]
    fn values_of_rows_are_short() {
        for (value, text) in [
            (json!(3), "3"),
            (json!(0.12345), "0.123"),
            (json!("x"), "x"),
            (json!([1.5, 2]), "1.500, 2"),
            (json!({ "a": 1, "b": [true] }), "a: 1, b: true"),
            (json!([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 9]), "13 values, median 7.000"),
            (json!(vec!["x"; 13]), "13 values"),
        ] {
            assert_eq!(shown(&value), text);
        }
    }

    #[test]
    fn a_page_holds_all_reports_and_loads_nothing() {
        let page = render(&[changed(&[]), changed(&[("/scenario", json!("idle"))])]).unwrap();
        assert!(page.contains("href=\"#report-1\">peer<") && page.contains("href=\"#report-2\">idle<"));
        for outside in ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let addresses =
            page.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
        assert!(
            addresses.clone().all(|rest| rest.starts_with("://www.w3.org/2000/svg")),
            "a name, not a place"
        );
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
