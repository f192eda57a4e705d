//! What is told of messages that were dropped on the way.

use quail_protocol::message::Gap;

use super::*;

/// What the app is told: numbers of messages, and where it is behind or has a gap.
fn heard(tracker: &mut Tracker) -> Vec<String> {
    let told = std::iter::from_fn(|| tracker.pop_ready()).filter_map(|told| told.event);
    told.map(|event| match event {
        Event::MessageSent(message) => message.position.seq.0.to_string(),
        Event::Behind(behind) => format!("behind {}", behind.head.seq.0),
        Event::MessageGap(gap) => format!("gap to {}", gap.through.seq.0),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn gap(story: &Story, through: u64, count: u32) -> Event {
    let position = story.message(through).position;
    Event::MessageGap(Gap { conversation: bob(), priority: Priority::Normal, through: position, count })
}

#[test]
fn what_follows_a_gap_is_told_at_once() {
    let (story, mut tracker) = (Story("nnnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(gap(&story, 4, 3));
    tracker.event(Event::MessageSent(story.message(5)));
    assert_eq!(heard(&mut tracker), ["1", "gap to 4", "5"]);
    assert!(tracker.ask().is_none());
}

#[test]
fn a_gap_behind_a_hole_loses_nothing_that_arrived() {
    let (story, mut tracker) = (Story("nnnnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(heard(&mut tracker), ["1"], "3 waits for 2");
    tracker.event(gap(&story, 5, 2));
    tracker.event(Event::MessageSent(story.message(6)));
    assert_eq!(heard(&mut tracker), ["behind 5", "3", "gap to 5", "6"]);
}
