//! What everything came to: I15 and I22.

use std::collections::HashMap;

use quail_protocol::{Position, Seq};

use super::{
    Found, Rule, SETTLED_WITHIN,
    device::{Follow, Follows},
    index::{Index, Log, place},
};
use crate::history::{Answer, Device, Thread, What};

/// What a device lacks of each thread at the end, in order.
type Missing<'a> = HashMap<(&'a Device, &'a Thread), Vec<Position>>;

pub(super) fn check<'a>(index: &Index<'a>, follows: &Follows<'a>, found: &mut Found) {
    truthful(index, found);
    let Some(healed) = index.healed else { return };
    answered(index, healed, found);
    let online = online(index, found);
    let mut missing = Missing::new();
    for (device, threads) in follows.iter().filter(|(device, _)| online.contains_key(*device)) {
        for (thread, follow) in threads {
            let Some(log) = index.logs.get(thread) else { continue };
            let lacks = lacks(index, device, thread, follow, log);
            if let Some(first) = lacks.first() {
                let text = format!(
                    "{}/{} lacks {} places from {}",
                    device.user,
                    device.name,
                    lacks.len(),
                    place(*first)
                );
                found.add(Rule::I22, format!("{text}: {}", index.tell(log.record)));
                missing.insert((device, thread), lacks);
            }
        }
    }
    announced(index, follows, &online, &missing, found);
}

/// I22: every call ends in time.
fn answered(index: &Index<'_>, healed: usize, found: &mut Found) {
    let end = index.history.last().map(|record| record.at).unwrap_or_default();
    for send in index.sends.iter().filter(|send| !send.abandoned) {
        let due = index.time(send.record).max(index.time(healed)) + SETTLED_WITHIN;
        match send.answer {
            Some(answer) if answer.record < healed || index.time(answer.record) <= due => {}
            Some(answer) => {
                let [sent, answered] = [send.record, answer.record].map(|record| index.tell(record));
                found.add(Rule::I22, format!("{sent} was answered late: {answered}"));
            }
            None if end > due || send.record < index.reading && index.reading < index.history.len() => {
                found.add(Rule::I22, format!("never answered: {}", index.tell(send.record)));
            }
            None => {}
        }
    }
}

/// The devices that are logged in when the test begins to read, with the record that says so.
fn online<'a>(index: &Index<'a>, found: &mut Found) -> HashMap<&'a Device, usize> {
    let mut last = HashMap::<&Device, usize>::new();
    let mut kicked = HashMap::<&Device, bool>::new();
    for (record, at) in index.history[..index.reading].iter().enumerate() {
        let Some(device) = &at.device else { continue };
        match at.what {
            What::KickedOut => _ = kicked.insert(device, true),
            What::LoggedIn { .. } | What::AppRestarted { .. } => _ = kicked.insert(device, false),
            What::Disconnected => {}
            _ => continue,
        }
        last.insert(device, record);
    }
    last.retain(|device, record| {
        let online = matches!(index.history[*record].what, What::LoggedIn { .. });
        if !online && !kicked.get(device).copied().unwrap_or_default() {
            found.add(Rule::I22, format!("never came back: {}", index.tell(*record)));
        }
        online
    });
    last
}

fn lacks<'a>(
    index: &Index<'a>,
    device: &Device,
    thread: &'a Thread,
    follow: &Follow,
    log: &Log<'_>,
) -> Vec<Position> {
    let places = index.places.get(thread).map(Vec::as_slice).unwrap_or_default();
    let owed = &places[places.partition_point(|place| *place <= follow.base.max(follow.gap))..];
    let own = |position: Position| {
        let seen = index.at.get(&(thread, position)).map(|seen| &index.seen[*seen]);
        seen.is_some_and(|seen| index.is_own(&seen.key, device))
    };
    let lacks = |position: &Position| {
        !follow.covers(*position) && !own(*position) && !index.is_rolled_back(thread, *position)
    };
    owed.iter().copied().take_while(|position| *position <= log.head).filter(lacks).collect()
}

/// I15: what an answer says by itself.
fn truthful(index: &Index<'_>, found: &mut Found) {
    for (record, at) in index.history.iter().enumerate() {
        let What::Resumed { thread, cursor, head, answer } = &at.what else { continue };
        let knows = cursor.seq > Seq(0);
        let wrong = match answer {
            Answer::CaughtUp | Answer::Replay | Answer::Trimmed if knows && cursor.epoch != head.epoch => {
                Some("the cursor is of another epoch".into())
            }
            Answer::Trimmed => index
                .logs
                .get(thread)
                .filter(|log| log.head.epoch == cursor.epoch && log.first <= cursor.seq.next())
                .map(|log| format!("everything from {} on is kept", log.first.0)),
            Answer::EpochChanged if head.epoch <= cursor.epoch => Some("the epoch is none newer".into()),
            Answer::EpochChanged if knows && index.steps.first().is_none_or(|(from, _)| *from > record) => {
                Some("no epoch step was planned".into())
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            found.add(Rule::I15, format!("{wrong}: {}", index.tell(record)));
        }
    }
}

/// I15: what an answer, or a device, says to be complete is there at the end.
fn announced<'a>(
    index: &Index<'a>,
    follows: &Follows<'a>,
    online: &HashMap<&'a Device, usize>,
    missing: &Missing<'a>,
    found: &mut Found,
) {
    let mut lives = HashMap::<&Device, usize>::new();
    for (record, at) in index.history.iter().enumerate() {
        if let (Some(device), What::AppRestarted { kept: false }) = (&at.device, &at.what) {
            lives.insert(device, record);
        }
    }
    for (record, at) in index.history.iter().enumerate() {
        let Some(device) = at.device.as_ref().filter(|device| online.contains_key(device)) else { continue };
        if lives.get(device).is_some_and(|life| record < *life) {
            continue;
        }
        let (thread, after, to) = match &at.what {
            What::Resumed { thread, cursor, answer: Answer::Trimmed, .. } => {
                let follow = follows.get(device).and_then(|threads| threads.get(thread));
                if follow.is_none_or(|follow| follow.gap <= index.cursor(thread, *cursor)) {
                    found.add(Rule::I15, format!("no gap followed {}", index.tell(record)));
                }
                continue;
            }
            What::Resumed { thread, cursor, head, answer: Answer::CaughtUp | Answer::Replay } => {
                (thread, index.cursor(thread, *cursor), *head)
            }
            What::Complete { thread, through } => (thread, Position::default(), *through),
            _ => continue,
        };
        let lacks = missing.get(&(device, thread)).map(Vec::as_slice).unwrap_or_default();
        if let Some(first) = lacks.get(lacks.partition_point(|position| *position <= after))
            && *first <= to
        {
            found.add(Rule::I15, format!("{} never came: {}", place(*first), index.tell(record)));
        }
    }
}
