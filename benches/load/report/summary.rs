//! A report in lines, for people.

use std::fmt::Write as _;

use super::{Aim, Machine, Percentiles, Ratio, Report};
use crate::number::rounded;

/// All of it.
pub(super) fn of(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let Machine { processor, cores, kernel, .. } = &report.machine;
    writeln!(out, "{} at {}, limits {}", report.scenario, report.commit, report.limits)?;
    let [before, after] = report.machine_load;
    writeln!(out, "  {processor}, {cores} cores, Linux {kernel}, load {before} before and {after} after")?;
    if report.debug_build {
        writeln!(out, "  built WITHOUT optimisation: the figures say nothing")?;
    }
    writeln!(out, "  {}", report.durability)?;
    for (name, value) in &report.counts {
        writeln!(out, "  {name:<52} {value:>12}")?;
    }
    for (name, value) in &report.figures {
        writeln!(out, "  {name:<52} {:>12}", rounded(*value))?;
    }
    for (name, Percentiles { count, p50, p99, p999, max, .. }) in &report.histograms {
        writeln!(out, "  {name:<40} p50 {p50:.3} ms, p99 {p99:.3}, p999 {p999:.3}, max {max:.3} ({count})")?;
    }
    for (name, Ratio { ratio, rounds }) in &report.rounds {
        let (measured, control) = rounds.medians();
        let (measured, control) = (rounded(measured), rounded(control));
        let count = rounds.measured.len();
        writeln!(out, "  {name:<40} {ratio:.3} ({measured} to {control}, medians of {count} rounds)")?;
    }
    for Aim { what, value, bound, side, met } in &report.aims {
        let met = if *met { "met" } else { "MISSED" };
        writeln!(out, "  aim: {what} {side} {bound}: {}: {met}", rounded(*value))?;
    }
    for row in &report.rows {
        writeln!(out, "  {row}")?;
    }
    if let Some(why) = &report.not_run {
        writeln!(out, "  NOT RUN: {why}")?;
    }
    for broken in &report.broken {
        writeln!(out, "  BROKEN: {broken}")?;
    }
    Ok(())
}
