//! What is read of rooms.

use std::ops::Bound;

use fjall::{Readable, Snapshot};
use quail_protocol::Epoch;

use super::{Inner, engine, keys};
use crate::store::{ConversationKey, RoomRow, RoomsKept, StoreError};

impl Inner {
    /// The incarnation of a conversation.
    pub(super) fn epoch_of(&self, key: &ConversationKey) -> Epoch {
        match key {
            ConversationKey::Peer(..) => self.epoch,
            ConversationKey::Room(.., made) => self.rooms_anew.max(*made),
        }
    }

    pub(super) fn rooms(&self) -> Result<RoomsKept, StoreError> {
        let durable = self.durable();
        let row = |stored: fjall::Guard| {
            let (key, value) = stored.into_inner().map_err(engine)?;
            let (app, room, name) = keys::room_of(&key).map_err(StoreError::new)?;
            let value = keys::decode_room(&value).map_err(StoreError::new)?;
            Ok(RoomRow { app, room, name, value })
        };
        let rows = durable.iter(&self.rooms).map(row).collect::<Result<_, StoreError>>()?;
        let (last_epoch, histories) = (self.last_room_epoch(&durable)?, self.histories(&durable)?);
        Ok(RoomsKept { last_epoch, rows, histories })
    }

    /// The highest epoch that a room ever had.
    pub(super) fn last_room_epoch(&self, durable: &Snapshot) -> Result<Epoch, StoreError> {
        let last = durable.get(&self.singles, keys::LAST_ROOM_EPOCH).map_err(engine)?;
        let last = last.map(|last| keys::decode_epoch(&last)).transpose().map_err(StoreError::new)?;
        Ok(last.unwrap_or_default())
    }

    /// Rooms that have a head. They stand together in each app: peers, who may be many, are passed over.
    fn histories(&self, durable: &Snapshot) -> Result<Vec<ConversationKey>, StoreError> {
        let mut histories = vec![];
        let mut from = vec![];
        loop {
            let behind = (Bound::Included(from), Bound::Unbounded);
            let Some(next) = durable.range::<Vec<u8>, _>(&self.heads, behind).next() else {
                return Ok(histories);
            };
            let (rooms, end) = keys::rooms_of(&next.key().map_err(engine)?).map_err(StoreError::new)?;
            for stored in durable.prefix(&self.heads, rooms) {
                let key = stored.key().map_err(engine)?;
                histories.push(keys::conversation_of_room(&key).map_err(StoreError::new)?);
            }
            from = end;
        }
    }
}
