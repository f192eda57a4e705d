//! More than a server takes.

use serde_json::Value;

use super::{count, figure, play};

/// What became of everything that was sent in an overload, of all rounds together.
fn overloaded(report: &Value, name: &str, rows: usize) {
    assert!(figure(report, &format!("{name}: knee, messages/s")) > 0.0);
    for who in ["Quail", "bare loop"] {
        for nothing in ["lost", "duplicated", "out of order", "unexpected"] {
            let what = format!("{name}: {who}: messages {nothing}");
            assert_eq!(count(report, &what), 0, "{what}: {report}");
        }
        assert!(count(report, &format!("{name}: {who}: messages delivered")) > 0);
    }
    let prefix = format!("{name}: Quail, round ");
    let told = report["rows"].as_array().unwrap().iter();
    let told: Vec<_> = told.filter(|row| row["row"].as_str().unwrap().starts_with(&prefix)).collect();
    assert_eq!(told.len(), rows, "at, above and below the knee, and memory: {report}");
    for row in &told[..3] {
        for number in ["delivered", "sent", "not_offered", "accepted"] {
            assert!(row[number].is_u64(), "{number} is missing: {row}");
        }
        assert!(row["high"]["count"].as_u64() > Some(0), "{row}");
    }
    assert!(told[3]["memory_at_most_mib"].as_f64() > Some(0.0), "{report}");
}

/// Few sessions, and a rate above which is not looked for the knee, whatever the machine bears.
const OVERLOAD: &str = "overload --rounds 1 --rooms 2 --members 3 --speakers 2 --pairs 3 --from 20 --until 30 \
    --goodput-min 0.1 --p99-max 60000 --high-rate 20 --step 2 --at-knee 2 --factor 40 --duration 2 --after 3";

fn play_overload(more: &str) -> Value {
    play(&OVERLOAD.split_whitespace().chain(more.split_whitespace()).collect::<Vec<_>>())
}

#[test]
fn of_more_than_a_server_takes_nothing_is_lost() {
    let report = play_overload("");
    for name in ["rooms", "peers"] {
        overloaded(&report, name, 4);
    }
    assert_eq!(report["limits"], "lifted");
}

#[test]
fn more_than_the_default_limits_allow_is_refused() {
    let report = play_overload("--carrier websocket --workloads rooms --default-limits");
    overloaded(&report, "rooms", 4);
    let rows = report["rows"].as_array().unwrap();
    let above = rows.iter().find(|row| row["row"] == "rooms: Quail, round 1, 40 times the knee").unwrap();
    // Four that speak, ten messages a second of each, of more than a thousand.
    assert!(above["refused"]["RateLimited"].as_u64() > Some(0), "{above}");
}
