//! Visitors in rooms.

use std::{collections::BTreeSet, sync::Arc};

use quail_protocol::{
    Code,
    id::{AppId, RoomId},
    limits::RECENT_MAX,
    room::{Entered, LeaveCause},
};

use super::leave_rooms;
use crate::{
    apps,
    context::{Context, Shared},
    domain::room::Newcomer,
    router::Failure,
    session::Session,
};

/// Lets a visitor into a room.
pub(super) async fn come(context: &Context, room: &RoomId, recent: u8) -> Result<Entered, Failure> {
    if usize::from(recent) > RECENT_MAX {
        return Err(Code::InvalidArgument.into());
    }
    let Context { session, shared } = context;
    let visitor = session.visitor().ok_or(Code::NotLoggedIn)?;
    let (app, config) = (&visitor.app, &shared.app(&visitor.app)?.rooms);
    let theirs = session.rooms();
    if theirs.len() >= config.per_user && !theirs.contains(room) {
        return Err(Code::TooManyRooms.into());
    }
    let entered =
        shared.rooms.visit(app, room, (visitor.session, session), recent.into(), shared.moment())?;
    if session.has_left() {
        // It ended meanwhile, and its rooms were left before it came into this one.
        leave_rooms(shared, app, None, session, LeaveCause::Left);
        return Err(Code::NotLoggedIn.into());
    }
    Ok(entered.kept().await?)
}

/// Makes a member of a visitor who has logged in, in each of their rooms. They are put out where they are not let in.
pub(crate) fn promote(
    shared: &Shared,
    (app, config): (&AppId, &apps::Rooms),
    session: &Arc<Session>,
    newcomer: &Newcomer,
) {
    let user = &newcomer.user;
    let mut others = shared.hub.sessions(app, user);
    others.retain(|other| !Arc::ptr_eq(other, session));
    let mut theirs: BTreeSet<_> = others.iter().flat_map(|other| other.rooms()).collect();
    for room in session.rooms() {
        let is_one_too_many = theirs.len() >= config.per_user && !theirs.contains(&room);
        let newcomer = Some(newcomer).filter(|_| !is_one_too_many);
        if shared.rooms.promote(app, &room, (newcomer, session), shared.moment()) {
            theirs.insert(room);
        }
    }
    if session.has_left() {
        // It gave way meanwhile, before it was a member. Whoever ended it may not even have known who it was to be.
        leave_rooms(shared, app, Some(user), session, LeaveCause::LoggedOut);
    }
}
