//! What a device was handed while it was in a room.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use quail_protocol::{Epoch, Position, Priority, Seq, id::RoomId, message::BehindCause};

use super::{
    Found, RoomRule,
    index::{Index, Placed},
};
use crate::history::{Device, Entry, InRoom, Record, What};

/// Whatever comes yet comes by chance.
const NOTHING_COMES: Seq = Seq(u64::MAX - 1);

/// How a stay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The device is still in.
    Open,
    /// It left or was put out. What was under way is discarded.
    Left,
    /// Its session was lost.
    Lost,
}

/// What the app was told during a stay.
enum Told<'a> {
    Message(&'a Entry),
    Gap(Priority, Seq, u32),
    /// Nothing up to here comes any more.
    Behind(Seq),
    /// The connection was lost, and another stood when this record was written.
    Broken(usize),
}

pub(super) struct Stay<'a> {
    pub(super) device: &'a Device,
    pub(super) room: &'a RoomId,
    epoch: Epoch,
    from: Seq,
    /// Nothing behind this belongs to it.
    upto: Seq,
    end: End,
    began: usize,
    ended: usize,
    /// The app was told that it is out as it asked to be.
    parted: bool,
    told: Vec<(usize, Told<'a>)>,
}

/// What became of the messages of a stay.
pub(super) struct Account {
    /// So many may have been lost with connections.
    pub(super) lost: usize,
    /// So many may have been discarded: the device had left, or its app was told not to expect them.
    pub(super) late: usize,
}

/// What the count of a gap can be held against.
#[derive(Clone, Copy)]
struct Exact {
    /// No message was read from the history: none that was dropped was handed out.
    most: bool,
    /// The device is still in: nothing was discarded on the way.
    least: bool,
}

#[derive(Default)]
pub(super) struct Stays<'a> {
    pub(super) all: Vec<Stay<'a>>,
    /// Rooms that a device may have come into without knowing, and when: it asked, and no answer came.
    maybe: HashMap<(&'a Device, &'a RoomId), Vec<Range<usize>>>,
    outside: Vec<usize>,
}

impl<'a> Stays<'a> {
    pub(super) fn new(index: &Index<'a>) -> Self {
        let mut stays = Self::default();
        stays.gather(index);
        for at in 0..stays.all.len() {
            let stay = &stays.all[at];
            let next = stays.all[at + 1..].iter().find(|next| next.is_of(stay.device, stay.room, stay.epoch));
            let upto = next.map_or(stay.upto, |next| stay.upto.min(next.from));
            stays.all[at].upto = upto;
        }
        stays.assign(index);
        stays.all.iter_mut().for_each(|stay| stay.told.sort_by_key(|(record, _)| *record));
        stays
    }

    fn open(&mut self, device: &Device, room: &RoomId) -> Option<&mut Stay<'a>> {
        self.last(device, room).filter(|stay| stay.end == End::Open)
    }

    fn last(&mut self, device: &Device, room: &RoomId) -> Option<&mut Stay<'a>> {
        self.all.iter_mut().rfind(|stay| stay.device == device && stay.room == room)
    }

    fn gather(&mut self, index: &Index<'a>) {
        let mut asking = HashMap::<_, usize>::new();
        let mut unheard = Vec::new();
        for (record, at) in index.history.iter().enumerate() {
            let Some(device) = &at.device else { continue };
            if at.what == What::KickedOut {
                let theirs =
                    self.all.iter_mut().filter(|stay| stay.device == device && stay.end == End::Open);
                theirs.for_each(|stay| (stay.end, stay.ended) = (End::Lost, record));
            }
            let What::Room { room, what } = &at.what else { continue };
            match what {
                InRoom::Entering => {
                    let before = asking.insert((device, room), record);
                    unheard.extend(before.map(|since| ((device, room), since)));
                }
                InRoom::NotLetIn => _ = asking.remove(&(device, room)),
                InRoom::Entered { head } => {
                    asking.remove(&(device, room));
                    if let Some(open) = self.open(device, room) {
                        (open.end, open.ended) = (End::Lost, record);
                    }
                    let (epoch, from, upto, end) = (head.epoch, head.seq, Seq(u64::MAX), End::Open);
                    let (began, ended, parted, told) = (record, index.history.len(), false, Vec::new());
                    self.all.push(Stay { device, room, epoch, from, upto, end, began, ended, parted, told });
                }
                InRoom::Left { last } => {
                    let known = |stay: &&mut Stay<'a>| stay.end == End::Open || stay.parted;
                    let of = |stay: &&mut Stay<'a>| stay.epoch == last.epoch;
                    if let Some(left) = self.last(device, room).filter(known).filter(of) {
                        (left.end, left.ended, left.upto) = (End::Left, record, last.seq);
                    }
                }
                InRoom::Parted => {
                    if let Some(open) = self.open(device, room) {
                        (open.end, open.ended, open.parted) = (End::Lost, record, true);
                    }
                }
                InRoom::Behind { cause: BehindCause::NotMember, .. } => {
                    if let Some(open) = self.open(device, room) {
                        (open.end, open.ended) = (End::Lost, record);
                        open.told.push((record, Told::Behind(NOTHING_COMES)));
                    }
                }
                _ => {}
            }
        }
        for ((device, room), since) in unheard.into_iter().chain(asking) {
            // Another session is in no room.
            let is_anew = |at: &Record| {
                at.device.as_ref() == Some(device) && matches!(at.what, What::LoggedIn { resumed: false, .. })
            };
            let anew = index.history[since..].iter().position(is_anew);
            let until = anew.map_or(index.history.len(), |anew| since + anew);
            self.maybe.entry((device, room)).or_default().push(since..until);
        }
    }

    fn assign(&mut self, index: &Index<'a>) {
        for (record, at) in index.history.iter().enumerate() {
            let Some(device) = &at.device else { continue };
            if matches!(at.what, What::Disconnected) {
                let next = index.history[record..]
                    .iter()
                    .position(|next| {
                        next.device.as_ref() == Some(device) && matches!(next.what, What::LoggedIn { .. })
                    })
                    .map_or(index.history.len(), |next| record + next);
                let during = |stay: &&mut Stay<'a>| stay.began < record && record <= stay.ended;
                let theirs = self.all.iter_mut().filter(|stay| stay.device == device).filter(during);
                theirs.for_each(|stay| stay.told.push((record, Told::Broken(next))));
            }
            let What::Room { room, what } = &at.what else { continue };
            let (position, told) = match what {
                InRoom::Received { entry } => (entry.position, Told::Message(entry)),
                InRoom::Gap { priority, through, count } => {
                    (*through, Told::Gap(*priority, through.seq, *count))
                }
                InRoom::Behind { cause: BehindCause::NotMember, .. } => continue,
                InRoom::Behind { head, .. } => {
                    // A slow app learns late of what an epoch before came to.
                    let of =
                        |stay: &&mut Stay<'a>| stay.is_of(device, room, head.epoch) && stay.began < record;
                    let known = self.all.iter_mut().rfind(of).is_some();
                    let stay =
                        if known { self.all.iter_mut().rfind(of) } else { self.during(device, room, record) };
                    if let Some(stay) = stay {
                        let through = if stay.epoch == head.epoch { head.seq } else { NOTHING_COMES };
                        stay.told.push((record, Told::Behind(through)));
                    }
                    continue;
                }
                _ => continue,
            };
            match self.all.iter_mut().find(|stay| stay.holds(device, room, position)) {
                Some(stay) => stay.told.push((record, told)),
                None if self.maybe.contains_key(&(device, room)) => {}
                None => self.outside.push(record),
            }
        }
    }

    fn during(&mut self, device: &Device, room: &RoomId, record: usize) -> Option<&mut Stay<'a>> {
        self.all.iter_mut().rfind(|stay| stay.device == device && stay.room == room && stay.began < record)
    }

    /// Goes through all stays.
    pub(super) fn accounts(&self, index: &Index<'_>, found: &mut Found) -> Account {
        let mut sum = Account { lost: 0, late: 0 };
        for (at, stay) in self.all.iter().enumerate() {
            let returned = self.all[..at].iter().any(|other| other.is_of(stay.device, stay.room, stay.epoch));
            let account = stay.account(index, returned, found);
            sum.lost += account.lost;
            sum.late += account.late;
        }
        sum.lost += self.unheard(index);
        sum
    }

    /// How much others placed while a device may have been in without knowing: what was dropped of that may be told to
    /// nobody.
    fn unheard(&self, index: &Index<'_>) -> usize {
        let of = |(device, room): (&Device, &RoomId), times: &[Range<usize>]| {
            let rooms = index.placed.iter().filter(|((other, _), _)| *other == room);
            let others = rooms
                .flat_map(|(_, placed)| placed.values())
                .filter(|placed| !index.is_own(placed.id, device));
            // What was seen before that was placed before, and what was sent after it after.
            let during = |placed: &&Placed, time: &Range<usize>| {
                let sent = index.sends.get(&placed.id).map_or(0, |send| send.record);
                placed.record > time.start && sent < time.end
            };
            others.filter(|placed| times.iter().any(|time| during(placed, time))).count()
        };
        self.maybe.iter().map(|(key, times)| of(*key, times)).sum()
    }

    /// True if what stands at `position` belongs to a stay of a device, as far as one can know.
    pub(super) fn holds(&self, device: &Device, room: &RoomId, position: Position) -> bool {
        let held = self.all.iter().any(|stay| stay.holds(device, room, position));
        held || self.maybe.contains_key(&(device, room))
    }

    /// The same for what the device said in `record`, which may be placed after it left.
    pub(super) fn may_say(&self, device: &Device, room: &RoomId, position: Position, record: usize) -> bool {
        let said = |stay: &Stay<'_>| (stay.began..stay.ended).contains(&record) && stay.from < position.seq;
        let mut theirs = self.all.iter().filter(|stay| stay.is_of(device, room, position.epoch));
        self.holds(device, room, position) || theirs.any(said)
    }
}

impl Stay<'_> {
    fn is_of(&self, device: &Device, room: &RoomId, epoch: Epoch) -> bool {
        self.device == device && self.room == room && self.epoch == epoch
    }

    fn holds(&self, device: &Device, room: &RoomId, position: Position) -> bool {
        (self.from.next()..=self.upto).contains(&position.seq) && self.is_of(device, room, position.epoch)
    }

    /// Goes through what was told, in the order in which it was.
    ///
    /// `returned` to a room that it had left before in the same epoch: of what was dropped before that, notices may wait
    /// yet, and are one with those of this stay.
    fn account(&self, index: &Index<'_>, returned: bool, found: &mut Found) -> Account {
        let (from, handed) = ([self.from; Priority::COUNT], HashSet::new());
        let mut walk = Walk { stay: self, index, covered: from, last: from, handed };
        // An answer that comes late looks like a hole, which is read from the history.
        let speaks = index.sends.values().any(|send| send.device == self.device && send.room == self.room);
        let broken = returned || speaks || self.told.iter().any(|(_, told)| matches!(told, Told::Broken(_)));
        let mut account = Account { lost: 0, late: 0 };
        for (record, told) in &self.told {
            match told {
                Told::Message(entry) => walk.message(entry, *record, found),
                Told::Gap(priority, through, count) => {
                    let late = self.end == End::Left && *record > self.ended;
                    let exact = Exact { most: !broken, least: !late };
                    walk.gap(*priority, *through, *count as usize, exact, *record, found);
                }
                Told::Behind(through) => {
                    walk.covered.iter_mut().for_each(|covered| *covered = (*covered).max(*through));
                }
                Told::Broken(until) => account.lost += walk.missing().filter(|sent| sent.1 < *until).count(),
            }
        }
        if self.end == End::Left
            || self.parted
            || self.told.iter().any(|(_, told)| matches!(told, Told::Behind(_)))
        {
            account.late = walk.unhanded();
        }
        match self.end {
            End::Open => {
                if let Some((seq, sent)) = walk.missing().next() {
                    let text = format!("{:?} never got {seq:?} of {}: ", self.device, self.room);
                    found.add(RoomRule::Complete, text + &index.tell(sent));
                }
            }
            End::Left => {}
            End::Lost => account.lost += walk.missing().count(),
        }
        account
    }
}

/// On the way through a stay.
struct Walk<'a> {
    stay: &'a Stay<'a>,
    index: &'a Index<'a>,
    /// Up to here each priority was handed out or is known not to come.
    covered: [Seq; Priority::COUNT],
    /// The last that was handed out or told to be dropped.
    last: [Seq; Priority::COUNT],
    handed: HashSet<Seq>,
}

impl Walk<'_> {
    fn holes(&self, priority: Priority, after: Seq, through: Seq) -> impl Iterator<Item = Seq> {
        let Stay { device, room, epoch, .. } = *self.stay;
        self.index
            .others((room, epoch), device, Some(priority), (after, through))
            .map(|(seq, _)| seq)
            .filter(|seq| !self.handed.contains(seq))
    }

    fn message(&mut self, entry: &Entry, record: usize, found: &mut Found) {
        let (seq, priority) = (entry.position.seq, entry.priority);
        if !self.handed.insert(seq) {
            found.add(RoomRule::Once, format!("handed out again: {}", self.index.tell(record)));
        } else if seq <= self.last[priority.index()] {
            let text = format!("behind {:?}: {}", self.last[priority.index()], self.index.tell(record));
            found.add(RoomRule::Order, text);
        }
        if let Some(skipped) = self.holes(priority, self.covered[priority.index()], Seq(seq.0 - 1)).next() {
            found.add(RoomRule::Complete, format!("{skipped:?} was skipped: {}", self.index.tell(record)));
        }
        self.pass(priority, seq);
    }

    fn pass(&mut self, priority: Priority, seq: Seq) {
        for reached in [&mut self.covered, &mut self.last] {
            let reached = &mut reached[priority.index()];
            *reached = seq.max(*reached);
        }
    }

    fn gap(
        &mut self,
        priority: Priority,
        through: Seq,
        count: usize,
        exact: Exact,
        record: usize,
        found: &mut Found,
    ) {
        let after = self.covered[priority.index()];
        let holes = self.holes(priority, after, through).count();
        // Nobody knows of what priority they were.
        let unseen = self.index.unseen(self.stay.room, self.stay.epoch, (after, through));
        // What the app was told before not to expect may be in the gap too.
        let reached = self.last[priority.index()];
        let most = unseen.max(self.index.unseen(self.stay.room, self.stay.epoch, (reached, through)))
            + self.holes(priority, reached, through).count();
        let fits = (holes <= count || !exact.least) && (count <= most || !exact.most);
        if !fits {
            let text = format!("{holes} to {unseen} more behind {after:?}: {}", self.index.tell(record));
            found.add(RoomRule::Order, text);
        }
        self.pass(priority, through);
    }

    /// How many were not handed out.
    fn unhanded(&self) -> usize {
        let Stay { device, room, epoch, from, upto, .. } = *self.stay;
        let others = self.index.others((room, epoch), device, None, (from, upto));
        others.filter(|(seq, _)| !self.handed.contains(seq)).count()
    }

    /// What is still to come, and which record sent it.
    fn missing(&self) -> impl Iterator<Item = (Seq, usize)> {
        let Stay { device, room, epoch, from, upto, .. } = *self.stay;
        let through = upto.min(self.index.newest(room, epoch));
        self.index
            .others((room, epoch), device, None, (from, through))
            .filter(|(seq, placed)| {
                *seq > self.covered[placed.priority.index()] && !self.handed.contains(seq)
            })
            .map(|(seq, placed)| (seq, self.index.sends.get(&placed.id).map_or(0, |send| send.record)))
    }
}

/// What was handed out during stays, and outside of them.
pub(super) fn check(index: &Index<'_>, stays: &Stays<'_>, found: &mut Found) {
    for record in &stays.outside {
        found.add(RoomRule::Inside, index.tell(*record));
    }
    stays.accounts(index, found);
}
