//! What owners and admins do, and telling it.

use std::sync::Arc;

use quail_protocol::{
    Code, Priority,
    bounded::List,
    id::{AppId, RoomId, UserId},
    room::{
        Kick, Kicked, LeaveCause, MuteAll, Restricted, RestrictionKind, Restrictions, RestrictionsPage,
        RoleSet, SetRole, Transfer, Transferred,
    },
};

use super::{Answer, Now, Rooms};
use crate::{domain::room::Restrict, session::Session};

impl Rooms {
    /// Makes an admin of a member, or a member of an admin.
    pub fn set_role(
        &self,
        app: &AppId,
        by: &UserId,
        session: &Arc<Session>,
        set: &SetRole,
    ) -> Result<Answer<RoleSet>, Code> {
        self.ready()?;
        self.within(app, &set.room, Code::NotInRoom, |live| {
            let changed = live.rules.set_role(by, &set.user, set.role, set.reason.clone())?;
            live.tell_passing(&changed, Priority::Normal, Some(session));
            Ok(self.keep(app, &set.room, live, RoleSet { role: changed.role }))
        })
    }

    /// Gives a room to somebody in it.
    pub fn transfer(
        &self,
        app: &AppId,
        by: &UserId,
        session: &Arc<Session>,
        transfer: &Transfer,
    ) -> Result<Answer<Transferred>, Code> {
        self.ready()?;
        self.within(app, &transfer.room, Code::NotInRoom, |live| {
            let changed = live.rules.transfer(by, &transfer.user, transfer.reason.clone())?;
            live.tell_passing(&changed, Priority::Normal, Some(session));
            Ok(self.keep(app, &transfer.room, live, Transferred { owner: changed.user }))
        })
    }

    /// Puts somebody out.
    pub fn kick(&self, app: &AppId, by: &UserId, kick: &Kick, now: Now) -> Result<Kicked, Code> {
        self.within(app, &kick.room, Code::NotInRoom, |live| {
            live.rules.may_kick(by, &kick.user)?;
            live.put_out(&kick.user, LeaveCause::KickedOut, (by, &kick.reason), now);
            self.tell_news(app, &kick.room, live, now);
            Ok(Kicked {})
        })
    }

    /// Forbids somebody something, or allows it again. Whoever is kept out from now on is put out.
    pub fn restrict(
        &self,
        app: &AppId,
        room: &RoomId,
        (by, session): (&UserId, &Arc<Session>),
        restrict: Restrict,
        now: Now,
    ) -> Result<Answer<Restricted>, Code> {
        self.ready()?;
        self.within(app, room, Code::NotInRoom, |live| {
            let changed = live.rules.restrict(by, restrict, now.time)?;
            let puts_out = changed.kind == RestrictionKind::Ban && changed.until.is_some();
            if puts_out {
                live.put_out(&changed.user, LeaveCause::Banned, (by, &changed.reason), now);
            }
            live.tell_passing(&changed, Priority::Normal, Some(session));
            let answer = self.keep(app, room, live, Restricted {});
            if puts_out {
                self.tell_news(app, room, live, now);
            }
            Ok(answer)
        })
    }

    /// Forbids everybody to speak but some, or allows it again.
    pub fn mute_all(
        &self,
        app: &AppId,
        (by, session): (&UserId, &Arc<Session>),
        mute: MuteAll,
        now: Now,
    ) -> Result<Answer<Restricted>, Code> {
        self.ready()?;
        let room = mute.room.clone();
        self.within(app, &room, Code::NotInRoom, |live| {
            let changed = live.rules.mute_all(by, mute, now.time)?;
            live.tell_passing(&changed, Priority::Normal, Some(session));
            Ok(self.keep(app, &room, live, Restricted {}))
        })
    }

    /// Some of those who are kept out or muted.
    pub fn restrictions(
        &self,
        app: &AppId,
        by: &UserId,
        query: &Restrictions,
    ) -> Result<RestrictionsPage, Code> {
        self.within(app, &query.room, Code::NotInRoom, |live| {
            let after = query.after.as_ref();
            let (page, more) = live.rules.restrictions(by, query.kind, after, query.limit.into())?;
            Ok(RestrictionsPage { restrictions: List::new(page).map_err(|_| Code::InvalidArgument)?, more })
        })
    }
}
