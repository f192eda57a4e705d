//! What clients were told of drops, beside what servers counted.
//!
//! A server counts a drop when it happens and tells it when the notice is next on its lane. What it never tells is what waited,
//! or was under way, when a connection was lost: of each priority some end of what was placed for that device before it
//! came back, and whatever was placed while the device was in without knowing it. Where no connection was lost, both are the same number.

use super::{Found, RoomRule, index::Index, stay::Stays};
use crate::history::{Counted, InRoom, What};
use quail_protocol::Code;

pub(super) fn check(index: &Index<'_>, stays: &Stays<'_>, found: &mut Found) {
    let end = index.history.iter().position(|at| matches!(at.what, What::Counted(_)));
    let Some((end, What::Counted(counted))) = end.map(|end| (end, &index.history[end].what)) else { return };
    let (mut told, mut whole) = (Counted::default(), true);
    for at in &index.history[..end] {
        match &at.what {
            What::Room { what, .. } => match what {
                InRoom::Received { .. } => told.queued += 1,
                InRoom::Gap { count, .. } => told.dropped += u64::from(*count),
                InRoom::Passed { .. } | InRoom::Told => told.passed += 1,
                InRoom::Dropped { count } => told.passed_dropped += u64::from(*count),
                InRoom::Refused { code: Code::RoomThrottled, .. } => told.throttled += 1,
                _ => {}
            },
            What::Disconnected | What::KickedOut | What::ServerEnded => whole = false,
            _ => {}
        }
    }
    // What is wrong with a stay is told where it is checked.
    let account = stays.accounts(index, &mut Found::default());
    let (lost, late) = (account.lost as u64, account.late as u64);
    let good = if whole {
        let Counted { queued, .. } = *counted;
        // Some of what was dropped may have been read from the history.
        let arrived = told.queued <= queued + counted.dropped && queued <= told.queued + late;
        arrived && Counted { queued, ..told } == *counted
    } else {
        let dropped = told.dropped <= counted.dropped && counted.dropped <= told.dropped + lost;
        dropped && told.passed_dropped <= counted.passed_dropped
    };
    if !good {
        let text = format!("told {told:?}, {lost} lost with connections, {late} late; {:?}", counted);
        found.add(RoomRule::Counts, text);
    }
}
