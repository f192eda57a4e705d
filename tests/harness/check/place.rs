//! What stands where: I1, I2, I3, I4, I17, and the numbers of I9.

use std::collections::{HashMap, HashSet, hash_map::Entry as Slot};

use quail_protocol::{Position, Priority, Seq};

use super::{
    Found, Rule,
    index::{Index, Key, Log, Outcome, Seen, Source, place},
};
use crate::history::Thread;

pub(super) fn check(index: &Index<'_>, found: &mut Found) {
    for seen in &index.seen {
        sent(index, seen, found);
        lost(index, seen, found);
    }
    one_function(index, found);
    one_place(index, found);
    for (thread, log) in &index.logs {
        dense(index, thread, log, found);
    }
    unknown(index, found);
}

/// I2.
fn sent(index: &Index<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Some(first) = index.sendings(&seen.key).next() else {
        return found.add(Rule::I2, format!("never sent: {} ({})", index.tell(seen.record), seen.key.2));
    };
    if first.record > seen.record {
        let text = format!("{} before {}", index.tell(seen.record), index.tell(first.record));
        found.add(Rule::I2, text);
    }
    if let Some(content) = seen.content
        && index.sendings(&seen.key).all(|send| (send.priority, send.hash) != content)
    {
        let text = format!("{} of {:?} {:?}", index.tell(first.record), index.tell(seen.record), seen.key.2);
        found.add(Rule::I2, format!("priority or content differs: {text}"));
    }
}

/// I1.
fn lost(index: &Index<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Some(log) = index.logs.get(seen.key.1) else { return };
    let Position { epoch, seq } = seen.position;
    if seen.source != Source::Ack || seen.record > log.record || epoch < log.head.epoch || seq < log.first {
        return;
    }
    let stands = log
        .places
        .get(&seen.position)
        .is_some_and(|entry| (&entry.sender, entry.id) == (seen.key.0, seen.key.2));
    if !stands {
        found.add(Rule::I1, format!("{} is not in {}", index.tell(seen.record), index.tell(log.record)));
    }
}

/// I3 between any two that saw a place, and I9 between two acks.
fn one_function(index: &Index<'_>, found: &mut Found) {
    let mut acked = HashMap::<(&Thread, Position), &Seen<'_>>::new();
    let mut priorities = HashMap::<(&Thread, Position), (Priority, usize)>::new();
    for seen in &index.seen {
        let at = (seen.key.1, seen.position);
        let first = index.at.get(&at).map(|first| &index.seen[*first]);
        if let Some(first) = first
            && (first.key, first.prev) != (seen.key, seen.prev)
        {
            let both = [first, seen].map(|seen| {
                format!(
                    "{:?} of {} after {} in {}",
                    seen.key.2,
                    seen.key.0,
                    seen.prev.0,
                    index.tell(seen.record)
                )
            });
            found.add(Rule::I3, format!("at {}: {}", place(seen.position), both.join(" and ")));
        }
        let sent = || index.sendings(&seen.key).next().map(|send| send.priority);
        if let Some(priority) = seen.content.map(|(priority, _)| priority).or_else(sent) {
            let (other, record) = *priorities.entry(at).or_insert((priority, seen.record));
            if other != priority {
                let [one, two] = [record, seen.record].map(|record| index.tell(record));
                let text = format!("{other:?} and {priority:?} at {}: {one} and {two}", place(seen.position));
                found.add(Rule::I3, text);
            }
        }
        if seen.source == Source::Ack {
            let first = *acked.entry(at).or_insert(seen);
            if first.key != seen.key {
                let [one, two] = [first, seen].map(|seen| index.tell(seen.record));
                found.add(Rule::I9, format!("{} was given twice: {one} and {two}", place(seen.position)));
            }
        }
    }
}

/// I4, as far as places go.
fn one_place(index: &Index<'_>, found: &mut Found) {
    let mut newest = HashMap::<Key<'_>, &Seen<'_>>::new();
    for seen in &index.seen {
        let first = match newest.entry(seen.key) {
            Slot::Vacant(slot) => {
                slot.insert(seen);
                continue;
            }
            Slot::Occupied(mut slot) => {
                let first = *slot.get();
                if seen.position > first.position {
                    slot.insert(seen);
                }
                first
            }
        };
        let older = first.position.min(seen.position);
        let again = first.position.epoch != seen.position.epoch && gone(index, seen.key.1, older);
        if first.position != seen.position && !again {
            let [one, two] = [first, seen].map(|seen| index.tell(seen.record));
            let [at, other] = [first, seen].map(|seen| place(seen.position));
            found.add(Rule::I4, format!("{:?} at {at} and {other}: {one} and {two}", seen.key.2));
        }
    }
}

/// True if what stood at a place of an older epoch may be placed again.
pub(super) fn gone(index: &Index<'_>, thread: &Thread, position: Position) -> bool {
    !index.logs.contains_key(thread) || index.is_rolled_back(thread, position)
}

/// I3 inside the log: every number from the first to the head, each after the one before it of its priority.
fn dense(index: &Index<'_>, thread: &Thread, log: &Log<'_>, found: &mut Found) {
    let witness = || index.tell(log.record);
    let mut last = [None::<Seq>; Priority::COUNT];
    let mut before = None::<Position>;
    let mut start = log.first;
    for entry in log.entries {
        let Position { epoch, seq } = entry.position;
        let expected = before.map_or(log.first.max(Seq(1)), |before| before.seq.next());
        let anew = before.is_some_and(|before| epoch > before.epoch) && seq == Seq(1);
        if anew {
            last = Default::default();
            start = seq;
        }
        if !anew && (seq != expected || before.is_some_and(|before| epoch < before.epoch)) {
            let text = format!("{} where {} should be: {}", place(entry.position), expected.0, witness());
            found.add(Rule::I3, text);
        }
        let prev = last[entry.priority.index()].replace(seq);
        if prev.map_or(entry.prev >= start.max(Seq(1)), |prev| prev != entry.prev) {
            let text = format!(
                "{} of {:?} says {} was before it",
                place(entry.position),
                entry.priority,
                entry.prev.0
            );
            found.add(Rule::I3, format!("{text}, not {:?}: {}", prev.map(|prev| prev.0), witness()));
        }
        before = Some(entry.position);
    }
    let end = before.map_or(Seq(log.first.0.saturating_sub(1)), |before| before.seq);
    let restarted = before.is_some_and(|before| before.epoch < log.head.epoch) && log.head.seq == Seq(0);
    if log.head.seq > end || before.is_some() && log.head.seq < end && !restarted {
        let text = format!("the log of {}+{} ends at {}", thread.0, thread.1, end.0);
        found.add(Rule::I3, format!("{text}: {}", witness()));
    }
}

/// I17.
fn unknown(index: &Index<'_>, found: &mut Found) {
    let mut logged = HashMap::<Key<'_>, usize>::new();
    let mut placed = HashSet::<Key<'_>>::new();
    for seen in &index.seen {
        // A repetition of what was rolled back may be refused.
        if index.steps.is_empty() || !gone(index, seen.key.1, seen.position) {
            placed.insert(seen.key);
        }
        let last = index.logs.get(seen.key.1).is_some_and(|log| log.record == seen.record);
        *logged.entry(seen.key).or_default() += usize::from(last);
    }
    for (key, sends) in &index.by_key {
        let mut outcomes = sends.iter().map(|send| index.sends[*send].answer.map(|answer| answer.outcome));
        let first = index.tell(index.sends[sends[0]].record);
        let times = logged.get(key).copied().unwrap_or_default();
        if sends.len() == 1 && outcomes.clone().all(|outcome| outcome == Some(Outcome::Refused)) {
            if placed.contains(key) {
                found.add(Rule::I17, format!("refused, and placed all the same: {first}"));
            }
        } else if times > 1 && outcomes.any(|outcome| !matches!(outcome, Some(Outcome::Acked(_)))) {
            found.add(Rule::I17, format!("placed {times} times: {first}"));
        }
    }
}
