//! Domain `room`: coming, going, and what a room says of itself.

mod attributes;
mod counters;
mod moderation;
mod visitors;

use std::{collections::BTreeSet, sync::Arc};

use quail_protocol::{
    Code, Position,
    id::{AppId, RoomId, SessionId, UserId},
    limits::{MEMBERS_PER_PAGE_MAX, RECENT_MAX},
    message::SenderNote,
    room::{
        Create, Dismiss, Dismissed, Enter, Entered, Info, InfoChanged, Join, Leave, LeaveAll, LeaveCause,
        Left, LeftAll, Members, MembersFound, MembersPage, QueryMembers, Role, RoomState, Switch, Switched,
        UpdateInfo,
    },
};

pub(super) use self::visitors::promote;
use crate::{
    context::{Context, Shared},
    domain::room::{Asker, Newcomer, check_settings},
    hub::rooms::{Asked, Door},
    router::{Failure, Router},
    session::{Identity, Session},
};

pub(super) fn routes(router: Router) -> Router {
    let router = moderation::routes(counters::routes(attributes::routes(router)));
    router
        .on(create)
        .on(join)
        .on(enter)
        .on(leave)
        .on(leave_all)
        .on(dismiss)
        .on(update_info)
        .on(info)
        .on(members)
        .on(switch)
        .on(query)
}

async fn create(context: Context, Create { room, settings }: Create) -> Result<Entered, Failure> {
    check_settings(&settings, context.shared.clock.timestamp())?;
    come(&context, &room, Door::Create(settings), 0, None).await
}

async fn join(context: Context, Join { room, recent }: Join) -> Result<Entered, Failure> {
    if context.session.visitor().is_some() {
        return visitors::come(&context, &room, recent).await;
    }
    come(&context, &room, Door::Join, recent, None).await
}

async fn enter(context: Context, Enter { room, settings, recent }: Enter) -> Result<Entered, Failure> {
    check_settings(&settings, context.shared.clock.timestamp())?;
    come(&context, &room, Door::Enter(settings), recent, None).await
}

async fn switch(
    context: Context,
    Switch { from, to, settings, recent }: Switch,
) -> Result<Switched, Failure> {
    if from == to {
        return Err(Code::InvalidArgument.into());
    }
    if !context.session.rooms().contains(&from) {
        return Err(Code::NotInRoom.into());
    }
    let door = match settings {
        Some(settings) => {
            check_settings(&settings, context.shared.clock.timestamp())?;
            Door::Enter(settings)
        }
        None => Door::Join,
    };
    let entered = come(&context, &to, door, recent, Some(&from)).await?;
    let Identity { app, user, .. } = context.identity()?;
    let (rooms, now) = (&context.shared.rooms, context.shared.moment());
    let left = rooms.leave(app, &from, (Some(user), &context.session, Asked::Here), LeaveCause::Left, now);
    // Whoever was put out of it meanwhile is told by an event how far it came.
    let last = left.map_or_else(|_| Position::default(), |left| left.last);
    Ok(Switched { entered, last })
}

/// Comes into a room, with the session's place in `instead` if it is to be left for that.
async fn come(
    context: &Context,
    room: &RoomId,
    door: Door,
    recent: u8,
    instead: Option<&RoomId>,
) -> Result<Entered, Failure> {
    if usize::from(recent) > RECENT_MAX {
        return Err(Code::InvalidArgument.into());
    }
    let Context { session, shared } = context;
    let Identity { app, user, session: id, .. } = context.identity()?.clone();
    let config = &shared.app(&app)?.rooms;
    let newcomer = newcomer(shared, &app, &user, id).await?;
    let sessions = shared.hub.sessions(&app, &user);
    let rooms = sessions.iter().flat_map(|other| {
        let left = instead.filter(|_| Arc::ptr_eq(other, session));
        other.rooms().into_iter().filter(move |room| Some(room) != left)
    });
    let theirs: BTreeSet<_> = rooms.collect();
    if theirs.len() >= config.per_user && !theirs.contains(room) {
        return Err(Code::TooManyRooms.into());
    }
    let who = (&newcomer, session);
    let entered = shared.rooms.enter((&app, config), room, &door, who, recent.into(), shared.moment())?;
    if session.has_left() || !session.may_send() {
        // It ended meanwhile, and its rooms were left before it came into this one.
        leave_rooms(shared, &app, Some(&user), session, LeaveCause::LoggedOut);
        return Err(Code::NotLoggedIn.into());
    }
    match entered.kept().await {
        Ok(entered) => Ok(entered),
        Err(reject) => {
            // Whoever is told that they are not in is not.
            _ = shared.rooms.leave(
                &app,
                room,
                (Some(&user), session, Asked::Here),
                LeaveCause::Left,
                shared.moment(),
            );
            Err(reject.into())
        }
    }
}

/// A user as a room is to see them.
pub(super) async fn newcomer(
    shared: &Shared,
    app: &AppId,
    user: &UserId,
    session: SessionId,
) -> Result<Newcomer, Failure> {
    let profile = shared.store.profiles(app, std::slice::from_ref(user)).await?.pop();
    let (name, avatar) = profile.map(|profile| (profile.name, profile.avatar)).unwrap_or_default();
    let note = SenderNote { name, avatar, role: Role::Member };
    Ok(Newcomer { user: user.clone(), session, note })
}

/// Lets a session that ended out of its rooms, unless it ended with the server: then they are there when it is again.
pub(super) fn leave_rooms(
    shared: &Shared,
    app: &AppId,
    user: Option<&UserId>,
    session: &Arc<Session>,
    cause: LeaveCause,
) {
    if !shared.rooms.is_closed() {
        shared.rooms.leave_all(app, (user, session, Asked::Here), cause, shared.moment());
    }
}

async fn leave(context: Context, Leave { room, all_devices }: Leave) -> Result<Left, Failure> {
    let (app, asker) = context.asker()?;
    let (rooms, now) = (&context.shared.rooms, context.shared.moment());
    let here = (asker.user(), &context.session, Asked::Here);
    let left = rooms.leave(&app, &room, here, LeaveCause::Left, now)?;
    if all_devices {
        for session in others(&context, &app, &asker) {
            // Those that are not in it stay as they are.
            let there = (asker.user(), &session, Asked::OnAnother);
            _ = rooms.leave(&app, &room, there, LeaveCause::Left, now);
        }
    }
    Ok(left)
}

async fn leave_all(context: Context, LeaveAll { all_devices }: LeaveAll) -> Result<LeftAll, Failure> {
    let (app, asker) = context.asker()?;
    let (shared, now) = (&context.shared, context.shared.moment());
    let here = (asker.user(), &context.session, Asked::Here);
    let rooms = shared.rooms.leave_all(&app, here, LeaveCause::Left, now);
    if all_devices {
        for session in others(&context, &app, &asker) {
            let there = (asker.user(), &session, Asked::OnAnother);
            shared.rooms.leave_all(&app, there, LeaveCause::Left, now);
        }
    }
    Ok(LeftAll { rooms })
}

/// The other sessions of the user who asks. A visitor has none.
fn others(context: &Context, app: &AppId, asker: &Asker) -> Vec<Arc<Session>> {
    let Some(user) = asker.user() else { return vec![] };
    let mut sessions = context.shared.hub.sessions(app, user);
    sessions.retain(|session| !Arc::ptr_eq(session, &context.session));
    sessions
}

async fn dismiss(context: Context, dismiss: Dismiss) -> Result<Dismissed, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.rooms.dismiss(app, &dismiss, (user, &context.session))?.kept().await?)
}

async fn update_info(context: Context, update: UpdateInfo) -> Result<InfoChanged, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.rooms.update_info(app, user, &context.session, update)?.kept().await?)
}

async fn info(context: Context, Info { room }: Info) -> Result<RoomState, Failure> {
    let (app, asker) = context.asker()?;
    let config = &context.shared.app(&app)?.rooms;
    Ok(context.shared.rooms.state((&app, config), &room, &asker)?)
}

async fn members(context: Context, query: Members) -> Result<MembersPage, Failure> {
    if usize::from(query.limit) > MEMBERS_PER_PAGE_MAX {
        return Err(Code::InvalidArgument.into());
    }
    let (app, asker) = context.asker()?;
    Ok(context.shared.rooms.members(&app, &asker, &query)?)
}

async fn query(context: Context, query: QueryMembers) -> Result<MembersFound, Failure> {
    let (app, asker) = context.asker()?;
    Ok(context.shared.rooms.members_of(&app, &asker, &query)?)
}
