//! What is made of a run: series, comparisons, pages.

use std::{path::Path, process::Command};

use super::play;

#[test]
fn what_a_server_and_its_control_had_over_time_is_in_the_report() {
    let report = play(&["idle", "--sessions", "4", "--quiet", "0.5", "--sample", "0.05"]);
    for (name, unit) in [
        ("server: CPU", "cores"),
        ("server: memory", "MiB"),
        ("server: messages", "1/s"),
        ("server: deliveries", "1/s"),
        ("server: sessions", "sessions"),
        ("bare endpoint: CPU", "cores"),
        ("bare endpoint: memory", "MiB"),
    ] {
        let series = &report["series"][name];
        assert_eq!(series["unit"], unit, "{name}: {report}");
        let points: Vec<(f64, f64)> = serde_json::from_value(series["points"].clone()).unwrap();
        assert!(points.len() > 1 && points.is_sorted_by_key(|point| point.0), "{name}: {points:?}");
    }
    let sessions: Vec<(f64, f64)> =
        serde_json::from_value(report["series"]["server: sessions"]["points"].clone()).unwrap();
    assert!(sessions.iter().any(|point| point.1 == 4.0), "{sessions:?}");
    let none = play(&["idle", "--sessions", "4", "--quiet", "0.1", "--sample", "0"]);
    assert_eq!(none["series"], serde_json::json!({}));
}

/// Runs the binary in a directory; returns whether it ended well, and what it said to whom.
fn load(directory: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(arguments)
        .current_dir(directory)
        .env("TMPDIR", directory)
        .output()
        .unwrap();
    let [said, complained] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), said, complained)
}

#[test]
fn a_file_of_scenarios_is_played_to_a_page_and_what_it_left_can_be_compared() {
    let directory = tempfile::tempdir().unwrap();
    let file = "json_dir = 'out'\nhtml = 'out/page.html'\n\
                [[scenario]]\nname = 'idle'\nsessions = 4\nquiet = 0.2\nsample = 0.05\n\
                [[scenario]]\nname = 'handshake'\nconcurrency = 2\nduration = 0.3\nrounds = 1\n";
    std::fs::write(directory.path().join("some.toml"), file).unwrap();
    let (well, said, complained) = load(directory.path(), &["run", "some.toml"]);
    assert!(well, "{complained}");
    assert!(said.contains("idle at ") && said.contains("handshake at "), "{said}");
    let page = std::fs::read_to_string(directory.path().join("out/page.html")).unwrap();
    for text in ["<!DOCTYPE html>", ">idle</h2>", ">handshake</h2>", "Memory over time", "<svg ", "</html>"] {
        assert!(page.contains(text), "{text}");
    }
    let (idle, handshake) = ("out/01-idle.json", "out/02-handshake.json");
    let (well, said, complained) = load(directory.path(), &["compare", idle, idle]);
    assert!(well, "{complained}");
    assert!(said.starts_with("idle: A is ") && said.contains("1.000"), "{said}");
    assert!(!said.contains("differs"), "{said}");
    let (well, _, complained) = load(directory.path(), &["compare", idle, handshake]);
    assert!(!well && complained.contains("idle and handshake are different scenarios"), "{complained}");
}

#[test]
fn what_cannot_be_read_is_said_to_be_so_and_nothing_is_played() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("no.json", "{}"),
        ("new.json", "{ \"schema\": 1000 }"),
        ("no.toml", "json_dir = 'out'\n[[scenario]]\nname = 'idle'\n[[scenario]]\nname = 'idel'\n"),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    for (arguments, why) in [
        (&["compare", "no.json", "no.json"][..], "no.json: this is no report of a scenario"),
        (&["compare", "new.json", "new.json"], "new.json: a report of schema 1000"),
        (&["compare", "none.json", "none.json"], "none.json: No such file"),
        (&["report", "no.json", "--html", "page.html"], "no.json: this is no report of a scenario"),
        (&["run", "no.toml"], "no.toml: scenario 2: idel: unrecognized subcommand 'idel'"),
        (&["run", "none.toml"], "none.toml: No such file"),
    ] {
        let (well, said, complained) = load(directory.path(), arguments);
        assert!(!well && said.is_empty() && complained.contains(why), "{arguments:?}: {complained}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "nothing was written");
}
