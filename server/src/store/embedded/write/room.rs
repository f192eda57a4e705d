//! What is written of rooms.

use quail_protocol::{Rev, Seq};

use super::{Batch, keys};
use crate::store::{Forget, Forgotten, RoomChange, StoreError, forget::Step};

impl Batch<'_> {
    pub(super) fn keep_room(&mut self, change: RoomChange) -> Result<(), StoreError> {
        let RoomChange { app, room, epoch, rows } = change;
        let highest = match self.room_epoch {
            Some(epoch) => epoch,
            None => self.inner.last_room_epoch(&self.durable)?,
        };
        self.room_epoch = Some(epoch).filter(|epoch| *epoch > highest).or(self.room_epoch);
        self.rooms.extend(rows.into_iter().map(|(name, value)| (keys::room(&app, &room, &name), value)));
        Ok(())
    }

    pub(super) fn forget(&mut self, forget: &Forget) -> Result<Forgotten, StoreError> {
        let (conversation, epoch) = (keys::conversation(&forget.key), self.inner.epoch_of(&forget.key));
        if self.heads.contains_key(&conversation) {
            // What this batch wrote it cannot remove: no key may be written twice.
            return Ok(Forgotten { entries: 0, more: true });
        }
        let step = Step::of(self.head(&conversation, epoch)?, forget.entries_max);
        for seq in step.entries.clone() {
            self.writes.remove(&self.inner.entries, keys::entry(&conversation, Seq(seq)));
        }
        for rev in step.changes.clone() {
            self.writes.remove(&self.inner.changes, keys::change(&conversation, Rev(rev)));
        }
        self.heads.insert(conversation, step.head);
        Ok(step.forgotten())
    }
}
