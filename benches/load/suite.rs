//! Scenarios that a file lists, one after the other.
//!
//! An entry is the name of a scenario and its flags as keys; what the command line would not take, the file may not have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde::Deserialize;
use toml::{Table, Value};

use crate::{
    flags::{Cli, Command, Scenario},
    page,
    report::NotRun,
    scenario::{self, Stopped},
};

/// What stands in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Where each scenario leaves its result, if anywhere.
    json_dir: Option<PathBuf>,
    /// Where a page of all results is written, if anywhere.
    html: Option<PathBuf>,
    scenario: Vec<Table>,
}

/// A scenario that is to be played.
#[derive(Debug)]
struct Entry {
    name: String,
    scenario: Scenario,
    /// Where its result will be, if anywhere.
    json: Option<PathBuf>,
}

/// See the module.
#[derive(Debug)]
struct Suite {
    entries: Vec<Entry>,
    html: Option<PathBuf>,
}

/// Plays what a file lists, all of it even if something fails.
pub(crate) fn run(file: &Path) -> anyhow::Result<()> {
    let read = || Suite::parse(&fs::read_to_string(file)?);
    let Suite { entries, html } = read().with_context(|| file.display().to_string())?;
    for directory in entries.iter().filter_map(|entry| entry.json.as_ref()?.parent()) {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let (count, mut failed) = (entries.len(), vec![]);
    let results: Vec<PathBuf> = entries.iter().filter_map(|entry| entry.json.clone()).collect();
    // Nobody is to take an old one for that of this run.
    results.iter().for_each(|json| drop(fs::remove_file(json)));
    for (number, Entry { name, scenario, .. }) in (1..).zip(entries) {
        eprintln!("{name}, {number} of {count}");
        match scenario::run(scenario) {
            Err(error) if error.is::<Stopped>() => return Err(error),
            Err(error) if !error.is::<NotRun>() => {
                eprintln!("{name}: {error:#}");
                failed.push(name);
            }
            _ => {}
        }
    }
    if let Some(html) = html {
        let there: Vec<_> = results.into_iter().filter(|json| json.exists()).collect();
        page::run(&there, &html)?;
    }
    ensure!(failed.is_empty(), "of {count} scenarios these failed: {}", failed.join(", "));
    Ok(())
}

impl Suite {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let Listed { json_dir, html, scenario } = toml::from_str(text)?;
        ensure!(html.is_none() || json_dir.is_some(), "a page needs results: say where as `json_dir`");
        let entries = (1..).zip(scenario).map(|(number, table)| {
            Entry::parse(number, table, json_dir.as_deref()).with_context(|| format!("scenario {number}"))
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, html })
    }
}

impl Entry {
    fn parse(number: usize, mut table: Table, json_dir: Option<&Path>) -> anyhow::Result<Self> {
        let Some(Value::String(name)) = table.remove("name") else { bail!("it has no name") };
        ensure!(!table.contains_key("json"), "{name}: where results are left is said once, as `json_dir`");
        let json = json_dir.map(|directory| directory.join(format!("{number:02}-{name}.json")));
        let mut arguments = vec!["load".to_owned(), name.clone()];
        for (key, value) in &table {
            arguments.extend(flag(key, value).with_context(|| format!("{name}: {key}"))?);
        }
        arguments.extend(json.as_ref().map(|json| format!("--json={}", json.display())));
        match Cli::try_parse_from(arguments) {
            Ok(Cli { command: Command::Scenario(scenario) }) => Ok(Self { name, scenario: *scenario, json }),
            Ok(_) => bail!("{name} is no scenario"),
            Err(error) => bail!("{name}: {}", reason(&error.to_string())),
        }
    }
}

/// A key of the file as an argument of the command line, if it is one.
fn flag(key: &str, value: &Value) -> anyhow::Result<Option<String>> {
    let name = key.replace('_', "-");
    Ok(match value {
        Value::Boolean(true) => Some(format!("--{name}")),
        Value::Boolean(false) => None,
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(text).collect::<Result<_, _>>()?;
            Some(format!("--{name}={}", values.join(",")))
        }
        value => Some(format!("--{name}={}", text(value)?)),
    })
}

fn text(value: &Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        other => bail!("{other} is no value of a flag"),
    }
}

/// What the command line has against it, without how it is used.
fn reason(error: &str) -> String {
    let lines = error.lines().map(str::trim).take_while(|line| !line.starts_with("Usage"));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    lines.collect::<Vec<_>>().join("; ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_comes_with_the_source_can_be_played() {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
        let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            let suite = Suite::parse(&fs::read_to_string(&file).unwrap());
            let suite = suite.unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
            assert!(!suite.entries.is_empty() && suite.html.is_some(), "{}", file.display());
        }
    }

    #[test]
    fn keys_are_flags_and_lists_are_joined() {
        let suite = Suite::parse(
            "json_dir = 'out'\n[[scenario]]\nname = 'room'\nmembers = [6, 7]\nwarm_up = 0.5\nrate = 2.5\n\
             default_limits = true\n[[scenario]]\nname = 'idle'\nsessions = 4\ndefault_limits = false",
        )
        .unwrap();
        let [room, idle] = &suite.entries[..] else { panic!("{suite:?}") };
        assert_eq!(room.json.as_deref(), Some(Path::new("out/01-room.json")));
        assert_eq!((idle.name.as_str(), suite.html), ("idle", None));
        let room = format!("{:?}", room.scenario);
        for part in [
            "members: [6, 7]",
            "warm_up: 0.5",
            "rate: Some(2.5)",
            "default_limits: true",
            "Some(\"out/01-room.json\")",
        ] {
            assert!(room.contains(part), "{part}: {room}");
        }
        let idle = format!("{:?}", idle.scenario);
        assert!(idle.contains("sessions: 4") && idle.contains("default_limits: false"), "{idle}");
    }

    #[test]
    fn what_the_command_line_would_not_take_is_an_error() {
        for (text, why) in [
            ("scenario = 5", "invalid type"),
            ("jsondir = 'x'\n[[scenario]]\nname = 'idle'", "unknown field `jsondir`"),
            ("html = 'x'\n[[scenario]]\nname = 'idle'", "a page needs results"),
            ("[[scenario]]\nsessions = 4", "scenario 1: it has no name"),
            ("[[scenario]]\nname = 'idel'", "scenario 1: idel: unrecognized subcommand 'idel'"),
            ("[[scenario]]\nname = 'part'\npart = 'serve'", "scenario 1: part: unexpected argument"),
            ("[[scenario]]\nname = 'help'", "scenario 1: help: "),
            ("[[scenario]]\nname = 'idle'\njson = 'x'", "scenario 1: idle: where results are left"),
            (
                "[[scenario]]\nname = 'idle'\n[[scenario]]\nname = 'idle'\nsesions = 4",
                "scenario 2: idle: unexpected argument '--sesions' found; tip: a similar argument exists",
            ),
            ("[[scenario]]\nname = 'idle'\nsessions = 'many'", "scenario 1: idle: invalid value 'many'"),
            ("[[scenario]]\nname = 'idle'\nsessions = { a = 1 }", "scenario 1: idle: sessions: "),
        ] {
            let error = format!("{:#}", Suite::parse(text).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
