//! A room whose messages are kept. It says who may speak; the store gives the places, and the room follows behind it.

use std::num::NonZeroU64;

use quail_protocol::{Epoch, Seq, Timestamp, message::Message};

use super::Room;
use crate::domain::{conversation::kept_from, resume::Head};

/// What there is of the messages of such a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The epoch that the room was made under, which names its messages in the store.
    pub(super) made: Epoch,
    /// The first number that is kept.
    pub(super) first: Seq,
}

impl Stored {
    /// Nothing yet.
    pub(super) fn new(made: Epoch) -> Self {
        Self { made, first: Seq(1) }
    }
}

impl Room {
    /// The epoch that the room was made under, if its messages are kept.
    pub fn stored_under(&self) -> Option<Epoch> {
        self.stored.map(|stored| stored.made)
    }

    /// The first number of a message that is kept.
    pub fn first(&self) -> Seq {
        self.stored.map_or_else(|| self.ring.first(self.head.seq), |stored| stored.first)
    }

    /// Forgets messages that are too old, unless they are kept.
    pub(super) fn age_ring(&mut self, now: Timestamp) {
        if self.stored.is_none() {
            self.ring.age(now);
        }
    }

    /// Goes on where the store is, whose `newest` messages these are.
    pub fn go_on(&mut self, head: Head, newest: Vec<Message>) {
        let Head { position, last_by_priority, first, rev } = head;
        (self.head, self.last_by_priority, self.rev) = (position, last_by_priority, rev);
        self.stored.iter_mut().for_each(|stored| stored.first = first);
        newest.into_iter().for_each(|message| self.ring.push(message));
    }

    /// Follows the store, which placed a message and keeps so many.
    pub fn placed(&mut self, message: &Message, keep: Option<NonZeroU64>) {
        self.head = message.position;
        self.last_by_priority[message.priority.index()] = message.position.seq;
        let head = self.head.seq;
        self.stored.iter_mut().for_each(|stored| stored.first = kept_from(stored.first, head, keep));
        self.ring.push(message.clone());
        self.ring.trim(self.first());
    }

    /// Follows the store, which took a message back.
    pub fn changed(&mut self, message: &Message) {
        self.rev = message.rev;
        if let Some(note) = message.recall.clone() {
            // What is not in the ring is in the store alone.
            _ = self.ring.recall(message.position.seq, message.rev, note);
        }
    }
}
