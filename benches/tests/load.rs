//! Every scenario is played for a moment with few users: it must end well, and its report must add up. Nothing here
//! looks at how long anything took.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "load/mixed.rs"]
mod mixed;
#[path = "load/networks.rs"]
mod networks;
#[path = "load/overload.rs"]
mod overload;
#[path = "load/recovery.rs"]
mod recovery;
#[path = "load/results.rs"]
mod results;
#[path = "load/storm.rs"]
mod storm;

use std::process::Command;

use serde_json::Value;

/// Plays a scenario and returns its report.
fn play(arguments: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(arguments)
        .arg("--scratch")
        .arg(directory.path())
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&json), "data directories are removed");
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["scenario"], arguments[0]);
    assert!(said.starts_with(arguments[0]), "a summary for people: {said}");
    for part in ["commit", "machine", "flags", "server", "durability", "aims"] {
        assert!(!report[part].is_null(), "{part} is missing: {report}");
    }
    assert_eq!(report["broken"], Value::Array(vec![]));
    assert!(
        report["server"]["apps"]["load"]["keys"]["main"]["secret"] == "(hidden)",
        "no secret in a report"
    );
    report
}

fn count(report: &Value, name: &str) -> u64 {
    report["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name}: {report}"))
}

fn figure(report: &Value, name: &str) -> f64 {
    report["figures"][name].as_f64().unwrap_or_else(|| panic!("no figure {name}: {report}"))
}

fn times(report: &Value, name: &str) -> u64 {
    report["histograms"][name]["count"].as_u64().unwrap_or_else(|| panic!("no times {name}: {report}"))
}

/// The rounds of a ratio, both sides above zero.
fn rounds(report: &Value, name: &str) -> usize {
    let rounds = &report["rounds"][name];
    let side = |side: &str| -> Vec<f64> { serde_json::from_value(rounds[side].clone()).unwrap() };
    let (measured, control) = (side("measured"), side("control"));
    assert!(measured.iter().chain(&control).all(|value| *value > 0.0), "{name}: {rounds}");
    assert_eq!(measured.len(), control.len());
    assert!(rounds["ratio"].as_f64().unwrap() > 0.0);
    measured.len()
}

const SHORT: [&str; 8] = ["--senders", "4", "--warm-up", "0.2", "--duration", "1", "--disk", "0.05"];

#[test]
fn peers_at_a_rate_are_all_heard_and_add_up() {
    let flags = ["peer", "--rate", "100", "--rounds", "1", "--bytes", "100"];
    let report = play(&[&flags[..], &SHORT].concat());
    let sent = count(&report, "messages sent");
    assert_eq!(sent, 120, "a hundred a second for 1.2 seconds, whatever becomes of them");
    assert_eq!(count(&report, "messages acknowledged"), sent);
    assert_eq!(count(&report, "messages delivered"), sent);
    for nothing in ["refused", "without an answer", "lost", "duplicated", "out of order", "unexpected"] {
        assert_eq!(count(&report, &format!("messages {nothing}")), 0, "{nothing}");
    }
    for name in ["intended send to ack", "intended send to receiver", "load late by"] {
        assert_eq!(times(&report, name), 100, "{name} of the measured second");
    }
    assert_eq!(rounds(&report, "CPU µs per message, committer to bare store"), 1);
    // Keys, values, a row against duplicates: more than the text.
    assert!(figure(&report, "bytes of rows per message") > 100.0);
    assert_eq!(report["limits"], "lifted");
}

#[test]
fn the_default_limits_throttle_whoever_sends_as_fast_as_they_can() {
    let flags = ["peer", "--default-limits", "--rounds", "1", "--in-flight", "8"];
    let report = play(&[&flags[..], &SHORT].concat());
    let (sent, refused) = (count(&report, "messages sent"), count(&report, "messages refused"));
    assert!(refused > 0, "{report}");
    assert_eq!(count(&report, "refused RateLimited"), refused);
    assert_eq!(count(&report, "messages acknowledged") + refused, sent);
    assert_eq!(count(&report, "messages delivered"), count(&report, "messages acknowledged"));
    assert_eq!(report["limits"], "default");
}

#[test]
fn idle_sessions_stay() {
    let report = play(&["idle", "--sessions", "20", "--quiet", "0.5"]);
    for name in ["sessions opened", "sessions after the quiet", "bare connections after the quiet"] {
        assert_eq!(count(&report, name), 20);
    }
    assert!(figure(&report, "session: memory, bytes") > 0.0);
}

#[test]
fn everyone_who_knocks_is_let_in() {
    let report = play(&["handshake", "--concurrency", "4", "--duration", "0.5", "--rounds", "2"]);
    for what in ["login", "bare handshake", "bare exchange"] {
        assert!(count(&report, &format!("{what}s")) > 0, "{what}");
        assert_eq!(count(&report, &format!("{what}s failed")), 0, "{what}");
    }
    assert_eq!(rounds(&report, "per server core-second, logins to bare handshakes"), 2);
}

#[test]
fn everybody_in_a_room_hears_everything_once_and_in_order() {
    let report = play(
        &[
            &[
                "room",
                "--members",
                "6",
                "--rooms",
                "2",
                "--publishers",
                "2",
                "--sizes",
                "64",
                "--bursts",
                "1,4",
            ][..],
            &["--rate", "20", "--saturated", "4", "--rounds", "1", "--warm-up", "0.2", "--duration", "0.5"],
        ]
        .concat(),
    );
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{report}");
    for row in rows {
        assert!(row["not_run"].is_null(), "{row}");
        for nothing in ["dropped", "lost", "duplicated", "out_of_order"] {
            assert_eq!(row[nothing], 0, "{nothing}: {row}");
        }
        assert_eq!(row["refused"], serde_json::json!({}), "{row}");
        for number in ["cpu_us", "bare_cpu_us", "p50_ms", "p99_ms", "p999_ms", "deliveries_per_core_second"] {
            assert!(row[number].is_f64(), "{number} is missing: {row}");
        }
    }
    // Ten flushes in half a second in each of two rooms, for three who listen there.
    assert_eq!(rows[0]["deliveries"], 2 * 10 * 3);
    assert_eq!(rows[1]["deliveries"], 2 * 10 * 3 * 4);
    assert!(rows[2]["deliveries"].as_u64() > Some(0));
}

#[test]
fn who_reads_slowly_is_told_what_was_left_out_and_the_others_miss_nothing() {
    // Each of the slow ones reads 200 bytes a second of some 60,000.
    let flags = [
        &["slow", "--members", "6", "--slow", "2", "--slow-bytes", "200", "--slow-window", "1024"][..],
        &["--stuck", "0", "--rate", "150", "--high-rate", "50", "--bytes", "2048"],
        &["--rounds", "1", "--warm-up", "0.2", "--duration", "1"],
    ];
    let report = play(&flags.concat());
    assert_eq!(count(&report, "who read slowly"), 2);
    assert_eq!(count(&report, "who read slowly and were closed"), 0);
    assert_eq!(rounds(&report, "ms to the others, p99, some slow to all well"), 1);
    let [well, slow, ..] = &report["rows"].as_array().unwrap()[..] else { panic!("{report}") };
    for row in [well, slow] {
        for nothing in ["left_out_for_the_others", "lost", "duplicated", "out_of_order"] {
            assert_eq!(row[nothing], 0, "{nothing}: {row}");
        }
        let sent = row["sent"].as_u64().unwrap();
        assert_eq!(row["accepted"], sent);
        assert_eq!(row["delivered_to_the_others"], sent * 4);
        let all = ["delivered_to_the_rest", "left_out_for_the_rest_as_they_were_told"];
        let all = all.map(|part| row[part].as_u64().unwrap());
        assert_eq!(all[0] + all[1], sent * 2, "delivered or told: {row}");
        assert_eq!(row["left_out_by_the_server"], all[1], "{row}");
    }
    assert_eq!(well["left_out_by_the_server"], 0);
    assert!(
        slow["left_out_by_the_server"].as_u64() > Some(0) && slow["gaps_read"].as_u64() > Some(0),
        "{slow}"
    );
}

#[test]
fn members_who_come_and_go_over_a_bad_network_miss_nothing() {
    let flags = [
        &[
            "soak",
            "--members",
            "20",
            "--duration",
            "5",
            "--samples",
            "20",
            "--rate",
            "10",
            "--high-rate",
            "5",
        ][..],
        // A client notices after two seconds that it is cut off.
        &[
            "--loss",
            "1",
            "--churn",
            "4",
            "--left-for",
            "0.3",
            "--cuts",
            "2",
            "--cut-for",
            "2.5",
            "--idle",
            "3",
        ],
    ];
    let report = play(&flags.concat());
    for nothing in ["lost", "duplicated", "out of order"] {
        assert_eq!(count(&report, &format!("messages {nothing}")), 0, "{nothing}: {report}");
    }
    assert_eq!(count(&report, "members in the room at the end"), 20);
    let some = [
        "messages delivered",
        "members that left and came again",
        "times a client was interrupted",
        "packets lost",
    ];
    for some in some {
        assert!(count(&report, some) > 0, "{some}: {report}");
    }
    assert_eq!(report["rows"].as_array().unwrap().len(), 10, "{report}");
    assert_eq!(report["rows"][9]["rooms"], 1.0, "{report}");
}

#[test]
fn every_system_that_is_here_is_heard_and_the_others_are_told_of() {
    let systems = ["quail", "nats", "mosquitto", "nats-tls", "mosquitto-qos1-tls", "bare"];
    let named = systems.join(",");
    let flags = [
        &["beside", "--systems", &named, "--members", "4", "--bursts", "1,4", "--rate", "20"][..],
        &["--saturated", "2", "--idle", "4", "--quiet", "0.1"],
        &["--rounds", "1", "--warm-up", "0.1", "--duration", "0.5"],
    ];
    let report = play(&flags.concat());
    let rows = report["rows"].as_array().unwrap();
    let of =
        |name: &'static str| rows.iter().filter(move |row| row["system"] == name && row["version"].is_null());
    for name in systems {
        let rows: Vec<_> = of(name).collect();
        assert_eq!(rows.len(), 4, "{name}: {report}");
        if rows[0]["not_run"].is_string() {
            assert!(!["quail", "bare"].contains(&name));
            for row in rows {
                let why = row["not_run"].as_str().unwrap();
                assert!(why.starts_with("NOT RUN") && why.contains("apt-get install"), "{why}");
            }
            continue;
        }
        let [one, four, saturated, idle] = rows[..] else { panic!("{report}") };
        for row in [one, four, saturated] {
            for nothing in ["dropped", "lost", "duplicated", "out_of_order"] {
                assert_eq!(row[nothing], 0, "{nothing}: {row}");
            }
            assert_eq!(row["refused"], serde_json::json!({}), "{row}");
            for number in ["cpu_us", "p50_ms", "p99_ms", "p999_ms"] {
                assert!(row[number].is_f64(), "{number} is missing: {row}");
            }
        }
        // Ten flushes in half a second, for four who listen.
        assert_eq!(one["deliveries"], 10 * 4);
        let bytes = one["protocol_bytes_each"].as_f64().unwrap();
        assert!((256.0..512.0).contains(&bytes), "a text of 256 bytes and what stands around it: {one}");
        assert_eq!(four["deliveries"], 10 * 4 * 4);
        assert!(saturated["deliveries"].as_u64() > Some(0));
        assert!(idle["memory_bytes_each"].is_f64());
        let plain = ["nats", "mosquitto"].contains(&name);
        assert_eq!(one["tls"], !plain);
        if name != "quail" {
            let ratios = report["rounds"].as_object().unwrap();
            assert_eq!(ratios.keys().filter(|it| it.ends_with(&format!("quail to {name}"))).count(), 3);
        }
    }
}
