//! Answers and notices that overtake each other, and answers that say nothing.

use super::*;

fn check(stories: &[(&str, &str)]) {
    for (story, expected) in stories {
        assert_eq!(tell(true, story), *expected, "{story}");
    }
}

/// Plays a story. What the app was told is returned, too.
fn played(story: &str) -> (Tracker, Vec<Event>) {
    let (mut tracker, mut heard) = (tracker(), vec![]);
    tracker.reenter_rooms();
    for word in story.split(", ") {
        play(&mut tracker, word);
        heard.extend(told_all(&mut tracker));
    }
    (tracker, heard)
}

fn told_all(tracker: &mut Tracker) -> Vec<Event> {
    std::iter::from_fn(|| tracker.pop_ready()).filter_map(|told| told.event).collect()
}

fn is_left(event: &&Event) -> bool {
    matches!(event, Event::RoomLeft(_))
}

#[test]
fn a_late_room_left_does_not_put_the_client_out_of_the_room_that_it_is_in_now() {
    let begun = "~Entering +Success";
    check(&[
        ("join, in, kick before, > nothing", begun),
        ("join, in, kick of old, > nothing", begun),
        ("kick of old, join, in, kick of old, > nothing", begun),
        (
            "join, in, lost, anew, > join, in again, kick of old, > cursor, caught up",
            "~Entering +Success ~Interrupted +Rejoined",
        ),
        // Nothing was said between the one and the other: only the server knows.
        ("join, in, join, in, kick, > cursor, caught up, > nothing", begun),
        ("join, in, join, in, kick, > cursor, no member, > nothing", "~Entering +Success -KickedOut"),
        (
            "join, in, leave, not in, join, in, kick, > cursor, caught up",
            "~Entering +Success -Left ~Entering +Success",
        ),
    ]);
    let (tracker, heard) = played("join, in, kick before");
    assert!(tracker.tracks.contains_key(&conversation()), "it is followed on");
    assert_eq!(heard.iter().filter(is_left).count(), 0);
}

#[test]
fn an_answer_that_is_overtaken_by_room_left_lets_nobody_in_that_is_out() {
    check(&[
        ("join, kick, in, > cursor, no member, > nothing", "~Entering -KickedOut"),
        ("join, kick, in, > cursor, caught up, > nothing", "~Entering +Success"),
        ("join, kick, no, > nothing", "~Entering -EnterFailed"),
        (
            "join, in, join, kick, in, > cursor, no member",
            "~Entering +Success -KickedOut ~Entering -KickedOut",
        ),
        ("join, in, join, kick, in, > cursor, caught up", "~Entering +Success -KickedOut ~Entering +Success"),
        // Replies overtake each other, too.
        ("join, leave, out, in, > cursor, no member, > nothing", "~Entering -Left"),
        ("join, leave all, out of all, in, > cursor, caught up", "~Entering +Success"),
        ("join, kick, lost, resumed, > nothing, in, > cursor, no member", "~Entering -KickedOut"),
        ("join, kick, in, lost, resumed, > cursor, no member, > nothing", "~Entering -KickedOut"),
        ("join, kick, gone", "~Entering -Lost"),
    ]);
    let (tracker, heard) = played("join, kick, in, > cursor, no member");
    assert!(!tracker.tracks.contains_key(&conversation()));
    assert_eq!(heard.iter().filter(is_left).count(), 1);
}

#[test]
fn a_room_that_the_app_left_while_the_client_came_in_again_is_left_again() {
    let begun = "~Entering +Success ~Interrupted";
    for (story, expected) in [
        ("leave, not in, in again, > leave, left again, > nothing", "-Left"),
        ("leave, not in, in again, > leave, never was in, > nothing", "-Left"),
        ("leave all, out of all, in again, > leave, busy, > leave, left again, > nothing", "-Left"),
        ("leave, not in, in again, lost, anew, > nothing", "-Left"),
        ("leave, not in, in again, > leave, lost, anew, > nothing", "-Left"),
        ("leave, not in, in again, > leave, lost, resumed, left again, > nothing", "-Left"),
        // It comes in once more.
        ("leave, not in, join, in again, in, > nothing", "-Left ~Entering +Rejoined"),
        ("leave, not in, in again, join, in, > nothing", "-Left ~Entering +Success"),
        (
            "leave, not in, in again, > leave, join, in, left again, > cursor, no member, > nothing",
            "-Left ~Entering +Success -Left",
        ),
        (
            "leave, not in, in again, > leave, join, left again, in, > cursor, caught up",
            "-Left ~Entering +Success",
        ),
    ] {
        let story = format!("join, in, lost, anew, > join, {story}");
        assert_eq!(tell(true, &story), format!("{begun} {expected}"), "{story}");
    }
    let (mut tracker, _) =
        played("join, in, lost, anew, > join, leave, not in, in again, > leave, left again");
    let message = Message { conversation: conversation(), ..Story("nnnnn").message(5) };
    tracker.event(Event::MessageSent(message));
    assert!(tracker.pop_ready().is_none(), "what was said while it was in is not told");
}

#[test]
fn an_entry_that_may_have_happened_is_looked_into_before_the_app_is_told_that_it_is_out() {
    for word in ["late", "away", "forgotten"] {
        let asked = format!("join, {word}, > cursor");
        assert_eq!(tell(true, &asked), "~Entering", "{word}");
        assert_eq!(tell(true, &format!("{asked}, caught up, > nothing")), "~Entering +Success", "{word}");
    }
    check(&[
        ("join, late, > cursor, no member, > nothing", "~Entering -TimedOut"),
        ("join, away, > cursor, no member, > nothing", "~Entering -EnterFailed"),
        ("join, late, > cursor, banned, > nothing", "~Entering -TimedOut"),
        ("join, late, kick, > nothing", "~Entering -KickedOut"),
        ("join, late, lost, anew, > nothing", "~Entering -TimedOut"),
        ("join, late, lost, resumed, > cursor, caught up", "~Entering +Success"),
        ("join, late, > cursor, join, no member, in, > nothing", "~Entering +Success"),
        ("join, late, join, no, > cursor, caught up", "~Entering +Success"),
        ("join, in, join, late, > nothing", "~Entering +Success"),
        ("join, in, switch, switched late, > cursor", "~Entering +Success ~Switching"),
        // Whatever else happens before the answer.
        ("join, late, leave all, join, in, out of all, > cursor, caught up", "~Entering +Success"),
        ("join, late, leave, not in, > nothing", "~Entering -Left"),
        // It is in, and comes in again like whoever joined.
        ("join, late, > cursor, caught up, lost, anew, > join", "~Entering +Success ~Interrupted"),
    ]);
    let (mut tracker, _) = played("join, in, switch, switched late");
    let cursors: Vec<_> = cursors(&mut tracker).into_iter().map(|cursor| cursor.conversation).collect();
    assert_eq!(cursors, [conversation(), Conversation::Room(RoomId::new("to").unwrap())]);
    let (tracker, _) = played("join, late, > cursor, caught up");
    assert_eq!(tracker.tracks[&conversation()].end().seq, Seq(5), "followed from where it stands");
}

#[test]
fn a_refused_leave_all_takes_back_no_leave_that_was_asked_after_it() {
    check(&[
        (
            "join, in, leave all, leave, stay in all, lost, anew, > nothing",
            "~Entering +Success ~Interrupted -Left",
        ),
        (
            "leave all, join, in, leave, stay in all, lost, anew, > nothing",
            "~Entering +Success ~Interrupted -Left",
        ),
        (
            "join, in, leave all, leave all, stay in all, lost, anew, > nothing",
            "~Entering +Success ~Interrupted -Left",
        ),
        ("join, in, leave all, stay in all, lost, anew, > join", "~Entering +Success ~Interrupted"),
    ]);
}

#[test]
fn leaving_all_rooms_puts_nobody_out_of_the_room_that_they_came_into_afterwards() {
    check(&[
        ("leave all, join, in, out of all, > cursor, caught up, > nothing", "~Entering +Success"),
        ("leave all, join, in, out of all, > cursor, no member, > nothing", "~Entering +Success -Left"),
        ("leave all, join, out of all, in, > cursor, caught up, > nothing", "~Entering +Success"),
        ("join, in, leave all, join, in, out of all, > cursor, caught up", "~Entering +Success"),
        ("join, in, leave all, join, no, out of all, > cursor, no member", "~Entering +Success -Left"),
    ]);
}

#[test]
fn a_room_that_is_gone_is_not_found_again() {
    let story = "join, in, lost, anew, > join, gone now, > cursor, no member, > nothing";
    assert_eq!(tell(true, story), "~Entering +Success ~Interrupted -NotFound NotMember");
}

#[test]
fn an_own_message_that_is_answered_after_the_room_was_left_does_not_follow_the_room_again() {
    let (mut tracker, _) = played("join, in, leave");
    tracker.left_as_asked(&Own::Leave(room()), Position { epoch: Epoch(EPOCH), seq: Seq(6) });
    // The second was on its way into a room that keeps its messages.
    for seq in [6, 7] {
        let (own, sent) = Story("nnnnnnn").sent(seq);
        tracker.sent(&OwnMessage { conversation: conversation(), ..own }, &sent);
        assert!(!tracker.tracks.contains_key(&conversation()), "{seq}");
    }
}

#[test]
fn what_waits_for_a_room_to_be_come_into_holds_nothing_else_back() {
    let (mut tracker, _) = played("join, in");
    let story = Story("nnnn");
    tracker
        .event(Event::MessageSent(Message { conversation: conversation(), ..Story("nnnnnnnn").message(8) }));
    for seq in [1, 4] {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    for word in "lost, anew, > join, busy".split(", ") {
        told_all(&mut tracker);
        play(&mut tracker, word);
    }
    told_all(&mut tracker);
    let query = tracker.ask_else();
    assert!(matches!(query, Some(Query::Resume(Resume { cursors })) if cursors.len() == 1), "not the room");
    let head = story.message(4).position;
    tracker.answered(answers(&[Answer { missed: Missed::Replay, head, first: Seq(1), rev: Rev(0) }]));
    assert!(matches!(tracker.ask_else(), Some(Query::History(history)) if history.conversation == bob()));
}
