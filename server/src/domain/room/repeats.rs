//! What was placed before, so that a repetition adds nothing.

use std::collections::{HashMap, VecDeque};

use quail_protocol::{
    Code, Position, Priority, Rev, Seq, Timestamp,
    id::{ClientMessageId, MessageId, UserId},
    limits::ROOM_DEDUP_WINDOW_MS,
    message::Message,
};

/// So many are remembered at most; the oldest go.
const REMEMBERED_MAX: usize = 64 * 1024;

/// Where a message was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The server's name for it.
    pub id: MessageId,
    /// Its position.
    pub position: Position,
    /// The number of the previous message of the same priority, 0 if there is none.
    pub prev: Seq,
    /// The room's newest change of a message before it was placed.
    pub rev: Rev,
    /// The priority that it got.
    pub priority: Priority,
    /// When it was placed.
    pub time: Timestamp,
}

impl Place {
    /// The place of `message`.
    pub fn of(message: &Message) -> Self {
        let Message { id, position, prev, rev, priority, time, .. } = *message;
        Self { id, position, prev, rev, priority, time }
    }
}

type Key = (UserId, ClientMessageId);

#[derive(Debug, Default)]
pub(super) struct Repeats {
    places: HashMap<Key, (u64, Place)>,
    by_age: VecDeque<Key>,
}

impl Repeats {
    /// Where a message was placed; an error if its id was used for another.
    pub(super) fn find(&self, user: &UserId, id: ClientMessageId, hash: u64) -> Result<Option<Place>, Code> {
        match self.places.get(&(user.clone(), id)) {
            Some((known, place)) if *known == hash => Ok(Some(*place)),
            Some(_) => Err(Code::MessageConflict),
            None => Ok(None),
        }
    }

    pub(super) fn remember(&mut self, user: UserId, id: ClientMessageId, hash: u64, place: Place) {
        if self.by_age.len() == REMEMBERED_MAX {
            self.forget_oldest();
        }
        self.by_age.push_back((user.clone(), id));
        self.places.insert((user, id), (hash, place));
    }

    /// Forgets what is older than five minutes and than the oldest message of the ring.
    pub(super) fn age(&mut self, ring_begins: Option<Timestamp>, now: Timestamp) {
        let oldest = now.0.saturating_sub(ROOM_DEDUP_WINDOW_MS);
        let oldest = ring_begins.map_or(oldest, |begins| begins.0.min(oldest));
        while self
            .by_age
            .front()
            .and_then(|key| self.places.get(key))
            .is_some_and(|(_, place)| place.time.0 < oldest)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(key) = self.by_age.pop_front() {
            self.places.remove(&key);
        }
    }
}
