//! Where this client stands with rooms, as stories: what happens, and what the app is told of it.

use quail_protocol::{
    Close, Code, Reject,
    id::RoomId,
    room::{
        Entered, EntryStatus, LeaveCause, Lifetime, Role, RoomInfo, RoomLeft, RoomState, RoomStateChanged,
        Settings, Standing, Switched,
    },
};

use super::*;
use crate::{
    outbox::{Door, Entry, Own},
    state::Cause,
};

mod doubt;

fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

fn conversation() -> Conversation {
    Conversation::Room(room())
}

fn entered(epoch: u64, head: u64) -> Entered {
    let state = RoomState {
        room: room(),
        info: RoomInfo::default(),
        lifetime: Lifetime::default(),
        counters_for_members: false,
        omit_notes: false,
        history: Default::default(),
        owner: user("alice"),
        members: 1,
        visitors: 0,
        head: Position { epoch: Epoch(epoch), seq: Seq(head) },
        first: Seq(1),
        rev: Rev(0),
        created: Timestamp(0),
        role: Some(Role::Owner),
        attributes_version: 0,
        member_attributes_version: 0,
        counters_version: 0,
    };
    Entered { status: EntryStatus::Joined, state, recent: List::default() }
}

fn entry(door: Door) -> Entry {
    Entry { room: room(), door, from: None }
}

fn join() -> Entry {
    entry(Door::Join)
}

fn switch() -> Own {
    let to = RoomId::new("to").unwrap();
    Own::Enter(Box::new(Entry { room: to, door: Door::Join, from: Some(room()) }))
}

fn left(cause: LeaveCause) -> Event {
    left_at(EPOCH, 5, cause)
}

fn left_at(epoch: u64, seq: u64, cause: LeaveCause) -> Event {
    let last = Position { epoch: Epoch(epoch), seq: Seq(seq) };
    Event::RoomLeft(RoomLeft { room: room(), last, cause, operator: None, reason: Default::default() })
}

/// Takes a word of a story.
fn play(tracker: &mut Tracker, word: &str) {
    let refuse = |tracker: &mut Tracker, reject: Reject| {
        if tracker.asks_again(&reject) { tracker.retry() } else { tracker.give_up(Some(&reject)) }
    };
    let answer = |missed| {
        let head = Position { epoch: Epoch(EPOCH), seq: Seq(5) };
        answers(&[Answer { missed, head, first: Seq(1), rev: Rev(0) }])
    };
    match word {
        "join" => tracker.asking(&Own::Enter(Box::new(join()))),
        "create" => tracker.asking(&Own::Enter(Box::new(entry(Door::Create(Settings::default()))))),
        "in" => tracker.entered(&join(), &entered(EPOCH, 5)),
        "no" => tracker.refused_own(&Own::Enter(Box::new(join())), &Code::BannedFromRoom.into()),
        "none" => tracker.refused_own(&Own::Enter(Box::new(join())), &Code::RoomNotFound.into()),
        "exists" => {
            let create = entry(Door::Create(Settings::default()));
            tracker.refused_own(&Own::Enter(Box::new(create)), &Code::RoomExists.into());
        }
        "late" => tracker.refused_own(&Own::Enter(Box::new(join())), &Code::TimedOut.into()),
        "away" => tracker.refused_own(&Own::Enter(Box::new(join())), &Code::Unavailable.into()),
        "forgotten" => tracker.refused_own(&Own::Enter(Box::new(join())), &Code::ReplyForgotten.into()),
        "silence" => tracker.unanswered(&Own::Enter(Box::new(join()))),
        "leave" => tracker.asking(&Own::Leave(room())),
        "leave all" => tracker.asking(&Own::LeaveAll),
        "out" => tracker.left_as_asked(&Own::Leave(room()), Position::default()),
        "out of all" => tracker.left_all(),
        "dismiss" => tracker.asking(&Own::Dismiss(room())),
        "dismissed" => tracker.left_as_asked(&Own::Dismiss(room()), Position::default()),
        "stay" => tracker.refused_own(&Own::Leave(room()), &Code::RateLimited.into()),
        "not in" => tracker.refused_own(&Own::Leave(room()), &Code::NotInRoom.into()),
        "kick" => tracker.event(left(LeaveCause::KickedOut)),
        "kick before" => tracker.event(left_at(EPOCH, 4, LeaveCause::KickedOut)),
        "kick of old" => tracker.event(left_at(EPOCH - 1, 9, LeaveCause::KickedOut)),
        "end" => tracker.event(left(LeaveCause::Ended)),
        "switch" => tracker.asking(&switch()),
        "switched" => {
            let Own::Enter(entry) = switch() else { panic!() };
            tracker.switched(&entry, &Switched { entered: entered(EPOCH, 0), last: Position::default() });
        }
        "not switched" => tracker.refused_own(&switch(), &Code::RoomNotFound.into()),
        "switched late" => tracker.refused_own(&switch(), &Code::TimedOut.into()),
        "lost" => tracker.interrupted(),
        "resumed" => tracker.reconnected(true, Timestamp(0)),
        "anew" => tracker.reconnected(false, Timestamp(0)),
        "closed" => tracker.ended(Cause::Closed(Close::KickedOut)),
        "gone" => tracker.ended(Cause::VersionRefused),
        // What the server answers to what the tracker asks.
        "> join" => assert!(matches!(tracker.ask(), Some(Query::Join(_)))),
        "> enter" => assert!(matches!(tracker.ask(), Some(Query::Enter(_)))),
        "> leave" => assert!(matches!(tracker.ask(), Some(Query::Leave(_)))),
        "> cursor" => assert!(matches!(tracker.ask(), Some(Query::Resume(_)))),
        "> nothing" => assert_eq!(tracker.ask(), None),
        "in again" => tracker.came_again(&entered(EPOCH, 5)),
        "left again" => tracker.left_again(Position { epoch: Epoch(EPOCH), seq: Seq(5) }),
        "never was in" => refuse(tracker, Code::NotInRoom.into()),
        "stay in all" => tracker.refused_own(&Own::LeaveAll, &Code::RateLimited.into()),
        "gone now" => refuse(tracker, Code::RoomNotFound.into()),
        "busy" => refuse(tracker, Reject { retry_after_ms: Some(5), ..Code::RateLimited.into() }),
        "full" => refuse(tracker, Code::RoomFull.into()),
        "banned" => refuse(tracker, Code::BannedFromRoom.into()),
        "caught up" => tracker.answered(answer(Missed::CaughtUp)),
        "no member" => tracker.answered(answer(Missed::NotMember)),
        other => panic!("{other}"),
    }
}

/// What the app is told of rooms: the state as `-`, `~` or `+`, and the cause.
fn said(tracker: &mut Tracker) -> String {
    let told = std::iter::from_fn(|| tracker.pop_ready()).filter_map(|told| told.event);
    let lines = told.filter_map(|event| match event {
        Event::RoomStateChanged(RoomStateChanged { state, cause, .. }) => {
            let sign = match state {
                Standing::Disconnected => '-',
                Standing::Connecting => '~',
                Standing::Connected => '+',
            };
            Some(format!("{sign}{cause:?}"))
        }
        Event::Behind(behind) => Some(format!("{:?}", behind.cause)),
        Event::RoomLeft(_) => None,
        other => panic!("{other:?}"),
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// Plays a story, words apart by commas, and returns what was said.
fn tell(reenter: bool, story: &str) -> String {
    let mut tracker = tracker();
    if reenter {
        tracker.reenter_rooms();
    }
    let words = story.split(", ").map(|word| {
        play(&mut tracker, word);
        said(&mut tracker)
    });
    words.filter(|said| !said.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_app_is_told_where_it_stands_with_a_room_and_why() {
    for (story, expected) in [
        // As it asks.
        ("join, in", "~Entering +Success"),
        ("create, in", "~Creating +Success"),
        ("join, in, join, in", "~Entering +Success"),
        ("join, no", "~Entering -EnterFailed"),
        ("join, none", "~Entering -NotFound"),
        ("create, exists", "~Creating -CreateFailed"),
        ("join, silence", "~Entering -TimedOut"),
        ("join, join, no, in", "~Entering +Success"),
        ("join, in, join, no", "~Entering +Success"),
        ("join, in, leave, out", "~Entering +Success -Left"),
        ("join, in, leave all, out of all", "~Entering +Success -Left"),
        ("join, in, dismiss, dismissed", "~Entering +Success -Dismissed"),
        ("join, in, leave, stay", "~Entering +Success"),
        ("leave, not in", ""),
        ("join, in, switch, switched", "~Entering +Success ~Switching +Success -Switching"),
        ("join, in, switch, not switched", "~Entering +Success ~Switching -SwitchFailed"),
        // As others do.
        ("join, in, kick", "~Entering +Success -KickedOut"),
        ("join, in, end", "~Entering +Success -Ended"),
        ("join, in, kick, join, in", "~Entering +Success -KickedOut ~Entering +Success"),
        // A connection is lost for good.
        ("join, in, closed", "~Entering +Success -Displaced"),
        ("join, in, lost, gone", "~Entering +Success ~Interrupted -Lost"),
        // The session goes on.
        ("join, in, lost, resumed, > cursor, caught up", "~Entering +Success ~Interrupted +Success"),
        (
            "join, in, lost, resumed, > cursor, no member, > nothing",
            "~Entering +Success ~Interrupted -OutMeanwhile NotMember",
        ),
        ("join, lost, resumed, in", "~Entering +Success"),
    ] {
        assert_eq!(tell(true, story), expected, "{story}");
        assert_eq!(tell(false, story), expected, "{story}");
    }
}

#[test]
fn rooms_that_were_lost_with_a_session_are_come_into_again() {
    let begun = "~Entering +Success ~Interrupted";
    for (story, expected) in [
        ("join, in, lost, anew, > join, in again, > cursor, caught up, > nothing", "+Rejoined"),
        // Why it does not come in; the server's answer to the cursor says the same.
        ("join, in, lost, anew, > join, banned, > cursor, no member, > nothing", "-EnterFailed NotMember"),
        ("join, in, lost, anew, > join, full, > cursor, no member, > nothing", "-EnterFailed NotMember"),
        // Not now is not never.
        ("join, in, lost, anew, > join, busy, > join, busy, > join, in again", "+Rejoined"),
        // Lost once more on the way.
        ("join, in, lost, anew, > join, lost, anew, > join, in again", "+Rejoined"),
        ("join, in, lost, anew, > join, lost, resumed, in again, > cursor", "+Rejoined"),
        ("join, in, lost, anew, lost, resumed, > join, in again, > cursor, caught up", "+Rejoined"),
        // The app is faster.
        ("join, in, lost, anew, join, in, > cursor, caught up, > nothing", "+Success"),
        ("join, in, lost, anew, > join, join, in again, in", "+Rejoined"),
        ("join, in, lost, anew, > join, join, banned, no", "-EnterFailed"),
        // It wants to leave, or did.
        ("join, in, leave, lost, anew, > nothing", "-Left"),
        ("join, in, lost, leave, anew, not in, > nothing", "-Left"),
        ("join, in, lost, anew, leave, > nothing, not in, > nothing", "-Left"),
        ("join, in, lost, anew, leave, > nothing, stay, > join, in again", "+Rejoined"),
        ("join, in, lost, anew, > join, leave, in again, out, > nothing", "+Rejoined -Left"),
        ("join, in, lost, anew, leave all, > nothing, out of all, > nothing", "-Left"),
    ] {
        assert_eq!(tell(true, story), format!("{begun} {expected}"), "{story}");
    }
    for story in ["join, in, kick, lost, anew, > nothing", "join, in, leave, out, lost, anew, > nothing"] {
        assert!(!tell(true, story).contains("Rejoined"), "{story}");
    }
    let off = tell(false, "join, in, lost, anew, > cursor, no member, > nothing");
    assert_eq!(off, format!("{begun} -Lost NotMember"));
}

#[test]
fn a_room_that_was_entered_and_not_made_is_not_made_anew_by_coming_again() {
    let settings = Settings::default;
    for (door, status, asked) in [
        (Door::Join, EntryStatus::Joined, "> join"),
        (Door::Enter(settings()), EntryStatus::Created, "> enter"),
        (Door::Create(settings()), EntryStatus::Created, "> enter"),
        // Whoever found it there makes no room of their own.
        (Door::Enter(settings()), EntryStatus::Joined, "> join"),
        (Door::Enter(settings()), EntryStatus::AlreadyIn, "> join"),
    ] {
        let mut tracker = tracker();
        tracker.reenter_rooms();
        let entry = entry(door);
        tracker.asking(&Own::Enter(Box::new(entry.clone())));
        tracker.entered(&entry, &Entered { status, ..entered(EPOCH, 5) });
        tracker.reconnected(false, Timestamp(0));
        play(&mut tracker, asked);
    }
}

#[test]
fn a_server_that_is_always_busy_is_not_asked_for_ever() {
    let mut tracker = tracker();
    tracker.reenter_rooms();
    "join, in, lost, anew".split(", ").for_each(|word| play(&mut tracker, word));
    let mut asked = 0;
    while let Some(Query::Join(_)) = tracker.ask() {
        asked += 1;
        play(&mut tracker, "busy");
    }
    assert_eq!(asked, 8);
    assert!(said(&mut tracker).ends_with("-EnterFailed"));
}

#[test]
fn what_is_missing_of_a_room_waits_until_the_client_is_in_again() {
    let mut tracker = tracker();
    tracker.reenter_rooms();
    "join, in".split(", ").for_each(|word| play(&mut tracker, word));
    let story = Story("nnnnnnnn");
    let message = |seq| Message { conversation: conversation(), ..story.message(seq) };
    // Seven is missing when the connection is lost.
    tracker.event(Event::MessageSent(message(6)));
    tracker.event(Event::MessageSent(message(8)));
    while tracker.pop_ready().is_some() {}
    tracker.interrupted();
    tracker.reconnected(false, Timestamp(0));
    play(&mut tracker, "> join");
    assert_eq!(tracker.ask(), None, "one thing at a time");
    tracker.came_again(&entered(EPOCH, 8));
    while tracker.pop_ready().is_some() {}
    let cursors = cursors(&mut tracker);
    assert_eq!(cursors[0].position.seq, Seq(6), "as after any reconnect");
    let head = message(8).position;
    let answer = Answer { missed: Missed::Replay, head, first: Seq(1), rev: Rev(0) };
    tracker.answered(answers(&[answer]));
    let query = history(&mut tracker);
    assert_eq!((query.from, query.to), (Seq(7), Seq(8)));
    let messages = List::new(vec![message(7), message(8)]).unwrap();
    tracker.page(Page { head, first: Seq(1), rev: Rev(0), messages, next: None });
    assert_eq!(told(&mut tracker), [7, 8]);
}
