//! What is going on: on a terminal one line and a small table below it, redrawn in place; elsewhere a line for each
//! thing that is said, and one now and then with what the table would have.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{latency::Percentiles, number::rounded, series::Latest};

/// How often the table is said where there is no terminal.
const NOW_AND_THEN: Duration = Duration::from_secs(5);

/// The line and the table, on standard error; all clones are the same. Gone with the last one.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Screen>>);

struct Screen {
    /// What draws; it is hidden where there is no terminal.
    bar: ProgressBar,
    began: Instant,
    told: Instant,
    said: String,
    times: Option<Percentiles>,
    latest: Vec<Latest>,
}

impl Progress {
    /// Nothing said yet.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // Only a name that is unknown makes it fail, and then the default shows the message as well.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let (now, said, times, latest) = (Instant::now(), String::new(), None, vec![]);
        Self(Arc::new(Mutex::new(Screen { bar, began: now, told: now, said, times, latest })))
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the line; where there is no terminal, adds one.
    pub(crate) fn say(&mut self, text: &str) {
        let mut screen = self.screen();
        text.clone_into(&mut screen.said);
        if screen.bar.is_hidden() {
            tell(text);
        }
        screen.draw();
    }

    /// What the last round took, to be shown until the next.
    pub(crate) fn times(&mut self, times: Percentiles) {
        let mut screen = self.screen();
        screen.times = Some(times);
        screen.draw();
    }

    /// What was seen of processes just now.
    pub(crate) fn show(&self, latest: Vec<Latest>) {
        let mut screen = self.screen();
        screen.latest = latest;
        screen.draw();
        if screen.bar.is_hidden() && screen.told.elapsed() >= NOW_AND_THEN && !screen.latest.is_empty() {
            screen.told = Instant::now();
            tell(&line(screen.began.elapsed(), &screen.latest, screen.times));
        }
    }
}

fn tell(text: &str) {
    // Who does not want to see it loses nothing.
    _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Screen {
    fn draw(&self) {
        if !self.bar.is_hidden() {
            let elapsed = clock(self.began.elapsed());
            let table = table(&self.latest, self.times);
            self.bar.set_message(format!("{elapsed}  {}\n{table}", self.said));
        }
    }
}

/// Minutes and seconds.
fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// A line for each process, a column for each kind of value.
fn table(latest: &[Latest], times: Option<Percentiles>) -> String {
    let mut columns: Vec<String> = vec![];
    let mut lines = BTreeMap::<&str, BTreeMap<String, String>>::new();
    for Latest { who, what, unit, value } in latest {
        // What is counted in itself needs no unit.
        let column = if unit == what { what.clone() } else { format!("{what}, {unit}") };
        if !columns.contains(&column) {
            columns.push(column.clone());
        }
        lines.entry(who).or_default().insert(column, rounded(*value));
    }
    let first = lines.keys().map(|who| who.chars().count()).max().unwrap_or_default();
    let width = |column: &str| column.chars().count().max(9) + 2;
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str(&" ".repeat(first));
        columns.iter().for_each(|column| text.push_str(&format!("{column:>0$}", width(column))));
    }
    for (who, values) in lines {
        text.push_str(&format!("\n{who:<first$}"));
        for column in &columns {
            let value = values.get(column).map_or("", String::as_str);
            text.push_str(&format!("{value:>0$}", width(column)));
        }
    }
    if let Some(Percentiles { p50, p99, .. }) = times {
        text.push_str(&format!("\nlast round: p50 {} ms, p99 {} ms", rounded(p50), rounded(p99)));
    }
    text
}

/// The same in one line.
fn line(elapsed: Duration, latest: &[Latest], times: Option<Percentiles>) -> String {
    let mut parts: Vec<String> = latest
        .iter()
        .map(|Latest { who, what, unit, value }| match unit == what {
            true => format!("{who} {} {what}", rounded(*value)),
            false => format!("{who} {what} {} {unit}", rounded(*value)),
        })
        .collect();
    if let Some(Percentiles { p50, p99, .. }) = times {
        parts.push(format!("last round p50 {} ms, p99 {} ms", rounded(p50), rounded(p99)));
    }
    format!("  {}: {}", clock(elapsed), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> (Vec<Latest>, Percentiles) {
        let latest = [
            ("bare loop", "CPU", "cores", 0.25),
            ("server", "CPU", "cores", 0.5),
            ("server", "memory", "MiB", 28.04),
            ("server", "sessions", "sessions", 1000.0),
        ];
        let latest = latest.map(|(who, what, unit, value)| {
            let [who, what, unit] = [who, what, unit].map(str::to_owned);
            Latest { who, what, unit, value }
        });
        let times = Percentiles {
            count: 9,
            min: 0.1,
            p50: 1.5,
            p90: 2.0,
            p95: 3.0,
            p99: 12.34,
            p999: 20.0,
            max: 30.0,
        };
        (latest.into(), times)
    }

    #[test]
    fn the_table_has_a_line_for_each_process_and_a_gap_where_nothing_is_known() {
        let (latest, times) = some();
        let expected = "           CPU, cores  memory, MiB   sessions\n\
                        bare loop       0.250                        \n\
                        server          0.500         28.0       1000\n\
                        last round: p50 1.500 ms, p99 12.3 ms";
        assert_eq!(table(&latest, Some(times)), expected);
        assert_eq!(table(&[], None), "");
    }

    #[test]
    fn the_line_has_the_same() {
        let (latest, times) = some();
        let seconds = Duration::from_secs(65);
        let line = line(seconds, &latest, Some(times));
        let expected = "  1:05: bare loop CPU 0.250 cores, server CPU 0.500 cores, server memory 28.0 MiB, \
                        server 1000 sessions, last round p50 1.500 ms, p99 12.3 ms";
        assert_eq!(line, expected);
    }
}
