//! Readers come back to what was written while they were cut off.

use super::{count, figure, play, rounds};

/// What readers get as it is written and what they get later, within the grace and beyond it, over a carrier.
fn everything_is_there(carrier: &str) {
    let flags = [
        &["recovery", "--readers", "4", "--messages", "150", "--cut-for", "2.5,5"][..],
        // A client notices after two seconds that it is cut off.
        &["--idle", "3", "--grace", "3", "--carrier", carrier],
    ];
    let report = play(&flags.concat());
    let sent = count(&report, "messages sent");
    assert_eq!(sent, 2 * 2 * 4 * 150, "live and later, twice, to each of four");
    assert_eq!(count(&report, "messages acknowledged"), sent);
    assert_eq!(count(&report, "messages delivered"), sent);
    for nothing in ["refused", "without an answer", "lost", "duplicated", "out of order"] {
        assert_eq!(count(&report, &format!("messages {nothing}")), 0, "{nothing}");
    }
    let [_, beyond] = &report["rows"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(beyond["sessions_that_went_on"], 0, "{beyond}");
    for row in report["rows"].as_array().unwrap() {
        assert_eq!(row["ms_until_a_reader_has_everything"]["count"], 4, "{row}");
    }
    for cut_for in ["2.5", "5"] {
        let name = format!("150 to each, cut off for {cut_for} s: server CPU µs per message, later to live");
        assert_eq!(rounds(&report, &name), 1);
    }
    assert_eq!(count(&report, "messages stored when the server was started again"), sent);
    for how in ["SigTerm", "SigKill"] {
        assert!(figure(&report, &format!("s until the full one listens after {how}")) > 0.0);
    }
}

#[test]
fn what_was_written_to_whom_was_cut_off_is_there_when_they_are_back() {
    everything_is_there("quic");
}

#[test]
fn what_was_written_to_whom_was_cut_off_is_there_when_they_are_back_by_websocket() {
    everything_is_there("websocket");
}
