//! Visitors: how they come, go, and become users.

use std::sync::Arc;

use quail_protocol::{
    Code,
    id::{SessionId, UserId},
    room::LeaveCause,
    session::{Login, VISITOR_PREFIX, Visit, Visiting},
    version::REVISION,
};

use super::{super::room, limits};
use crate::{
    apps,
    context::{Context, Shared},
    router::{Failure, Router},
    session::{Session, Visitor},
};

pub(super) fn routes(router: Router) -> Router {
    router.on(visit)
}

async fn visit(context: Context, visit: Visit) -> Result<Visiting, Failure> {
    let Context { session, shared } = context;
    if session.was_logged_in() || session.visitor().is_some() {
        return Err(Code::AlreadyLoggedIn.into());
    }
    let admitted = admit(&shared, &session, visit);
    if admitted.is_err() {
        session.refuse_login();
    }
    admitted
}

fn admit(shared: &Shared, session: &Arc<Session>, visit: Visit) -> Result<Visiting, Failure> {
    let app = shared.app(&visit.app)?;
    if !app.visitors {
        return Err(Code::VisitorsRefused.into());
    }
    let guest = session.address().and_then(|address| shared.addresses.visit(address));
    let guest = guest.ok_or(Code::TooManyVisitors)?;
    let seat = shared.seats.take(&visit.app, app.sessions_max).ok_or(Code::AppFull)?;
    let id = session_id(shared);
    let name = UserId::new(format!("{VISITOR_PREFIX}{id}")).map_err(|_| Code::Internal)?;
    session.sit(seat);
    let visitor = Visitor { app: visit.app, id: name.clone(), session: id, guest };
    session.visit(visitor, visit.stream_window_bytes);
    shared.metrics.visitors_changed(1);
    Ok(Visiting {
        session: id,
        visitor: name,
        revision: REVISION,
        time: shared.clock.timestamp(),
        limits: limits(shared, app),
    })
}

/// A name for a session.
pub(super) fn session_id(shared: &Shared) -> SessionId {
    let (unix_ms, random) = shared.entropy.id_parts(shared.clock.timestamp());
    SessionId::at(unix_ms, random)
}

/// A login as it counts: no user is called as visitors are, and a visitor goes on with nothing but their own session.
pub(super) fn check(session: &Session, login: Login) -> Result<Login, Code> {
    if login.user.as_str().starts_with(VISITOR_PREFIX) {
        return Err(Code::InvalidArgument);
    }
    match session.visitor() {
        Some(visitor) if visitor.app != login.app => Err(Code::InvalidArgument),
        Some(_) => Ok(Login { resume: None, ..login }),
        None => Ok(login),
    }
}

/// Makes a visitor who has logged in a member of the rooms that they were in.
pub(super) async fn promote(
    shared: &Shared,
    app: &apps::Config,
    session: &Arc<Session>,
) -> Result<(), Failure> {
    if session.take_visitor().is_none() {
        return Ok(());
    }
    shared.metrics.visitors_changed(-1);
    room::promote(shared, app, session).await
}

/// Lets a visitor out of all rooms, if there is one.
pub(super) fn depart(shared: &Shared, session: &Arc<Session>, cause: LeaveCause) {
    if let Some(visitor) = session.take_visitor() {
        session.leave();
        room::leave_rooms(shared, &visitor.app, None, session, cause);
        shared.metrics.visitors_changed(-1);
        tracing::info!(app = %visitor.app, visitor = %visitor.id, "visit over");
    }
}
