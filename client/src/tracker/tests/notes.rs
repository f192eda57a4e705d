//! What is noted for the next run of the app.

use super::*;
use crate::tracker::{Note, Restored};

fn noting() -> Tracker {
    let mut tracker = tracker();
    tracker.restore(Restored::default());
    tracker
}

/// What the next run knows if the app takes `events` events and ends, and which of them it has taken.
fn taken(tracker: &mut Tracker, events: usize) -> (Restored, Vec<u64>) {
    let (mut cursors, mut seen) = (HashMap::new(), vec![]);
    let mut restored = Restored::default();
    while let Some(told) = tracker.pop_ready() {
        if let Some(Event::MessageSent(message)) = &told.event {
            if seen.len() == events {
                break;
            }
            seen.push(message.position.seq.0);
        }
        match told.note {
            Some(Note::At(cursor)) => _ = cursors.insert(cursor.conversation.clone(), cursor),
            Some(Note::LetGo(conversation)) => {
                restored.let_go = true;
                cursors.remove(&conversation);
            }
            Some(Note::Synced(at)) => restored.synced = Some(at),
            None => {}
        }
    }
    restored.cursors = cursors.into_values().collect();
    (restored, seen)
}

fn next_run(restored: Restored) -> Tracker {
    let mut tracker = tracker();
    tracker.restore(restored);
    tracker
}

#[test]
fn wherever_the_app_ends_the_next_run_tells_the_rest_once() {
    for (story, arrivals) in [
        ("nnnnnn", &[1, 2, 3, 4, 5, 6][..]),
        ("nhnhnh", &[1, 2, 4, 3, 6, 5]),
        ("nhlhnl", &[1, 2, 4, 3, 5, 6]),
        ("nhnhll", &[1, 6, 4, 2]),
    ] {
        for events in 1..=arrivals.len() {
            let (story, mut tracker) = (Story(story), noting());
            for seq in arrivals {
                tracker.event(Event::MessageSent(story.message(*seq)));
            }
            let (restored, mut seen) = taken(&mut tracker, events);
            let mut next = next_run(restored);
            let (_, rest) = fetch(&mut next, &story, &[], 2);
            seen.extend(rest.iter().map(|seq| *seq as u64));
            for letter in ['h', 'n', 'l'] {
                let of_letter = |seq: &&u64| story.0.as_bytes()[**seq as usize - 1] == letter as u8;
                assert!(seen.iter().filter(of_letter).is_sorted(), "{} {events} {seen:?}", story.0);
            }
            seen.sort_unstable();
            assert_eq!(seen, (1..=6).collect::<Vec<_>>(), "{} {events}", story.0);
        }
    }
}

#[test]
fn own_entries_are_noted_in_their_place_and_told_in_no_run() {
    let (story, mut tracker) = (Story("nnnn"), noting());
    tracker.event(Event::MessageSent(story.message(1)));
    let (own, sent) = story.sent(2);
    tracker.sending(&own);
    tracker.sent(&own, &sent);
    tracker.event(Event::MessageSent(story.message(3)));
    let (restored, seen) = taken(&mut tracker, 1);
    assert_eq!(seen, [1]);
    // The fourth was on its way when the app ended.
    let (own, sent) = story.sent(4);
    let mut next = next_run(Restored { unsent: vec![own.clone()], ..restored });
    assert_eq!(fetch(&mut next, &story, &[2, 4], 100).1, [3], "2 was noted with what stands before it");
    next.sent(&own, &sent);
    assert_eq!((told(&mut next), next.ask()), (vec![], None));
}

#[test]
fn what_is_not_followed_any_more_is_not_known_to_the_next_run() {
    let mut tracker = noting();
    let end = |missed| Answer { missed, head: Position::default(), first: Seq(0), rev: Rev(0) };
    tracker.event(Event::MessageSent(Story("n").message(1)));
    tracker.connected(Timestamp(10));
    tracker.reconnected(false, Timestamp(20));
    assert_eq!(told(&mut tracker), [1]);
    assert_eq!(cursors(&mut tracker).len(), 1);
    tracker.answered(answers(&[end(Missed::NotMember)]));
    let (restored, _) = taken(&mut tracker, 0);
    assert!(restored.let_go && restored.cursors.is_empty());
}

#[test]
fn without_a_storage_nothing_is_noted() {
    let mut tracker = tracker();
    tracker.event(Event::MessageSent(Story("n").message(1)));
    let (own, sent) = Story("nn").sent(2);
    tracker.sending(&own);
    tracker.sent(&own, &sent);
    let told: Vec<_> = std::iter::from_fn(|| tracker.pop_ready()).collect();
    assert!(told.len() == 1 && told[0].note.is_none());
}
