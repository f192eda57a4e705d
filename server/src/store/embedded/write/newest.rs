//! The newest client message id that each sender has had a place for, in whatever conversation.
//!
//! A row against duplicates is found by its key only, and to find none in the engine was the largest single cost of a message. But
//! ids are made with the time: one above all that its sender has had before is nobody's repetition, and need not be looked for.

use std::collections::HashMap;

use quail_protocol::id::{AppId, ClientMessageId, UserId};

use crate::store::Append;

/// Senders that are remembered.
const SENDERS_MAX: usize = 100_000;

/// See the module.
pub(super) struct Newest {
    /// No id above it was placed by a sender who is not among those below.
    floor: ClientMessageId,
    largest: ClientMessageId,
    by_sender: HashMap<(AppId, UserId), ClientMessageId>,
}

impl Newest {
    /// Goes on where no id above `floor` was placed.
    pub(super) fn above(floor: ClientMessageId) -> Self {
        Self { floor, largest: floor, by_sender: HashMap::new() }
    }

    /// The largest id of all that were placed.
    pub(super) fn largest(&self) -> ClientMessageId {
        self.largest
    }

    /// True if a message cannot have been placed before.
    pub(super) fn is_above_all(&self, append: &Append) -> bool {
        let newest = self.by_sender.get(&sender(append));
        append.client_id > self.floor && newest.is_none_or(|newest| append.client_id > *newest)
    }

    /// A message gets a place.
    pub(super) fn place(&mut self, append: &Append) {
        self.largest = append.client_id.max(self.largest);
        if self.by_sender.len() >= SENDERS_MAX {
            self.by_sender.clear();
            self.floor = self.largest;
        }
        let newest = self.by_sender.entry(sender(append)).or_insert(append.client_id);
        *newest = append.client_id.max(*newest);
    }
}

fn sender(append: &Append) -> (AppId, UserId) {
    (append.key.app().clone(), append.sender.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ClientMessageId {
        ClientMessageId::at(number.into(), [0; 10])
    }

    fn from(sender: &str, number: u32) -> Append {
        Append { client_id: id(number), ..Append::note(sender, "x") }
    }

    #[test]
    fn an_id_that_may_have_been_placed_is_looked_for() {
        let mut newest = Newest::above(id(10));
        let looked_for = |newest: &Newest, sender, number| !newest.is_above_all(&from(sender, number));
        assert!(looked_for(&newest, "a", 10) && !looked_for(&newest, "a", 11), "before the start");
        newest.place(&from("a", 5));
        assert!(looked_for(&newest, "a", 10), "an older one that was new says nothing of it");
        newest.place(&from("a", 20));
        newest.place(&from("a", 15));
        assert!(looked_for(&newest, "a", 20) && !looked_for(&newest, "a", 21));
        assert!(!looked_for(&newest, "b", 12), "another sender");
        for sender in 0..SENDERS_MAX as u32 {
            newest.place(&from(&format!("user-{sender}"), 30));
        }
        assert!(looked_for(&newest, "a", 21), "they are too many");
        assert!(looked_for(&newest, "a", 30) && !looked_for(&newest, "a", 31));
        assert_eq!(newest.largest(), id(30));
    }
}
