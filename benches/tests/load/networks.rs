//! Scenarios on networks that they make. Where they may not, they say so.

use std::process::Command;

use serde_json::Value;

use super::{count, rounds};

/// Plays one that needs rights to make networks; `None` if it says that it has none. Leaves no network behind.
fn play_on_a_network(arguments: &[&str]) -> Option<Value> {
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
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    if output.status.code() == Some(3) {
        assert!(said.contains("NOT RUN") && report["not_run"].is_string(), "{said}");
        return None;
    }
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let left = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    let ours = format!("quail-load-{}", report["process"]);
    assert!(!left.contains(&ours), "{left}");
    Some(report)
}

#[test]
fn urgent_messages_over_a_full_link_are_told_of_or_why_they_are_not() {
    over_a_full_link(&[]);
}

#[test]
fn urgent_messages_over_a_full_link_may_come_over_tls() {
    over_a_full_link(&["--websocket-tls"]);
}

fn over_a_full_link(flags: &[&str]) {
    let short = ["lanes", "--rounds", "1", "--warm-up", "0.3", "--duration", "0.5", "--link", "2"];
    let Some(report) = play_on_a_network(&[&short[..], flags].concat()) else { return };
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "{report}");
    for row in rows {
        for number in ["p50_ms", "p99_ms", "max_ms", "p99_ms_median"] {
            assert!(row[number].is_f64(), "{number} is missing: {row}");
        }
        assert!(row["samples"].as_u64() > Some(0), "{row}");
        assert!(row["utilisation_of_rounds"][0].as_f64() > Some(0.0), "{row}");
    }
}

#[test]
fn whatever_the_network_does_all_arrives_once_and_in_order() {
    let flags = [
        &["paths", "--networks", "lossy", "--faults", "blackout,port", "--rounds", "1"][..],
        &[
            "--warm-up",
            "0.3",
            "--duration",
            "1",
            "--rtt",
            "10",
            "--loss",
            "5",
            "--rooms",
            "5",
            "--rate",
            "20",
        ],
        &["--dark", "0.3", "--after", "1", "--listen-rate", "50", "--idle", "3"],
    ];
    let Some(report) = play_on_a_network(&flags.concat()) else { return };
    let rows = report["rows"].as_array().unwrap();
    let mut carriers = vec!["QUIC", "QUIC, four streams per lane", "WebSocket, TLS", "MQTT, TLS"];
    if rows.iter().any(|row| row["not_run"].is_string()) {
        carriers.retain(|carrier| *carrier != "MQTT, TLS");
    }
    for carrier in &carriers {
        let of = |place: &str, name: &str| {
            let found = rows.iter().find(|row| row["carrier"] == *carrier && row[place] == name);
            found.unwrap_or_else(|| panic!("no row of {carrier}, {name}: {report}"))
        };
        let lossy = of("network", "lossy");
        assert!(lossy["samples"].as_u64() > Some(50), "{lossy}");
        assert!(lossy["packets_gone_percent"].as_f64() > Some(0.0), "{lossy}");
        for row in [lossy, of("fault", "blackout"), of("fault", "port")] {
            assert_eq!(row["sent"], row["delivered"], "{row}");
            assert_eq!((&row["lost"], &row["left_out_and_told"]), (&0.into(), &0.into()), "{row}");
            if *carrier != "MQTT, TLS" {
                assert_eq!((&row["duplicated"], &row["out_of_order"]), (&0.into(), &0.into()), "{row}");
            }
        }
        assert!(
            of("fault", "blackout")["sender_pause_ms_of_rounds"][0].as_f64() >= Some(300.0),
            "as long as it was dark: {report}"
        );
        // Only QUIC survives it.
        let again = u64::from(!carrier.starts_with("QUIC"));
        for who in ["sender", "listener"] {
            assert_eq!(of("fault", "port")[format!("{who}_reconnects_of_rounds")][0], again, "{report}");
        }
    }
    assert_eq!(rounds(&report, "p95, lossy, QUIC to WebSocket, TLS"), 1);
    for some in ["packets to the clients lost in the dark", "packets to an address that was left"] {
        assert!(count(&report, some) > 0, "{some}: {report}");
    }
    assert!(count(&report, "bytes of the largest packet") <= 1500, "none was merged with others");
}
