//! What those in a room may read of it.

use std::sync::Arc;

use quail_protocol::{
    Code, Rev,
    bounded::List,
    id::{AppId, RoomId},
    message::{ChangesPage, Page},
    room::{Members, MembersFound, MembersPage, QueryMembers, RoomState},
};

use super::{Head, Rooms, room::Live};
use crate::{
    apps,
    domain::room::{Asker, Room as Rules},
    session::Session,
    store::RangeQuery,
};

impl Rooms {
    /// Reads a room, for somebody in it.
    pub fn ask<R>(
        &self,
        app: &AppId,
        room: &RoomId,
        asker: &Asker,
        ask: impl FnOnce(&Rules) -> R,
    ) -> Result<R, Code> {
        self.inside(app, room, asker, Code::RoomNotFound, |live| Ok(ask(&live.rules)))
    }

    /// Looks at a room for somebody in it; `absent` if there is none.
    fn inside<R>(
        &self,
        app: &AppId,
        room: &RoomId,
        asker: &Asker,
        absent: Code,
        look: impl FnOnce(&Live) -> Result<R, Code>,
    ) -> Result<R, Code> {
        let found = self.find(app, room).ok_or(absent)?;
        let live = found.lock();
        live.rules.is_in(asker)?;
        look(&live)
    }

    /// How a room stands, for somebody in it, and for others if the app allows that.
    pub fn state(
        &self,
        (app, config): (&AppId, &apps::Rooms),
        room: &RoomId,
        asker: &Asker,
    ) -> Result<RoomState, Code> {
        if !config.info_for_outsiders {
            return self.ask(app, room, asker, |rules| rules.state(asker));
        }
        let found = self.find(app, room).ok_or(Code::RoomNotFound)?;
        let live = found.lock();
        Ok(live.rules.state(asker))
    }

    /// Those of some users who are in a room, for somebody in it.
    pub fn members_of(&self, app: &AppId, asker: &Asker, query: &QueryMembers) -> Result<MembersFound, Code> {
        let members = self.ask(app, &query.room, asker, |rules| rules.members_of(&query.users))?;
        Ok(MembersFound { members: List::new(members).map_err(|_| Code::InvalidArgument)? })
    }

    /// Some of the users in a room, for somebody in it.
    pub fn members(&self, app: &AppId, asker: &Asker, query: &Members) -> Result<MembersPage, Code> {
        let (count, (members, next)) = self.ask(app, &query.room, asker, |rules| {
            (rules.count(), rules.members(query.after, query.limit.into(), query.newest_first))
        })?;
        let members = List::new(members).map_err(|_| Code::InvalidArgument)?;
        Ok(MembersPage { count, members, next })
    }

    /// Messages of a room, for somebody in it.
    pub fn history(
        &self,
        app: &AppId,
        room: &RoomId,
        asker: &Asker,
        query: RangeQuery,
    ) -> Result<Page, Code> {
        self.inside(app, room, asker, Code::NotInRoom, |live| live.page(query))
    }

    /// Changes of messages of a room, for somebody in it.
    pub fn changes(
        &self,
        app: &AppId,
        room: &RoomId,
        asker: &Asker,
        since: Rev,
        entries_max: usize,
    ) -> Result<ChangesPage, Code> {
        self.inside(app, room, asker, Code::NotInRoom, |live| live.changes(since, entries_max))
    }

    /// How far a room has come, if the session is in it.
    pub fn head(&self, app: &AppId, room: &RoomId, session: &Arc<Session>) -> Option<Head> {
        let found = self.find(app, room)?;
        let live = found.lock();
        live.has(session).then(|| live.head())
    }
}
