//! What an app may be like.

use super::{count, figure, play, rounds, times};

#[test]
fn whatever_people_say_arrives_once_and_in_order() {
    let flags = "mixed --users 60 --idle 0.5 --websocket 0.3 --pair-every 0.5 --group 10 --group-every 1 \
        --live-members 20 --leaving 4 --leave-every 0.5 --warm-up 0.3 --duration 3 --rounds 1";
    let report = play(&flags.split_whitespace().collect::<Vec<_>>());
    for nothing in ["lost", "duplicated", "out of order", "unexpected"] {
        assert_eq!(count(&report, &format!("messages {nothing}")), 0, "{nothing}: {report}");
    }
    let talks = ["pairs", "groups", "live rooms, barrage", "live rooms, normal", "live rooms, high"];
    for talk in talks {
        assert!(count(&report, &format!("{talk}: messages sent")) > 0, "{talk}: {report}");
        assert!(times(&report, &format!("{talk}: intended send to app")) > 0, "{talk}: {report}");
        assert!(figure(&report, &format!("{talk}: deliveries/s")) > 0.0, "{talk}: {report}");
    }
    assert!(count(&report, "times that somebody left a large room and came again") > 0, "{report}");
    assert_eq!(rounds(&report, "server CPU µs per delivery, Quail to bare loop"), 1);
    assert!(figure(&report, "session: memory, bytes") > 0.0);
}
