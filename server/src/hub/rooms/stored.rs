//! Rooms whose messages are kept. Under the room's lock it is only asked who may speak; then the message goes to the
//! committer, and the fan-out comes back to the lock to tell it. So nobody is told what a power cut can take back, and a
//! number never has two contents.

use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
};

use quail_protocol::{
    Code, Conversation, Epoch, Priority, Reject,
    id::{AppId, RoomId, UserId},
    message::{Message, Send},
};

use super::{
    Now, Room, Rooms,
    room::{Live, reject},
};
use crate::{
    domain::{resume::Head, room::Asker},
    hub::fanout::{Reply, Said, Ticket},
    respond::Responder,
    session::Session,
    store::{Append, ConversationKey, Forget, Forgotten, RecallKept, Write, commit::Submission},
};

/// Messages of a room that is over which are removed in one batch: so many hold up no other write for long.
const FORGET_AT_ONCE: u64 = 1000;

/// A message that its room refuses.
pub struct Unplaced {
    /// The message.
    pub append: Append,
    /// Who is to be told.
    pub responder: Responder<Send>,
    /// Why.
    pub reject: Reject,
}

impl Room {
    /// A room of `app`; whether that it was made is synced.
    pub(super) fn new(app: &AppId, id: &RoomId, live: Live, is_kept: bool) -> Self {
        let stored = live.rules.stored_under();
        let stored = stored.map(|made| ConversationKey::Room(app.clone(), id.clone(), made));
        Self { live: Mutex::new(live), is_kept: Arc::new(AtomicBool::new(is_kept)), stored }
    }
}

impl Rooms {
    /// What the messages of a room are kept under, if they are.
    pub fn stored(&self, app: &AppId, room: &RoomId) -> Option<ConversationKey> {
        self.find(app, room)?.stored.clone()
    }

    /// The same for a session that is in it; `None` for any other.
    pub fn stored_with(&self, app: &AppId, room: &RoomId, session: &Arc<Session>) -> Option<ConversationKey> {
        let found = self.find(app, room)?;
        let key = found.stored.clone()?;
        found.lock().has(session).then_some(key)
    }

    /// The same for somebody who wants to read them, and must be in it.
    pub fn stored_for(
        &self,
        app: &AppId,
        room: &RoomId,
        asker: &Asker,
    ) -> Result<Option<ConversationKey>, Code> {
        let found = self.find(app, room).ok_or(Code::NotInRoom)?;
        found.lock().rules.is_in(asker)?;
        Ok(found.stored.clone())
    }

    /// Whether `by` may take back what `sender` says because they moderate them, see [`Rules::moderates`].
    ///
    /// [`Rules::moderates`]: crate::domain::room::Room::moderates
    pub fn moderates(&self, app: &AppId, room: &RoomId, by: &UserId, sender: &UserId) -> Result<bool, Code> {
        self.within(app, room, Code::NotInRoom, |live| live.rules.moderates(by, sender))
    }

    /// Goes on where the store is with the messages of a room that was there when the server ended.
    pub fn go_on(&self, key: &ConversationKey, head: Head, newest: Vec<Message>) {
        let ConversationKey::Room(app, room, _) = key else { return };
        if let Some(found) = self.find(app, room) {
            found.lock().rules.go_on(head, newest);
        }
    }

    /// Queues a message for the committer if it may be told now in the room that its key names, or gives it back.
    pub fn send_stored(
        &self,
        session: &Arc<Session>,
        mut append: Append,
        responder: Responder<Send>,
        now: Now,
    ) -> Result<(), Box<Unplaced>> {
        let ConversationKey::Room(app, room, _) = append.key.clone() else {
            return Err(Box::new(Unplaced { append, responder, reject: Code::InvalidArgument.into() }));
        };
        let found = self.find(&app, &room).filter(|found| found.stored.as_ref() == Some(&append.key));
        let Some(found) = found else {
            return Err(Box::new(Unplaced { append, responder, reject: Code::NotInRoom.into() }));
        };
        let mut live = found.lock();
        if let Err(reject) = self.admit(&found, &mut live, session, &mut append, now) {
            return Err(Box::new(Unplaced { append, responder, reject }));
        }
        let said = Said { responder, asked: append.asked, keep: append.keep };
        let ticket = Ticket::Session { app, sender: session.clone(), reply: Reply::Said(said) };
        // Under the lock: in front of what removes the messages of the room when it ends.
        self.committer.insist(Submission { write: Write::Append(append), ticket });
        Ok(())
    }

    /// Whether a message may be told now; notes in it how urgent it is and what everybody is to see of its sender.
    fn admit(
        &self,
        found: &Room,
        live: &mut Live,
        session: &Arc<Session>,
        append: &mut Append,
        now: Now,
    ) -> Result<(), Reject> {
        if !live.has(session) {
            return Err(Code::NotInRoom.into());
        }
        self.ready()?;
        if !found.is_kept.load(Ordering::Acquire) {
            // It would be acknowledged, and the room be gone after a power cut. Whoever was told that they are in is
            // never refused here.
            return Err(Code::Unavailable.into());
        }
        let admitted = live.rules.admit(&append.sender, append.asked, now.time, now.instant);
        (append.priority, append.member) = admitted.map_err(reject)?;
        Ok(())
    }

    /// Tells a message that was placed and is one of the newest `keep`, if the room is still there. `answer` tells the
    /// sender, who asked for the priority `asked`, in the same order.
    pub(in crate::hub) fn placed(
        &self,
        app: &AppId,
        session: &Arc<Session>,
        message: Message,
        (asked, keep): (Priority, Option<NonZeroU64>),
        answer: impl FnOnce(Result<(), Code>) + std::marker::Send + 'static,
    ) {
        let Some((found, epoch)) = self.room_of(app, &message) else {
            return answer(Err(Code::NotInRoom));
        };
        let mut live = found.lock();
        if live.is_over() || live.rules.head().epoch != epoch {
            return answer(Err(Code::NotInRoom));
        }
        self.metrics.room_placed(asked, message.priority);
        live.rules.placed(&message, keep);
        live.tell_placed(session, message, move || answer(Ok(())));
    }

    /// Tells that a message was taken back, if it was not before and the room is still there. `answer` tells who asked, in
    /// the same order.
    pub(in crate::hub) fn recalled(
        &self,
        app: &AppId,
        session: &Arc<Session>,
        kept: RecallKept,
        answer: impl FnOnce(Result<(), Code>) + std::marker::Send + 'static,
    ) {
        let Some((found, epoch)) = self.room_of(app, &kept.message) else {
            return answer(Err(Code::NotInRoom));
        };
        let mut live = found.lock();
        if live.is_over() || live.rules.head().epoch != epoch {
            return answer(Err(Code::NotInRoom));
        }
        live.answer(session, move || answer(Ok(())));
        if kept.changed {
            live.rules.changed(&kept.message);
            let event = kept.event();
            live.tell_passing(&event, event.message.priority, Some(session));
        }
    }

    /// The room that has the name of a message's, and the epoch of the room that is meant: one that was made since has
    /// another.
    fn room_of(&self, app: &AppId, message: &Message) -> Option<(Arc<Room>, Epoch)> {
        let Conversation::Room(room) = &message.conversation else { return None };
        Some((self.find(app, room)?, message.position.epoch))
    }

    /// Has the messages of a room that is over removed, some at a time. As nothing that is queued later is less urgent,
    /// whatever was sent to the room before is placed before.
    pub(super) fn forget(&self, key: ConversationKey) {
        let forget = Forget { key: key.clone(), entries_max: FORGET_AT_ONCE };
        self.committer.insist(Submission { write: Write::Forget(forget), ticket: Ticket::Forget(key) });
    }

    /// Goes on with that. A server that ends leaves the rest to the next start.
    pub(in crate::hub) fn forgot(&self, key: ConversationKey, forgotten: Forgotten) {
        self.metrics.history_forgotten(forgotten.entries);
        if forgotten.more && !self.is_closed() {
            self.forget(key);
        }
    }
}
