//! Cursors and what is answered to them.

use super::*;

#[test]
fn a_cursor_says_what_the_app_was_told_of_each_priority() {
    let (story, mut tracker) = (Story("nhnhlnhnl"), tracker());
    for seq in [1, 2, 4, 6, 7] {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    assert_eq!(told(&mut tracker), [1, 2, 4, 7], "6 waits for 3");
    tracker.reconnected(false, Timestamp(0));
    let cursors = cursors(&mut tracker);
    let [Cursor { position, ahead, .. }] = &cursors[..] else { panic!("{cursors:?}") };
    assert_eq!(*position, story.message(2).position);
    let ahead: Vec<_> = ahead.iter().map(|ahead| (ahead.priority, ahead.seq.0)).collect();
    assert_eq!(ahead, [(Priority::High, 7)]);
}

#[test]
fn each_answer_has_its_consequence() {
    let story = Story("nnnnn");
    for (missed, first, heard, causes) in [
        (Missed::CaughtUp, 1, &[][..], &[][..]),
        (Missed::Replay, 1, &[3, 4, 5], &[]),
        (Missed::Trimmed, 4, &[-5, 4, 5], &[BehindCause::Trimmed]),
        (Missed::EpochChanged, 1, &[-5], &[BehindCause::EpochChanged]),
        (Missed::NotMember, 0, &[-5], &[BehindCause::NotMember]),
    ] {
        let mut tracker = tracker();
        for seq in [1, 2] {
            tracker.event(Event::MessageSent(story.message(seq)));
        }
        assert_eq!(told(&mut tracker), [1, 2]);
        tracker.reconnected(false, Timestamp(0));
        cursors(&mut tracker);
        let epoch = Epoch(EPOCH + u64::from(missed == Missed::EpochChanged));
        let head = Position { epoch, seq: Seq(5) };
        tracker.answered(answers(&[Answer { missed, head, first: Seq(first), rev: Rev(0) }]));
        let (mut numbers, mut said) = (vec![], vec![]);
        loop {
            while let Some(event) = tracker.pop_ready() {
                match event.event.unwrap() {
                    Event::MessageSent(message) => numbers.push(message.position.seq.0 as i64),
                    Event::Behind(behind) => {
                        numbers.push(-5);
                        said.push(behind.cause);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let Some(Query::History(query)) = tracker.ask() else { break };
            tracker.page(Page { first: Seq(first), ..story.page(&query, &[], 100) });
        }
        assert_eq!((&numbers[..], &said[..]), (heard, causes), "{missed:?}");
        assert!(!tracker.wants(), "{missed:?}");
        assert_eq!(tracker.tracks.contains_key(&bob()), missed != Missed::NotMember);
    }
}

#[test]
fn a_new_epoch_is_followed_from_where_it_is_seen() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    let mut old = story.message(4);
    old.position = Position { epoch: Epoch(EPOCH - 1), seq: Seq(9) };
    tracker.event(Event::MessageSent(old));
    assert_eq!(told(&mut tracker), [9]);
    tracker.reconnected(false, Timestamp(0));
    // The cursor is from before the event.
    let before = cursors(&mut tracker);
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [-2, 3]);
    tracker.answered(answers(&[story.answer(&before[0], Seq(1))]));
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![4], vec![4]));
}

#[test]
fn a_session_that_goes_on_still_answers_what_it_was_asked() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [1]);
    let query = history(&mut tracker);
    tracker.reconnected(true, Timestamp(0));
    assert!(tracker.ask().is_none());
    tracker.page(story.page(&query, &[], 100));
    assert_eq!(told(&mut tracker), [2, 3]);
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![4], vec![4]));
}

#[test]
fn what_came_between_a_first_send_and_the_reconnect_that_answered_it_is_told() {
    let (story, mut tracker) = (Story("nhnl"), tracker());
    // The reply to 2 is lost, and 3 and 4 are placed before the client is back.
    let (own, sent) = story.sent(2);
    tracker.sending(&own);
    tracker.reconnected(true, Timestamp(0));
    assert!(!tracker.wants());
    tracker.sent(&own, &sent);
    assert_eq!(fetch(&mut tracker, &story, &[2], 100), (vec![3], vec![3, 4]));
}

#[test]
fn a_server_whose_history_ends_before_what_is_known_is_followed_from_there() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    for seq in 1..=4 {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    assert_eq!(told(&mut tracker), [1, 2, 3, 4]);
    tracker.reconnected(false, Timestamp(0));
    assert_eq!(cursors(&mut tracker)[0].position.seq, Seq(4));
    let head = story.message(2).position;
    tracker.answered(answers(&[Answer { missed: Missed::EpochChanged, head, first: Seq(1), rev: Rev(0) }]));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [-2, 3], "another message under a number that was known");
}
