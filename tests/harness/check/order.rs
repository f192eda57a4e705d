//! Order in time: I6, I7, I9, I18.

use std::collections::{BTreeSet, HashMap, HashSet};

use quail_protocol::{Epoch, Position, Priority};

use super::{
    Found, Rule,
    index::{Index, Key, Outcome, place},
};
use crate::history::{Device, Thread, What};

pub(super) fn check(index: &Index<'_>, found: &mut Found) {
    fifo(index, found);
    real_time(index, found);
    epochs(index, found);
    fence(index, found);
}

/// I6.
fn fifo(index: &Index<'_>, found: &mut Found) {
    let mut last = HashMap::<(&Device, &Thread, Priority, u32), (Position, usize)>::new();
    for send in &index.sends {
        let Some(answer) = send.answer else { continue };
        let Outcome::Acked(position) = answer.outcome else { continue };
        let once = index.by_key.get(&send.key).is_some_and(|sends| sends.len() == 1);
        if !once || answer.state.session != send.state.session {
            continue;
        }
        let lane = (send.device, send.key.1, send.priority, send.state.session);
        if let Some((before, earlier)) = last.insert(lane, (position, send.record))
            && position <= before
        {
            let [one, two] = [earlier, send.record].map(|record| index.tell(record));
            let text = format!("{one} is at {}, {two} at {}", place(before), place(position));
            found.add(Rule::I6, text);
        }
    }
}

/// I7, and epochs that go back.
fn real_time(index: &Index<'_>, found: &mut Found) {
    let mut floors = HashMap::<&Thread, (Position, usize)>::new();
    let mut begun = HashMap::<Key<'_>, Option<(Position, usize)>>::new();
    let mut told = HashSet::<Key<'_>>::new();
    let (mut sends, mut seen) = (index.sends.iter().peekable(), index.seen.iter().peekable());
    for record in 0..index.history.len() {
        while let Some(send) = sends.next_if(|send| send.record == record) {
            begun.entry(send.key).or_insert_with(|| floors.get(send.key.1).copied());
        }
        while let Some(seen) = seen.next_if(|seen| seen.record == record) {
            let floor = floors.entry(seen.key.1).or_insert((seen.position, record));
            if seen.position > floor.0 {
                *floor = (seen.position, record);
            }
            let Some(Some((floor, witness))) = begun.get(&seen.key) else { continue };
            if seen.position > *floor || !told.insert(seen.key) {
                continue;
            }
            let rule = if seen.position.epoch < floor.epoch { Rule::I9 } else { Rule::I7 };
            let send = index.sendings(&seen.key).next().map_or(record, |send| send.record);
            let [known, sent, placed] = [*witness, send, record].map(|record| index.tell(record));
            let at = [*floor, seen.position].map(place);
            found.add(rule, format!("{} was known from {known}, then {sent} got {}: {placed}", at[0], at[1]));
        }
    }
}

/// I9: no more epochs than planned steps.
fn epochs(index: &Index<'_>, found: &mut Found) {
    let mut known = HashMap::<&Thread, BTreeSet<Epoch>>::new();
    let mut seen = index.seen.iter().peekable();
    for (record, at) in index.history.iter().enumerate() {
        let mut now = Vec::new();
        while let Some(seen) = seen.next_if(|seen| seen.record == record) {
            now.push((seen.key.1, seen.position.epoch));
        }
        if let What::Resumed { thread, head, .. } | What::Log { thread, head, .. } = &at.what {
            now.push((thread, head.epoch));
        }
        for (thread, epoch) in now {
            let epochs = known.entry(thread).or_default();
            let possible = index.steps.partition_point(|(from, _)| *from <= record);
            if epochs.insert(epoch) && epochs.len() > possible + 1 {
                let text = format!("epoch {} of {epochs:?} after {possible} planned steps", epoch.0);
                found.add(Rule::I9, format!("{text}: {}", index.tell(record)));
            }
        }
    }
}

/// I18.
fn fence(index: &Index<'_>, found: &mut Found) {
    for send in index.sends.iter().filter(|send| send.state.kicked) {
        let Some(answer) = send.answer else { continue };
        if matches!(answer.outcome, Outcome::Acked(_)) && answer.state.kicked {
            let [sent, acked] = [send.record, answer.record].map(|record| index.tell(record));
            found.add(Rule::I18, format!("after the session's end {sent} got {acked}"));
        }
    }
}
