//! What is made of a run: series, comparisons, pages.

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
