//! What a client knows beyond its process, on its way into a storage.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quail_protocol::{
    Conversation, Timestamp,
    id::{ClientMessageId, DeviceId},
    message::Send,
    session::{Cursor, Login},
};

use crate::{
    error::ConnectError,
    keeper::record::{Key, Owner, encode},
    outbox::OwnMessage,
    storage::Storage,
    tracker::{Note, Restored},
};

mod record;

/// A storage, lent to one client at a time.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Mutex<Option<Box<dyn Storage>>>>);

impl Slot {
    pub(crate) fn new(storage: impl Storage + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(storage)))))
    }

    fn lend(&self) -> MutexGuard<'_, Option<Box<dyn Storage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the handles of a client. Once they are gone the storage is free, even if the driver has not ended yet.
pub(crate) struct Keeper(Arc<Mutex<Desk>>);

/// The driver's way to it.
pub(crate) struct Pen(Arc<Mutex<Desk>>);

#[derive(Default)]
struct Desk {
    /// With where it goes back to, until the handles are gone.
    storage: Option<(Box<dyn Storage>, Slot)>,
    owner: Option<Owner>,
    /// Numbers of the events that were queued last, received by the app last, and taken by it last.
    queued: u64,
    handed: u64,
    taken: u64,
    /// What becomes true when the event of a number is taken.
    notes: VecDeque<(u64, Notes)>,
    /// Messages without an answer, numbered as they were sent.
    unsent: HashMap<ClientMessageId, u64>,
    next_unsent: u64,
    /// Those of earlier runs.
    earlier: Vec<Send>,
    /// The app ended the session.
    closed: bool,
    /// The app dropped its end of the events.
    left: bool,
}

#[derive(Default)]
struct Notes {
    /// `None`: not followed any more.
    cursors: BTreeMap<Conversation, Option<Cursor>>,
    synced: Option<Timestamp>,
}

impl Keeper {
    /// Takes the storage and reads what an earlier run left in it.
    pub(crate) fn open(slot: &Slot) -> Result<(Arc<Self>, Restored), ConnectError> {
        let busy = || io::Error::new(io::ErrorKind::ResourceBusy, "another client uses it");
        let storage = slot.lend().take().ok_or_else(busy).map_err(ConnectError::Storage)?;
        // From here on its drop gives the storage back.
        let desk = Desk { storage: Some((storage, slot.clone())), ..Desk::default() };
        let keeper = Self(Arc::new(Mutex::new(desk)));
        let restored = keeper.desk().load().map_err(ConnectError::Storage)?;
        Ok((Arc::new(keeper), restored))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.0)
    }

    /// For the driver.
    pub(crate) fn pen(&self) -> Pen {
        Pen(self.0.clone())
    }

    /// The device of earlier runs.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        self.desk().owner.as_ref().map(|owner| owner.device.clone())
    }

    /// Refuses the storage of somebody else.
    pub(crate) fn admit(&self, login: &Login) -> Result<(), ConnectError> {
        match self.desk().owner.clone() {
            Some(owner) if owner != Owner::of(login) => {
                let Owner { app, user, device } = owner;
                Err(ConnectError::ForeignStorage { app, user, device })
            }
            _ => Ok(()),
        }
    }

    /// The storage belongs to who logged in.
    pub(crate) fn belongs_to(&self, login: &Login) -> Result<(), ConnectError> {
        let mut desk = self.desk();
        if desk.owner.is_some() {
            return Ok(());
        }
        let owner = Owner::of(login);
        desk.put(&Key::Owner, &owner).map_err(ConnectError::Storage)?;
        desk.owner = Some(owner);
        Ok(())
    }

    /// The app has received the next event.
    pub(crate) fn handed(&self) {
        self.desk().handed += 1;
    }

    /// The app is done with what it has received.
    pub(crate) fn taken(&self) {
        self.desk().take();
    }

    /// The app wants no more events.
    pub(crate) fn left(&self) {
        let mut desk = self.desk();
        desk.left = true;
        desk.end();
    }

    /// The app ends the session.
    pub(crate) fn closed(&self) {
        let mut desk = self.desk();
        desk.closed = true;
        desk.end();
    }

    /// A message is sent; it is kept until there is an answer.
    pub(crate) fn sending(&self, send: &Send) -> io::Result<()> {
        let mut desk = self.desk();
        if desk.unsent.contains_key(&send.id) {
            return Ok(());
        }
        let number = desk.next_unsent;
        desk.put(&Key::Unsent(send.id), &(number, send))?;
        desk.next_unsent += 1;
        desk.unsent.insert(send.id, number);
        Ok(())
    }

    /// There is an answer to a message, or the app does not want it sent any more.
    pub(crate) fn answered(&self, id: ClientMessageId) {
        let mut desk = self.desk();
        if desk.unsent.remove(&id).is_some()
            && let Err(error) = desk.remove(&Key::Unsent(id))
        {
            tracing::warn!(%error, "a message that has its answer may be told to be unsent after a restart");
        }
    }

    /// The messages of earlier runs that have no answer yet, in the order in which they were sent.
    pub(crate) fn unsent(&self) -> Vec<Send> {
        let desk = self.desk();
        desk.earlier.iter().filter(|send| desk.unsent.contains_key(&send.id)).cloned().collect()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some((storage, slot)) = self.desk().storage.take() {
            *slot.lend() = Some(storage);
        }
    }
}

impl Pen {
    /// An event is queued for the app, or there is something to note once it has taken what was queued before.
    pub(crate) fn queued(&self, event: bool, note: Option<Note>) {
        let mut desk = lock(&self.0);
        desk.queued += u64::from(event);
        let queued = desk.queued;
        let Some(note) = note else { return };
        if desk.notes.back().is_none_or(|(after, _)| *after != queued) {
            desk.notes.push_back((queued, Notes::default()));
        }
        if let Some((_, notes)) = desk.notes.back_mut() {
            match note {
                Note::At(cursor) => _ = notes.cursors.insert(cursor.conversation.clone(), Some(cursor)),
                Note::LetGo(conversation) => _ = notes.cursors.insert(conversation, None),
                Note::Synced(at) => notes.synced = Some(at),
            }
        }
        desk.write_down();
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Desk {
    fn load(&mut self) -> io::Result<Restored> {
        let mut restored = Restored::default();
        let mut unsent: Vec<(u64, Send)> = Vec::new();
        for (key, value) in self.storage()?.load()? {
            match Key::decode(&key) {
                Some(Key::Owner) => self.owner = Some(record::decode(&value)?),
                Some(Key::Synced) => restored.synced = Some(record::decode(&value)?),
                Some(Key::LetGo) => restored.let_go = true,
                Some(Key::At(_)) => restored.cursors.push(record::decode(&value)?),
                Some(Key::Unsent(_)) => unsent.push(record::decode(&value)?),
                None => {}
            }
        }
        unsent.sort_by_key(|(number, _)| *number);
        self.next_unsent = unsent.last().map_or(0, |(number, _)| number + 1);
        self.unsent = unsent.iter().map(|(number, send)| (send.id, *number)).collect();
        self.earlier = unsent.into_iter().map(|(_, send)| send).collect();
        restored.unsent = self.earlier.iter().map(OwnMessage::of).collect();
        Ok(restored)
    }

    fn take(&mut self) {
        if self.taken != self.handed {
            self.taken = self.handed;
            self.write_down();
        }
    }

    /// An app that ended the session and wants no more events is done with the last one.
    fn end(&mut self) {
        if self.closed && self.left {
            self.take();
        }
    }

    /// Writes down what is true by now.
    fn write_down(&mut self) {
        while self.notes.front().is_some_and(|(after, _)| *after <= self.taken)
            && let Some((_, notes)) = self.notes.pop_front()
        {
            if self.storage.is_some()
                && let Err(error) = self.write(notes)
            {
                tracing::warn!(%error, "events that the app has taken may be told again after a restart");
            }
        }
    }

    fn write(&mut self, notes: Notes) -> io::Result<()> {
        for (conversation, cursor) in notes.cursors {
            match cursor {
                Some(cursor) => self.put(&Key::At(conversation), &cursor)?,
                None => {
                    self.put(&Key::LetGo, &())?;
                    self.remove(&Key::At(conversation))?;
                }
            }
        }
        notes.synced.map_or(Ok(()), |at| self.put(&Key::Synced, &at))
    }

    fn storage(&mut self) -> io::Result<&mut Box<dyn Storage>> {
        let (storage, _) = self.storage.as_mut().ok_or(io::ErrorKind::NotFound)?;
        Ok(storage)
    }

    fn put(&mut self, key: &Key, value: &impl serde::Serialize) -> io::Result<()> {
        self.storage()?.put(&key.encode(), &encode(value))
    }

    fn remove(&mut self, key: &Key) -> io::Result<()> {
        self.storage()?.remove(&key.encode())
    }
}

#[cfg(test)]
mod tests;
