//! Whether a history kept what Quail promises of rooms. Pure, like the rest of the checker.
//!
//! What it takes for granted:
//!
//! - `Send` and `Entering` are written before anything that follows from them, all others when their task learns of
//!   them. Lanes overtake each other: what belongs to a stay is told by its place, not by where its record stands.
//! - A device is *in* a room from the head that its `Entered` told, up to the last position that `Left` told. A stay that ends
//!   with the session is open at its end: the app learns of that by `Behind` with `NotMember`, by coming in again, or never,
//!   if it was kicked out. One who asked to leave and got no answer is told by `Parted` alone: up to where is not known.
//! - Who may speak is asked when a message is sent. In a room that keeps its messages it may get its place after its sender
//!   left.
//! - What a device sent is its own and is not told to it. What was placed and seen by nobody may be a send without an answer.
//! - A device that leaves discards what is still on its way, so the end of such a stay may be missing; so may the end of one
//!   whose session was lost.
//! - A repetition is known within an epoch of a room: after a start of the server the same id may get a place once more.
//! - A gap covers the messages of its priority between what was told before it and its end. Where a connection was lost
//!   during the stay, or the device speaks there itself, some of those may have been read from the history, and of what was dropped before, only so much need
//!   be told as arrived.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use quail_protocol::{Priority, Seq, id::UserId};

use self::index::Index;
use crate::history::{Device, InRoom, Record, What};

mod count;
mod index;
mod stay;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomRule {
    /// What is handed out was sent to this room by this user with this content.
    Genuine,
    /// The numbers of a room's epoch are dense, and each means one message to everybody.
    Positions,
    /// A message has one place, and an app is handed it once.
    Once,
    /// An app is handed each priority in order, and a gap is where it is said to be.
    Order,
    /// Between coming in and going out every message is handed out or known to be missing.
    Complete,
    /// Clients are told of as many drops as there were.
    Counts,
    /// Nobody is handed what was placed while they were not in the room.
    Inside,
    /// Nobody speaks in a room that they are not in, or are muted in.
    MaySpeak,
    /// What is refused is placed nowhere and told to nobody.
    Refused,
    /// A session that gave way says nothing more.
    Fence,
    /// A device whose way is whole keeps its connection, however slow its app.
    Stays,
}

impl RoomRule {
    /// The number under which the promise is listed where it is one of those that all conversations have.
    const fn number(self) -> &'static str {
        match self {
            Self::Genuine => "I2, I20",
            Self::Positions => "I3",
            Self::Once => "I4",
            Self::Order => "I5",
            Self::Complete => "I15",
            Self::Counts => "I8",
            Self::Inside => "I10, I11",
            Self::MaySpeak => "I12",
            Self::Refused => "I17",
            Self::Fence => "I18",
            Self::Stays => "I22",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomViolation {
    /// Which.
    pub rule: RoomRule,
    /// The records that show it.
    pub text: String,
}

impl fmt::Display for RoomViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {}", self.rule, self.rule.number(), self.text)
    }
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<RoomViolation>);

impl Found {
    fn add(&mut self, rule: RoomRule, text: String) {
        self.0.push(RoomViolation { rule, text });
    }
}

/// Every promise about rooms that `history` shows broken; a consequence may be listed beside its cause.
pub fn check_rooms(history: &[Record]) -> Vec<RoomViolation> {
    let mut found = Found::default();
    let index = Index::new(history, &mut found);
    positions(&index, &mut found);
    sends(&index, &mut found);
    let stays = stay::Stays::new(&index);
    stay::check(&index, &stays, &mut found);
    speaks(&index, &stays, &mut found);
    count::check(&index, &stays, &mut found);
    connections(&index, &mut found);
    found.0
}

/// Numbers are dense, but for those of sends that may stand anywhere.
fn positions(index: &Index<'_>, found: &mut Found) {
    for ((room, epoch), placed) in &index.placed {
        let newest = placed.last_key_value().map_or(0, |(seq, _)| seq.0);
        let unseen = (newest as usize).saturating_sub(placed.len());
        let seen: HashSet<_> = placed.values().map(|placed| placed.id).collect();
        let may_be = |send: &index::Send<'_>| send.room == *room && send.numbered && !send.is_nowhere();
        let unknown = index.sends.iter().filter(|(id, send)| may_be(send) && !seen.contains(*id)).count();
        if unseen > unknown {
            let text = format!("{unseen} numbers of {room} up to {newest} of {epoch:?} were seen by nobody");
            found.add(RoomRule::Positions, format!("{text}; {unknown} sends have no answer"));
        }
        let mut last = [Seq(0); Priority::COUNT];
        for (seq, placed) in placed.iter().filter(|_| unseen == 0) {
            let last = std::mem::replace(&mut last[placed.priority.index()], *seq);
            if placed.prev != last {
                let text = format!("{last:?} stands before {seq:?}: {}", index.tell(placed.record));
                found.add(RoomRule::Positions, text);
            }
        }
    }
    for log in &index.logs {
        let known = index.placed.get(&(log.room, log.head.epoch));
        for seq in log.first.0..=log.head.seq.0 {
            if !known.is_some_and(|placed| placed.contains_key(&Seq(seq))) {
                found.add(RoomRule::Positions, format!("{} keeps nothing under {seq}", log.room));
            }
        }
    }
}

/// What was refused went nowhere.
fn sends(index: &Index<'_>, found: &mut Found) {
    for seen in &index.seen {
        let Some(send) = index.sends.get(&seen.id) else {
            found.add(RoomRule::Genuine, format!("nobody sent {}", index.tell(seen.record)));
            continue;
        };
        if send.room != seen.room || seen.hash.is_some_and(|hash| hash != send.hash) {
            found.add(RoomRule::Genuine, format!("{}: {}", index.tell(send.record), index.tell(seen.record)));
        }
        if send.is_nowhere() {
            found.add(RoomRule::Refused, format!("{}: {}", index.tell(send.record), index.tell(seen.record)));
        }
    }
}

/// Whoever is heard is in the room, may speak, and is a session that did not give way.
fn speaks(index: &Index<'_>, stays: &stay::Stays<'_>, found: &mut Found) {
    let mut kicked = HashMap::<&Device, usize>::new();
    // Since which record somebody is muted for certain.
    let mut muted = HashMap::<(&str, &UserId), usize>::new();
    for (record, at) in index.history.iter().enumerate() {
        let room = match &at.what {
            What::Room { room, .. } => room.as_str(),
            What::KickedOut => {
                if let Some(device) = &at.device {
                    kicked.insert(device, record);
                }
                continue;
            }
            What::LoggedIn { .. } => {
                if let Some(device) = &at.device {
                    kicked.remove(device);
                }
                continue;
            }
            _ => continue,
        };
        let What::Room { what, .. } = &at.what else { continue };
        match what {
            InRoom::Muting { user, on: false } => _ = muted.remove(&(room, user)),
            InRoom::Muted { user, on: true } => _ = muted.insert((room, user), record),
            InRoom::Acked { id, position, .. } => {
                let (Some(device), Some(send)) = (&at.device, index.sends.get(id)) else { continue };
                let tell = || format!("{}: {}", index.tell(send.record), index.tell(record));
                if send.numbered && !stays.may_say(device, send.room, *position, send.record) {
                    found.add(RoomRule::MaySpeak, format!("from outside: {}", tell()));
                }
                if muted.get(&(room, &device.user)).is_some_and(|since| *since < send.record) {
                    found.add(RoomRule::MaySpeak, format!("muted: {}", tell()));
                }
                if kicked.get(device).is_some_and(|since| *since < send.record) {
                    found.add(RoomRule::Fence, tell());
                }
            }
            _ => {}
        }
    }
}

/// A device that nothing happened to logs in once.
fn connections(index: &Index<'_>, found: &mut Found) {
    let troubled = index.history.iter().any(|at| matches!(at.what, What::Fault(_) | What::ServerEnded));
    let mut logins = HashMap::<&Device, usize>::new();
    for at in index.history.iter().take_while(|at| !matches!(at.what, What::Counted(_))) {
        if let (Some(device), What::LoggedIn { .. }) = (&at.device, &at.what) {
            *logins.entry(device).or_default() += 1;
        }
    }
    let again = logins.into_iter().filter(|(_, logins)| *logins > 1 && !troubled);
    for (device, logins) in again {
        found.add(RoomRule::Stays, format!("{device:?} logged in {logins} times"));
    }
}
