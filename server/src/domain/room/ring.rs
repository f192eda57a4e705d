//! The newest messages of a room.

use std::collections::{BTreeMap, VecDeque};

use quail_protocol::{
    Rev, Seq, Timestamp,
    message::{Message, RecallNote},
};

/// What is kept of a room's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub entries_max: usize,
    /// So many bytes of them.
    pub bytes_max: usize,
    /// None that are older, in milliseconds.
    pub age_ms_max: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Ring {
    keep: Keep,
    /// Dense: the last one has the room's newest number.
    messages: VecDeque<Message>,
    bytes: usize,
    /// Which message each change was of.
    changes: BTreeMap<Rev, Seq>,
}

impl Ring {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, messages: VecDeque::new(), bytes: 0, changes: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.bytes();
        self.messages.push_back(message);
        while self.messages.len() > self.keep.entries_max || self.bytes > self.keep.bytes_max {
            self.pop();
        }
    }

    /// Gives up the messages below a number.
    pub(super) fn trim(&mut self, first: Seq) {
        while self.messages.front().is_some_and(|message| message.position.seq < first) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.messages.pop_front() {
            self.bytes -= oldest.bytes();
            self.changes.remove(&oldest.rev);
        }
    }

    pub(super) fn age(&mut self, now: Timestamp) {
        let oldest = now.0.saturating_sub(self.keep.age_ms_max);
        while self.messages.front().is_some_and(|message| message.time.0 < oldest) {
            self.pop();
        }
    }

    /// The message of a number.
    pub(super) fn get(&self, seq: Seq) -> Option<&Message> {
        self.range(seq, seq).next()
    }

    /// Takes a message back, which was not. Returns what is left of it.
    pub(super) fn recall(&mut self, seq: Seq, rev: Rev, note: RecallNote) -> Option<Message> {
        let first = self.messages.front()?.position.seq.0;
        let index = usize::try_from(seq.0.checked_sub(first)?).ok()?;
        let message = self.messages.get_mut(index)?;
        self.bytes -= message.bytes();
        message.content = message.content.clone().recalled();
        (message.rev, message.recall) = (rev, Some(note));
        self.bytes += message.bytes();
        self.changes.insert(rev, seq);
        Some(message.clone())
    }

    /// Changed messages behind the change `since`, in the order of the changes.
    pub fn changed(&self, since: Rev) -> impl Iterator<Item = (Rev, Option<&Message>)> {
        self.changes.range(since.next()..).map(|(rev, seq)| (*rev, self.get(*seq)))
    }

    /// When the oldest was placed.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.messages.front().map(|message| message.time)
    }

    /// The first number that is kept, if the newest is `head`.
    pub fn first(&self, head: Seq) -> Seq {
        self.messages.front().map_or(head.next(), |message| message.position.seq)
    }

    /// The messages with numbers `from` to `to`, both included, in ascending order.
    pub fn range(&self, from: Seq, to: Seq) -> impl DoubleEndedIterator<Item = &Message> {
        let first = self.messages.front().map_or(0, |message| message.position.seq.0);
        let index = |seq: u64| usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        let end = index(to.0.saturating_add(1)).min(self.messages.len());
        let start = if to.0 < first { end } else { index(from.0).min(end) };
        let end = if to.0 < first { start } else { end };
        self.messages.range(start..end)
    }

    /// The newest messages, at most so many and so many bytes of what they say; oldest first.
    pub fn newest(&self, entries_max: usize, bytes_max: usize) -> Vec<Message> {
        let mut bytes = 0;
        let newest = self.messages.iter().rev().take(entries_max).take_while(|message| {
            bytes += message.bytes();
            bytes <= bytes_max
        });
        let mut newest: Vec<_> = newest.cloned().collect();
        newest.reverse();
        newest
    }
}
