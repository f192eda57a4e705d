//! Everybody loses the server and comes back.

use serde_json::Value;

use super::{count, play, rounds};

const SHORT: [&str; 18] = [
    "storm",
    "--sessions",
    "20",
    "--members",
    "6",
    "--room-size",
    "3",
    "--writers",
    "6",
    "--rate",
    "24",
    "--before",
    "1",
    "--after",
    "0.5",
    "--idle",
    "3",
    "--by",
];

/// Everybody came back, and nothing was lost.
fn check(report: &Value, by: &str) {
    let [sessions, bare] = &report["rows"].as_array().unwrap()[..] else { panic!("{report}") };
    for row in [sessions, bare] {
        assert_eq!(row["lost_the_server"], 20, "{row}");
        assert_eq!(row["gave_up"], 0, "{row}");
        for percent in ["50", "90", "99", "100"] {
            assert!(row["s_until_percent_back"][percent].is_f64(), "{percent}: {row}");
        }
        assert!(row["server_memory_peak_mib"].as_f64() > Some(1.0), "{row}");
    }
    assert!(sessions["traffic"]["account"]["delivered"].as_u64() > Some(20), "{sessions}");
    assert_eq!(sessions["traffic"]["account"]["delivered"], sessions["traffic"]["account"]["accepted"]);
    let sent = count(report, "messages sent");
    assert_eq!(count(report, "messages acknowledged") + count(report, "messages without an answer"), sent);
    for nothing in ["refused", "lost", "duplicated", "out of order"] {
        assert_eq!(count(report, &format!("messages {nothing}")), 0, "{nothing}");
    }
    assert_eq!(rounds(report, &format!("{by}: s until 99 percent are back, sessions to bare")), 1);
}

#[test]
fn all_come_back_to_a_server_that_was_stopped_and_nothing_is_lost() {
    check(&play(&[&SHORT[..], &["sigterm"]].concat()), "SigTerm");
}

#[test]
fn all_come_back_to_a_server_that_was_killed_and_nothing_is_lost() {
    // Clients of several addresses, which have their limits, and write no faster than they may.
    let report = play(&[&SHORT[..], &["sigkill", "--default-limits", "--per-socket", "4"]].concat());
    check(&report, "SigKill");
    assert_eq!(count(&report, "client addresses"), 5);
}

#[test]
fn all_come_back_by_websocket_to_a_server_that_was_killed() {
    check(&play(&[&SHORT[..], &["sigkill", "--carrier", "websocket"]].concat()), "SigKill");
}

#[test]
fn all_come_back_whose_way_was_cut_and_nothing_is_lost() {
    check(&play(&[&SHORT[..], &["cut", "--cut-for", "3.5"]].concat()), "Cut");
}
