//! The newest client message id that each sender has had a place for, in whatever conversation.
//!
//! A row against duplicates is found by its key only, and to find none in the engine is the largest single cost of a message. But
//! ids are made with the time: one above all that its sender has had before is nobody's repetition, and need not be looked for.

use std::collections::HashMap;

use quail_protocol::id::{AppId, ClientMessageId, UserId};

use crate::store::Append;

/// Senders that are remembered; past it, what they send next is looked for again.
const SENDERS_MAX: usize = 100_000;

/// See the module. Whoever sent nothing since the start is not known, and what they send is looked for.
#[derive(Default)]
pub(super) struct Newest(HashMap<(AppId, UserId), ClientMessageId>);

impl Newest {
    /// True if a message cannot have been placed before.
    pub(super) fn is_above_all(&self, append: &Append) -> bool {
        self.0.get(&sender(append)).is_some_and(|newest| append.client_id > *newest)
    }

    /// A message gets a place.
    pub(super) fn place(&mut self, append: &Append) {
        if self.0.len() >= SENDERS_MAX {
            self.0.clear();
        }
        let newest = self.0.entry(sender(append)).or_insert(append.client_id);
        *newest = append.client_id.max(*newest);
    }
}

fn sender(append: &Append) -> (AppId, UserId) {
    (append.key.app().clone(), append.sender.clone())
}
