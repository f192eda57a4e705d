//! A user's feed: the changes of the user's own state, as the events that told them.

use quail_protocol::{
    Epoch, Position, Seq, Timestamp,
    bounded::{Blob, List},
    event::EventBody,
    frame,
    user::{FeedEntry, FeedPage},
};

use super::StoreError;

/// Entries of a feed that are kept, the newest.
pub const FEED_ENTRIES_MAX: u64 = 1000;

/// Entries that are older are removed when another is written: thirty days.
const FEED_AGE_MAX_MS: u64 = 30 * 24 * 3600 * 1000;

/// Entries that one new entry removes at most.
const TRIM_AT_ONCE: u64 = 16;

/// First and last number of a feed; the first is above the last if there is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: Seq,
    pub(super) head: Seq,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: Seq(1), head: Seq(0) }
    }
}

impl Ends {
    /// Takes the number of a new entry.
    pub(super) fn advance(&mut self) -> Seq {
        self.head = self.head.next();
        self.head
    }

    /// Gives up the oldest entries that are too many, or too old at `now`, and returns their numbers; a few of them.
    /// `time` tells when an entry was written, if it was before.
    pub(super) fn trim(
        &mut self,
        now: Timestamp,
        time: impl Fn(Seq) -> Result<Option<Timestamp>, StoreError>,
    ) -> Result<std::ops::Range<u64>, StoreError> {
        let first = self.first.0;
        while self.first < self.head && self.first.0 < first + TRIM_AT_ONCE {
            let too_many = self.head.0 - self.first.0 >= FEED_ENTRIES_MAX;
            let old = |time: Timestamp| time.0 + FEED_AGE_MAX_MS < now.0;
            if !too_many && !time(self.first)?.is_some_and(old) {
                break;
            }
            self.first = self.first.next();
        }
        Ok(first..self.first.0)
    }

    /// A page of up to `limit` entries, of which `entries` yields those behind what was read.
    pub(super) fn page(
        &self,
        epoch: Epoch,
        limit: usize,
        entries: impl IntoIterator<Item = Result<FeedEntry, StoreError>>,
    ) -> Result<FeedPage, StoreError> {
        let page = entries.into_iter().take(limit).collect::<Result<Vec<_>, _>>()?;
        let next = page.last().map(|last| last.seq).filter(|last| *last < self.head);
        let entries = List::new(page).map_err(StoreError::new)?;
        Ok(FeedPage { head: Position { epoch, seq: self.head }, first: self.first, entries, next })
    }

    /// The first number to read for whoever has read up to `after`.
    pub(super) fn behind(&self, after: Seq) -> Seq {
        after.next().max(self.first)
    }
}

/// The entry that keeps `event`.
pub(super) fn entry<E: EventBody>(seq: Seq, time: Timestamp, event: &E) -> Result<FeedEntry, StoreError> {
    let body = Blob::new(frame::encode_body(event)).map_err(StoreError::new)?;
    Ok(FeedEntry { seq, time, kind: E::KIND, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_give_way_when_they_are_too_many_or_too_old() {
        const NOW: u64 = 1_800_000_000_000;
        let old = NOW - FEED_AGE_MAX_MS - 1;
        for (name, first, head, old_until, expected) in [
            ("the first", 1, 1, 0, 1..1),
            ("as many as are kept", 1, 1000, 0, 1..1),
            ("one more", 1, 1001, 0, 1..2),
            ("many more", 1, 2000, 0, 1..17),
            ("old ones", 1, 10, 3, 1..4),
            ("only old ones", 5, 10, 10, 5..10),
            ("many old ones", 1, 100, 90, 1..17),
        ] {
            let mut ends = Ends { first: Seq(first), head: Seq(head) };
            let time = |seq: Seq| Ok(Some(Timestamp(if seq.0 <= old_until { old } else { NOW })));
            assert_eq!(ends.trim(Timestamp(NOW), time).unwrap(), expected, "{name}");
            assert_eq!(ends.first.0, expected.end, "{name}");
        }
    }
}
