//! Visitors in rooms: let in, and made members when they log in.

use std::sync::Arc;

use quail_protocol::{
    Code,
    id::{AppId, RoomId, SessionId},
    room::{Entered, EntryStatus, LeaveCause},
};

use super::{Answer, Now, Rooms};
use crate::{
    domain::room::{Asker, Newcomer},
    session::Session,
};

impl Rooms {
    /// Lets a visitor into a room that is there, and tells them up to `recent` of the newest messages.
    pub fn visit(
        &self,
        app: &AppId,
        room: &RoomId,
        (id, session): (SessionId, &Arc<Session>),
        recent: usize,
        now: Now,
    ) -> Result<Answer<Entered>, Code> {
        let found = self.find(app, room).ok_or(Code::RoomNotFound)?;
        let mut live = found.lock();
        if live.has_ended(now.time) {
            _ = self.end(app, room, &found, live, LeaveCause::Ended, None);
            return Err(Code::RoomNotFound);
        }
        let status = if live.visit((id, session)) { EntryStatus::Joined } else { EntryStatus::AlreadyIn };
        let state = live.rules.state(&Asker::Visitor(id));
        let entered = Entered { status, state, recent: live.recent(recent) };
        Ok(self.let_in(app, room, &found, &mut live, (session, entered)))
    }

    /// Makes a member of a visitor who became a user, or puts them out if they may not come in as that user; without a
    /// newcomer in any case. True if they are a member.
    pub fn promote(
        &self,
        app: &AppId,
        room: &RoomId,
        (newcomer, session): (Option<&Newcomer>, &Arc<Session>),
        now: Now,
    ) -> bool {
        // One that has ended has told so.
        let promoted = self.within(app, room, Code::RoomNotFound, |live| {
            if !live.has(session) {
                return Err(Code::NotInRoom);
            }
            let promoted = newcomer
                .ok_or(Code::TooManyRooms)
                .and_then(|newcomer| live.rules.promote(newcomer.clone(), now.time));
            match promoted {
                Ok(_) => self.tell_news(app, room, live, now),
                Err(Code::BannedFromRoom) => live.put_out_visitor(session, LeaveCause::Banned, now),
                Err(_) => live.put_out_visitor(session, LeaveCause::KickedOut, now),
            }
            promoted.map(|_| ())
        });
        promoted.is_ok()
    }
}
