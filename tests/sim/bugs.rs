//! Bugs that are put into the parts of a server on purpose: what does not find them would not find others.

use std::{collections::BTreeSet, sync::Arc};

use quail_protocol::{Seq, id::ClientMessageId, message::Message};
use quail_server::{
    apps::MultiLogin,
    config::Config,
    store::{Append, Appended, Head, Range, RangeQuery, Store, Write, Written},
};
use quail_tests::check::Rule;

use self::tampered::{Tamper, tampered};
use crate::{disk::Lie, server::Flaw, world::run};

mod tampered;

/// A bug is found in one of so many worlds.
const SEEDS: u64 = 50;

/// Fails unless a history shows soon that a flaw breaks `rule`.
fn is_found(name: &str, flaw: Flaw, rule: Rule) {
    for seed in 0..SEEDS {
        let violations = run(seed, flaw).violations;
        if let Some(found) = violations.iter().find(|violation| violation.rule == rule) {
            let rules: BTreeSet<_> = violations.iter().map(|violation| violation.rule).collect();
            println!("{name}: found after {} seeds by {rules:?}: {}", seed + 1, found.text);
            return;
        }
    }
    panic!("{name}: {SEEDS} worlds kept {rule:?}");
}

const fn lie(lie: Lie) -> Flaw {
    Flaw { lie, ..Flaw::NONE }
}

const fn wrap(wrap: fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Flaw {
    Flaw { wrap, ..Flaw::NONE }
}

fn many_sessions(config: &mut Config) {
    config.apps.values_mut().for_each(|app| app.multi_login = MultiLogin::Many);
}

macro_rules! bugs {
    ($($name:ident $rule:ident $flaw:expr;)*) => {
        $(#[test]
        fn $name() {
            is_found(stringify!($name), $flaw, Rule::$rule);
        })*
    };
}

bugs! {
    an_ack_before_the_sync_is_found I1 lie(Lie::AcksEarly);
    a_read_before_the_sync_is_found I3 lie(Lie::ReadsAhead);
    a_restore_that_keeps_the_epoch_is_found I9 lie(Lie::KeepsEpoch);
    a_forgotten_repetition_is_found I4 wrap(|store| tampered(store, Forgets));
    a_skipped_number_is_found I3 wrap(|store| tampered(store, Skips));
    a_head_that_is_one_behind_is_found I15 wrap(|store| tampered(store, OneBehind));
    a_page_that_begins_one_late_is_found I5 wrap(|store| tampered(store, OneLate));
    a_prev_of_any_priority_is_found I3 wrap(|store| tampered(store, AnyPrev));
    late_called_lost_is_found I15 wrap(|store| tampered(store, LateIsLost));
    a_session_that_does_not_give_way_is_found I18 Flaw { configure: many_sessions, ..Flaw::NONE };
    a_mark_that_goes_back_is_found I14 wrap(|store| tampered(store, LastMarkWins));
    a_page_out_of_order_is_found I5 wrap(|store| tampered(store, Backwards));
    an_entry_trimmed_too_soon_is_found I3 wrap(|store| tampered(store, TrimsMore));
    another_body_is_found I2 wrap(|store| tampered(store, MixesUp));
    a_refusal_of_what_was_placed_is_found I17 wrap(|store| tampered(store, Denies));
}

/// Nothing is known to be a repetition.
#[derive(Clone, Copy)]
struct Forgets;

impl Tamper for Forgets {
    fn forgets(&self) -> bool {
        true
    }
}

/// Here and there a number is given to nothing: one for each sender of a thread.
#[derive(Clone, Copy)]
struct Skips;

const NOTHING: ClientMessageId = ClientMessageId([0xee; 16]);

impl Tamper for Skips {
    fn writes(&self, batch: &mut Vec<Write>) {
        if let Some(Write::Append(append)) = batch.first() {
            batch.push(Write::Append(Append { client_id: NOTHING, ..append.clone() }));
        }
    }

    fn read(&self, _: &RangeQuery, range: &mut Range) {
        range.messages.retain(|message| message.client_id != NOTHING);
    }
}

/// The newest entry is not counted.
#[derive(Clone, Copy)]
struct OneBehind;

impl Tamper for OneBehind {
    fn head(&self, head: &mut Head) {
        head.position.seq = Seq(head.position.seq.0.saturating_sub(1));
        head.last_by_priority.iter_mut().for_each(|last| *last = head.position.seq.min(*last));
    }
}

/// What stands right behind a cursor is left out.
#[derive(Clone, Copy)]
struct OneLate;

impl Tamper for OneLate {
    fn read(&self, query: &RangeQuery, range: &mut Range) {
        range.messages.retain(|message| query.from <= Seq(1) || message.position.seq != query.from);
    }
}

/// The number before is that of any message, and not of the same priority.
#[derive(Clone, Copy)]
struct AnyPrev;

fn before(seq: Seq) -> Seq {
    Seq(seq.0 - 1)
}

impl Tamper for AnyPrev {
    fn wrote(&self, _: &Write, written: &mut Written) {
        match written {
            Written::Append(Appended::Placed(message)) => message.prev = before(message.position.seq),
            Written::Append(Appended::Duplicate(place)) => place.prev = before(place.position.seq),
            _ => {}
        }
    }

    fn read(&self, _: &RangeQuery, range: &mut Range) {
        range
            .messages
            .iter_mut()
            .for_each(|message: &mut Message| message.prev = before(message.position.seq));
    }
}

/// What a device has not got yet is said to be no longer kept.
#[derive(Clone, Copy)]
struct LateIsLost;

impl Tamper for LateIsLost {
    fn head(&self, head: &mut Head) {
        head.first = head.first.max(head.position.seq);
    }
}

/// Marks are what was asked for last.
#[derive(Clone, Copy)]
struct LastMarkWins;

impl Tamper for LastMarkWins {
    fn wrote(&self, write: &Write, written: &mut Written) {
        if let (Write::Mark(change), Written::Mark(Some(kept))) = (write, written) {
            kept.marks = change.marks;
        }
    }
}

/// The newest entry of a page comes first.
#[derive(Clone, Copy)]
struct Backwards;

impl Tamper for Backwards {
    fn read(&self, _: &RangeQuery, range: &mut Range) {
        range.messages.reverse();
    }
}

/// The first entry that is kept is not.
#[derive(Clone, Copy)]
struct TrimsMore;

impl Tamper for TrimsMore {
    fn read(&self, _: &RangeQuery, range: &mut Range) {
        let first = range.first;
        range.messages.retain(|message| first == Seq(1) || message.position.seq != first);
    }
}

/// An entry of a page has the body of the one before.
#[derive(Clone, Copy)]
struct MixesUp;

impl Tamper for MixesUp {
    fn read(&self, _: &RangeQuery, range: &mut Range) {
        if let [.., one, other] = &mut range.messages[..] {
            other.content.body = one.content.body.clone();
        }
    }
}

/// Some of what was placed is refused.
#[derive(Clone, Copy)]
struct Denies;

impl Tamper for Denies {
    fn wrote(&self, _: &Write, written: &mut Written) {
        if matches!(written, Written::Append(Appended::Placed(message)) if message.position.seq == Seq(7)) {
            *written = Written::Append(Appended::Conflict);
        }
    }
}
