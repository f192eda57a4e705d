//! What apps are handed: I4, I5, I20, and what a resumed device gets too late (I15).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use quail_protocol::{Epoch, Position, Priority, Seq};

use super::{
    Found, LAG, Rule,
    index::{Index, Key, Source, place},
    place::gone,
};
use crate::history::{Answer, Device, Entry, Thread, What};

/// What a device has of a thread in the present life of its app.
pub(super) struct Follow {
    since: usize,
    /// Nothing up to here is owed.
    pub(super) base: Position,
    /// It resumed: what stands behind `base` is owed for certain.
    resumed: bool,
    pub(super) received: HashSet<Position>,
    last: HashMap<(Epoch, Priority), (Position, usize)>,
    /// Up to here the app was told that it misses something.
    pub(super) gap: Position,
    holes: Vec<Hole>,
    /// The cursor that was said to be caught up, by which record, and when the connection before was lost.
    caught_up: Option<(Position, usize, Duration)>,
}

struct Hole {
    missing: Position,
    at: Duration,
    text: String,
}

impl Follow {
    fn new(since: usize, base: Position) -> Self {
        Self {
            since,
            base,
            resumed: false,
            received: HashSet::new(),
            last: HashMap::new(),
            gap: Position::default(),
            holes: Vec::new(),
            caught_up: None,
        }
    }

    /// True if nothing is owed at `position`.
    pub(super) fn covers(&self, position: Position) -> bool {
        position <= self.base.max(self.gap) || self.received.contains(&position)
    }

    /// What was seen at about the same time as the first may have been the first.
    fn starts(&mut self, index: &Index<'_>, key: &Key<'_>, record: usize, position: Position) {
        let begun = index.sendings(key).next().is_some_and(|send| send.record < self.since);
        if begun && !self.resumed && index.time(record) <= index.time(self.since) + LAG {
            self.base = self.base.max(position);
        }
    }
}

/// Every device's threads.
pub(super) type Follows<'a> = HashMap<&'a Device, HashMap<&'a Thread, Follow>>;

#[derive(Default)]
struct Terminal<'a> {
    run: u32,
    down: Option<Duration>,
    /// Where each message was handed to this life of the app.
    handed: HashMap<Key<'a>, (Position, usize)>,
}

pub(super) fn check<'a>(index: &Index<'a>, found: &mut Found) -> Follows<'a> {
    let mut follows = Follows::new();
    let mut terminals = HashMap::<&Device, Terminal<'_>>::new();
    let acked = acked(index);
    for (record, at) in index.history.iter().enumerate() {
        let Some(device) = &at.device else { continue };
        let terminal = terminals.entry(device).or_default();
        let threads = follows.entry(device).or_default();
        match &at.what {
            What::Disconnected => {
                terminal.down = Some(at.at);
                threads.values_mut().for_each(|follow| follow.caught_up = None);
            }
            What::AppRestarted { kept } => {
                terminal.run += 1;
                terminal.down = Some(at.at);
                if !kept {
                    terminal.handed.clear();
                    for follow in std::mem::take(threads).into_values() {
                        report(follow.holes, found);
                    }
                }
            }
            What::Acked { id, thread, position, .. } => {
                let follow = threads.entry(thread).or_insert_with(|| Follow::new(record, *position));
                follow.starts(index, &(&device.user, thread, *id), record, *position);
            }
            What::Gap { thread, through, .. } => {
                let follow = threads.entry(thread).or_insert_with(|| Follow::new(record, *through));
                follow.gap = follow.gap.max(*through);
                let told = |hole: &Hole| hole.missing <= *through && at.at <= hole.at + LAG;
                follow.holes.retain(|hole| !told(hole));
            }
            What::Resumed { thread, cursor, answer, .. } => {
                let from = index.cursor(thread, *cursor);
                let follow = threads.entry(thread).or_insert_with(|| Follow::new(record, from));
                if matches!(answer, Answer::CaughtUp | Answer::Replay) {
                    follow.base = follow.base.min(from);
                    follow.resumed = true;
                }
                let caught_up = *answer == Answer::CaughtUp;
                follow.caught_up = terminal.down.filter(|_| caught_up).map(|down| (*cursor, record, down));
            }
            What::Received { thread, entry } => {
                if device.user != thread.0 && device.user != thread.1 {
                    found.add(Rule::I20, index.tell(record));
                }
                let key = (&entry.sender, thread, entry.id);
                once(index, device, terminal, key, entry, record, found);
                let follow = threads.entry(thread).or_insert_with(|| Follow::new(record, entry.position));
                if follow.received.is_empty() {
                    follow.starts(index, &key, record, entry.position);
                }
                stale(index, follow, acked.get(&key), entry, record, found);
                in_order(index, follow, entry, record, found);
                if let Some(missing) = skipped(index, device, follow, thread, entry)
                    && !index.is_rolled_back(thread, missing)
                {
                    let text = format!("{} was skipped: {}", place(missing), index.tell(record));
                    follow.holes.push(Hole { missing, at: at.at, text });
                }
                follow.received.insert(entry.position);
            }
            _ => {}
        }
    }
    for follow in follows.values_mut().flat_map(|threads| threads.values_mut()) {
        report(std::mem::take(&mut follow.holes), found);
    }
    follows
}

/// When each message was acknowledged first.
fn acked<'a>(index: &Index<'a>) -> HashMap<Key<'a>, usize> {
    let mut acked = HashMap::new();
    for seen in index.seen.iter().filter(|seen| seen.source == Source::Ack) {
        acked.entry(seen.key).or_insert(seen.record);
    }
    acked
}

fn report(holes: Vec<Hole>, found: &mut Found) {
    for hole in holes {
        found.add(Rule::I5, hole.text);
    }
}

/// I4, as far as an app goes.
fn once<'a>(
    index: &Index<'a>,
    device: &Device,
    terminal: &mut Terminal<'a>,
    key: Key<'a>,
    entry: &Entry,
    record: usize,
    found: &mut Found,
) {
    let own = index
        .sendings(&key)
        .find(|send| send.device == device && send.run == terminal.run && send.record < record);
    if let Some(send) = own {
        let [sent, received] = [send.record, record].map(|record| index.tell(record));
        found.add(Rule::I4, format!("{sent} came back to its sender: {received}"));
    }
    let Some((before, earlier)) = terminal.handed.insert(key, (entry.position, record)) else { return };
    let again = entry.position.epoch > before.epoch && gone(index, key.1, before);
    if !again {
        let [one, two] = [earlier, record].map(|record| index.tell(record));
        found.add(Rule::I4, format!("handed out twice: {one} and {two}"));
    }
}

/// I15: a device that was caught up is handed something that had long been there.
fn stale(
    index: &Index<'_>,
    follow: &Follow,
    acked: Option<&usize>,
    entry: &Entry,
    record: usize,
    found: &mut Found,
) {
    let (Some((cursor, resumed, down)), Some(&acked)) = (follow.caught_up, acked) else { return };
    let newer = entry.position.epoch == cursor.epoch && entry.position.seq > cursor.seq;
    if newer && index.time(acked) + LAG <= down {
        let [acked, resumed, received] = [acked, resumed, record].map(|record| index.tell(record));
        found.add(Rule::I15, format!("{acked}, then {resumed}, then {received}"));
    }
}

/// I5: numbers of a priority go up.
fn in_order(index: &Index<'_>, follow: &mut Follow, entry: &Entry, record: usize, found: &mut Found) {
    let lane = (entry.position.epoch, entry.priority);
    let last = follow.last.entry(lane).or_insert((entry.position, record));
    if last.1 != record && entry.position.seq <= last.0.seq {
        let [one, two] = [last.1, record].map(|record| index.tell(record));
        found.add(Rule::I5, format!("{one}, then {two}"));
    }
    if entry.position >= last.0 {
        *last = (entry.position, record);
    }
}

/// I5: the message of the same priority before `entry` that the app should have had first.
fn skipped<'a>(
    index: &Index<'a>,
    device: &Device,
    follow: &Follow,
    thread: &'a Thread,
    entry: &Entry,
) -> Option<Position> {
    let mut prev = entry.prev;
    let mut below = entry.position.seq;
    // Numbers that do not go down are I3's.
    while prev > Seq(0) && prev < below {
        let Some(seen) = index.incarnation(thread, prev, entry.position.epoch) else {
            // Nobody saw it: it may be an own one without an answer that is no longer kept.
            let unanswered = index.unanswered.contains(&(device, thread));
            let missing = Position { epoch: entry.position.epoch, seq: prev };
            let owed = prev > follow.base.seq.max(follow.gap.seq) && !unanswered;
            return owed.then_some(missing);
        };
        if follow.covers(seen.position) {
            return None;
        }
        if !index.is_own(&seen.key, device) {
            return Some(seen.position);
        }
        (below, prev) = (prev, seen.prev);
    }
    None
}
