//! Bugs between the server and what an app is told of rooms, and of the server's settings: what does not find them would not
//! find others.

use std::time::Duration;

use quail_client::protocol::{Conversation, Event};
use quail_protocol::{Code, Priority, Seq, id::RoomId};
use quail_server::{apps::MultiLogin, config::Config};
use quail_tests::{
    check::room::{RoomRule, check_rooms},
    history::{InRoom, What},
};

use super::run;
use crate::{plan::user, server::Flaw};

/// A bug is found in one of so many worlds.
const SEEDS: u64 = 12;

/// What is done to what an app is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Nothing.
    None,
    /// The third gap notice is swallowed.
    SwallowsGap,
    /// A gap notice tells of one message less.
    UnderstatesGap,
    /// A message of a room is handed out twice.
    HandsTwice,
    /// A message of a room is handed out after the next of its priority.
    Swaps,
    /// A message of a room is not handed out at all.
    Loses,
    /// A count of what had no number is swallowed.
    SwallowsDropped,
    /// A message is told in another room.
    Leaks,
    /// The server counts one drop less.
    Miscounts,
}

/// Sits between a client and its app, and has a bug.
pub(super) struct Tap {
    bug: Bug,
    met: u32,
    kept: Option<(Priority, Event)>,
}

impl Tap {
    pub(super) fn new(bug: Bug) -> Self {
        Self { bug, met: 0, kept: None }
    }

    /// What becomes of an event.
    pub(super) fn pass(&mut self, mut event: Event) -> Vec<Event> {
        match (self.bug, &mut event) {
            (Bug::SwallowsGap, Event::MessageGap(_)) if self.is(3) => return vec![],
            (Bug::UnderstatesGap, Event::MessageGap(gap)) if gap.count > 1 && self.is(1) => gap.count -= 1,
            (Bug::SwallowsDropped, Event::MessagesDropped(_)) if self.is(1) => return vec![],
            (bug, Event::MessageSent(message)) => {
                let Conversation::Room(room) = &mut message.conversation else { return vec![event] };
                let priority = message.priority;
                if let Some((_, kept)) = self.kept.take_if(|kept| kept.0 == priority) {
                    return vec![event, kept];
                }
                match bug {
                    Bug::HandsTwice if self.is(20) => return vec![event.clone(), event],
                    Bug::Loses if self.is(20) => return vec![],
                    Bug::Swaps if self.is(20) => {
                        self.kept = Some((priority, event));
                        return vec![];
                    }
                    Bug::Leaks if self.is(20) => {
                        let other = if room.as_str() == "room0" { "room1" } else { "room0" };
                        *room = RoomId::new(other).expect("a room id");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        vec![event]
    }

    /// True for the so many-th that is met.
    fn is(&mut self, number: u32) -> bool {
        self.met += 1;
        self.met == number
    }
}

/// Fails unless a history shows soon that a bug or a flaw breaks `rule`.
fn is_found(bug: Bug, flaw: Flaw, rule: RoomRule) {
    for seed in 0..SEEDS {
        let violations = run(seed, bug, flaw).violations;
        if let Some(found) = violations.iter().find(|violation| violation.rule == rule) {
            println!("{bug:?}: found after {} seeds by {found}", seed + 1);
            return;
        }
    }
    panic!("{bug:?}: {SEEDS} worlds kept {rule:?}");
}

macro_rules! bugs {
    ($($name:ident $bug:ident $rule:ident;)*) => {
        $(#[test]
        fn $name() {
            is_found(Bug::$bug, Flaw::NONE, RoomRule::$rule);
        })*
    };
}

bugs! {
    a_gap_that_is_swallowed_is_found SwallowsGap Complete;
    a_gap_that_tells_too_little_is_found UnderstatesGap Order;
    a_message_of_a_room_that_is_handed_out_twice_is_found HandsTwice Once;
    messages_of_a_room_out_of_order_are_found Swaps Order;
    a_message_of_a_room_that_is_lost_is_found Loses Complete;
    a_count_that_is_swallowed_is_found SwallowsDropped Counts;
    a_message_in_another_room_is_found Leaks Genuine;
    a_drop_that_is_not_counted_is_found Miscounts Counts;
}

#[test]
fn a_speaker_whose_session_does_not_give_way_is_found() {
    let configure = |config: &mut Config| {
        config.apps.values_mut().for_each(|app| app.multi_login = MultiLogin::Many);
    };
    is_found(Bug::None, Flaw { configure, ..Flaw::NONE }, RoomRule::Fence);
}

#[test]
fn a_server_that_gives_up_slow_readers_is_found() {
    let configure = |config: &mut Config| config.session.write_timeout = Duration::from_millis(300);
    is_found(Bug::None, Flaw { configure, ..Flaw::NONE }, RoomRule::Stays);
}

/// Spoils what a record tells.
type Spoil = fn(&mut InRoom);

/// Every device seems to have come in later than it did.
fn comes_late(what: &mut InRoom) {
    if let InRoom::Entered { head } = what {
        head.seq.0 += 50;
    }
}

/// One message has the place of another.
fn moves(what: &mut InRoom) {
    if let InRoom::Acked { position, .. } = what
        && position.seq == Seq(7)
    {
        position.seq = Seq(8);
    }
}

/// What was placed is said to be refused.
fn denies(what: &mut InRoom) {
    if let InRoom::Acked { id, position, .. } = what
        && position.seq == Seq(7)
    {
        *what = InRoom::Refused { id: *id, code: Code::RoomThrottled };
    }
}

/// Whoever speaks was muted.
fn mutes(what: &mut InRoom) {
    if *what == InRoom::Entering {
        *what = InRoom::Muted { user: user(0), on: true };
    }
}

#[test]
fn a_history_that_was_spoilt_is_found() {
    let history = run(0, Bug::None, Flaw::NONE).history;
    assert_eq!(check_rooms(&history), []);
    let spoilt: [(Spoil, RoomRule); 5] = [
        (comes_late, RoomRule::Inside),
        (comes_late, RoomRule::MaySpeak),
        (moves, RoomRule::Positions),
        (denies, RoomRule::Refused),
        (mutes, RoomRule::MaySpeak),
    ];
    for (number, (spoil, rule)) in spoilt.into_iter().enumerate() {
        let mut history = history.clone();
        for record in &mut history {
            if let What::Room { what, .. } = &mut record.what {
                spoil(what);
            }
        }
        let found = check_rooms(&history);
        assert!(found.iter().any(|found| found.rule == rule), "{number} is not found by {rule:?}");
    }
}
