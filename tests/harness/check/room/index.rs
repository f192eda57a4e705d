//! What was sent, and where it was seen.

use std::collections::{BTreeMap, HashMap, btree_map::Entry as Slot};

use quail_protocol::{
    Code, Epoch, Position, Priority, Seq,
    id::{ClientMessageId, RoomId, UserId},
};

use super::{Found, RoomRule};
use crate::history::{Device, Entry, InRoom, Record, What};

/// What became of a send, as far as its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing is known.
    Unknown,
    Acked,
    /// Refused, and never without an answer.
    Refused(Code),
}

pub(super) struct Send<'a> {
    pub(super) device: &'a Device,
    pub(super) room: &'a RoomId,
    /// Where it was sent first.
    pub(super) record: usize,
    pub(super) hash: u64,
    pub(super) numbered: bool,
    fate: Fate,
    lost: bool,
}

impl Send<'_> {
    /// Refused for a reason that holds wherever it was sent before.
    pub(super) fn is_nowhere(&self) -> bool {
        matches!(self.fate, Fate::Refused(Code::RoomThrottled | Code::MutedInRoom))
    }
}

/// A message that somebody saw.
pub(super) struct Placed {
    pub(super) id: ClientMessageId,
    pub(super) priority: Priority,
    pub(super) prev: Seq,
    pub(super) record: usize,
}

pub(super) struct Seen<'a> {
    pub(super) id: ClientMessageId,
    pub(super) room: &'a RoomId,
    pub(super) hash: Option<u64>,
    pub(super) record: usize,
}

pub(super) struct Log<'a> {
    pub(super) room: &'a RoomId,
    pub(super) head: Position,
    pub(super) first: Seq,
}

pub(super) struct Index<'a> {
    pub(super) history: &'a [Record],
    pub(super) sends: HashMap<ClientMessageId, Send<'a>>,
    /// By room and epoch: what stands under each number.
    pub(super) placed: BTreeMap<(&'a RoomId, Epoch), BTreeMap<Seq, Placed>>,
    pub(super) seen: Vec<Seen<'a>>,
    pub(super) logs: Vec<Log<'a>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(history: &'a [Record], found: &mut Found) -> Self {
        let mut index = Self {
            history,
            sends: HashMap::new(),
            placed: BTreeMap::new(),
            seen: Vec::new(),
            logs: Vec::new(),
        };
        let mut places = HashMap::new();
        for (record, at) in history.iter().enumerate() {
            if at.what == What::ServerEnded {
                // What was on its way may have been placed, and be refused by the server that starts.
                index
                    .sends
                    .values_mut()
                    .filter(|send| send.fate == Fate::Unknown)
                    .for_each(|send| send.lost = true);
            }
            let What::Room { room, what } = &at.what else { continue };
            index.outcome(room, at.device.as_ref(), what, record);
            match what {
                InRoom::Acked { id, position, prev, priority } => {
                    index.seen.push(Seen { id: *id, room, hash: None, record });
                    if index.sends.get(id).is_none_or(|send| send.numbered) {
                        let placed = Placed { id: *id, priority: *priority, prev: *prev, record };
                        index.place(room, *position, placed, &mut places, found);
                    }
                }
                InRoom::Received { entry } => index.entry(room, entry, record, &mut places, found),
                InRoom::Passed { id, hash } => {
                    index.seen.push(Seen { id: *id, room, hash: Some(*hash), record });
                }
                InRoom::Log { head, first, entries } => {
                    index.logs.push(Log { room, head: *head, first: *first });
                    for entry in entries {
                        index.entry(room, entry, record, &mut places, found);
                    }
                }
                _ => {}
            }
        }
        index
    }

    fn outcome(&mut self, room: &'a RoomId, device: Option<&'a Device>, what: &InRoom, record: usize) {
        match what {
            InRoom::Send { id, hash, numbered, .. } => {
                let Some(device) = device else { return };
                let (hash, numbered, fate) = (*hash, *numbered, Fate::Unknown);
                let send = Send { device, room, record, hash, numbered, fate, lost: false };
                self.sends.entry(*id).or_insert(send);
            }
            InRoom::Acked { id, .. } => {
                if let Some(send) = self.sends.get_mut(id) {
                    send.fate = Fate::Acked;
                }
            }
            InRoom::Refused { id, code } => {
                if let Some(send) = self.sends.get_mut(id).filter(|send| !send.lost) {
                    send.fate = Fate::Refused(*code);
                }
            }
            InRoom::Unknown { id } => {
                if let Some(send) = self.sends.get_mut(id) {
                    send.lost = true;
                }
            }
            _ => {}
        }
    }

    fn entry(
        &mut self,
        room: &'a RoomId,
        entry: &Entry,
        record: usize,
        places: &mut HashMap<ClientMessageId, Position>,
        found: &mut Found,
    ) {
        self.seen.push(Seen { id: entry.id, room, hash: Some(entry.hash), record });
        if self.sends.get(&entry.id).is_some_and(|send| send.device.user != entry.sender) {
            found.add(RoomRule::Genuine, format!("of another sender: {}", self.tell(record)));
        }
        let placed = Placed { id: entry.id, priority: entry.priority, prev: entry.prev, record };
        self.place(room, entry.position, placed, places, found);
    }

    fn place(
        &mut self,
        room: &'a RoomId,
        position: Position,
        placed: Placed,
        places: &mut HashMap<ClientMessageId, Position>,
        found: &mut Found,
    ) {
        let before = *places.entry(placed.id).or_insert(position);
        // With the server goes what it knows of repetitions.
        if before != position && before.epoch == position.epoch {
            let text = format!("placed at {before:?} and again: {}", self.tell(placed.record));
            found.add(RoomRule::Once, text);
        }
        match self.placed.entry((room, position.epoch)).or_default().entry(position.seq) {
            Slot::Vacant(slot) => _ = slot.insert(placed),
            Slot::Occupied(slot) => {
                let other = slot.get();
                let same =
                    (other.id, other.priority, other.prev) == (placed.id, placed.priority, placed.prev);
                let (one, two) = (other.record, placed.record);
                if !same {
                    found.add(RoomRule::Positions, format!("{}: {}", self.tell(one), self.tell(two)));
                }
            }
        }
    }

    /// What somebody other than `device` placed at a priority between two numbers, the last included.
    pub(super) fn others<'b>(
        &'b self,
        (room, epoch): (&'b RoomId, Epoch),
        device: &'b Device,
        priority: Option<Priority>,
        (after, through): (Seq, Seq),
    ) -> impl Iterator<Item = (Seq, &'b Placed)> {
        let range = self.placed.get(&(room, epoch)).filter(|_| after < through);
        let range = range.into_iter().flat_map(move |placed| placed.range(after.next()..=through));
        range
            .filter(move |(_, placed)| priority.is_none_or(|priority| placed.priority == priority))
            .filter(move |(_, placed)| !self.is_own(placed.id, device))
            .map(|(seq, placed)| (*seq, placed))
    }

    /// The newest number of a room's epoch that was seen.
    pub(super) fn newest(&self, room: &RoomId, epoch: Epoch) -> Seq {
        self.placed
            .get(&(room, epoch))
            .and_then(|placed| placed.last_key_value())
            .map_or(Seq(0), |(seq, _)| *seq)
    }

    /// How many numbers between two, the last included, nobody saw.
    pub(super) fn unseen(&self, room: &RoomId, epoch: Epoch, (after, through): (Seq, Seq)) -> usize {
        if after >= through {
            return 0;
        }
        let seen =
            self.placed.get(&(room, epoch)).map_or(0, |placed| placed.range(after.next()..=through).count());
        (through.0 - after.0) as usize - seen
    }

    pub(super) fn is_own(&self, id: ClientMessageId, device: &Device) -> bool {
        self.sends.get(&id).is_some_and(|send| send.device == device)
    }

    /// A record, in words.
    pub(super) fn tell(&self, record: usize) -> String {
        let Record { at, device, what } = &self.history[record];
        let who = device.as_ref().map(|device| (UserId::as_str(&device.user), &device.name));
        match what {
            What::Room { room, what: InRoom::Log { head, .. } } => {
                format!("#{record} log of {room} to {head:?}")
            }
            What::Room { room, what } => format!("#{record} {at:?} {who:?} in {room}: {what:?}"),
            other => format!("#{record} {at:?} {who:?}: {other:?}"),
        }
    }
}
