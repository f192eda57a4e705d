//! Visitors: how they come, go, and become users.

use std::sync::Arc;

use quail_protocol::{
    Close, Code,
    id::{AppId, SessionId, UserId},
    limits::GREETING_FRAME_BYTES_MAX,
    room::LeaveCause,
    session::{Limits, Login, VISITOR_PREFIX, Visit, Visiting},
    version::REVISION,
};

use super::{super::room, limits};
use crate::{
    apps,
    context::{Context, Shared},
    domain::room::Newcomer,
    router::{Failure, Router},
    session::{Session, Streams, Visitor},
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
    if app.visitors_max == 0 {
        return Err(Code::VisitorsRefused.into());
    }
    let guest = session.address().and_then(|address| shared.addresses.visit(address));
    let guest = guest.ok_or(Code::TooManyVisitors)?;
    let seat = shared.visitor_seats.take(&visit.app, app.visitors_max).ok_or(Code::TooManyVisitors)?;
    let id = session_id(shared);
    let name = UserId::new(format!("{VISITOR_PREFIX}{id}")).map_err(|_| Code::Internal)?;
    session.sit(seat);
    let visitor = Visitor::new(visit.app, name.clone(), id, guest);
    session.visit(visitor, Streams { window_bytes: visit.stream_window_bytes, per_lane: 1 });
    shared.metrics.visitors_changed(1);
    Ok(Visiting {
        session: id,
        visitor: name,
        revision: REVISION,
        time: shared.clock.timestamp(),
        limits: Limits { frame_bytes: GREETING_FRAME_BYTES_MAX as u32, ..limits(shared, app) },
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

/// The user that a visitor is to be, as rooms are to see them; `None` if it is no visitor who logs in. Asked before anything
/// changes: if it cannot be read the visitor stays what they are.
pub(super) async fn newcomer(
    shared: &Shared,
    session: &Session,
    login: &Login,
) -> Result<Option<Newcomer>, Failure> {
    let Some(visitor) = session.visitor() else { return Ok(None) };
    Ok(Some(room::newcomer(shared, &login.app, &login.user, visitor.session).await?))
}

/// Makes a visitor who has logged in a member of the rooms that they were in.
pub(super) fn promote(
    shared: &Shared,
    app: (&AppId, &apps::Rooms),
    session: &Arc<Session>,
    newcomer: &Newcomer,
) {
    if session.take_visitor().is_some() {
        shared.metrics.visitors_changed(-1);
        room::promote(shared, app, session, newcomer);
    }
}

/// The login of a visitor, until it succeeds. One that comes to nothing after they became a user, because it takes too long
/// or the store fails, has no way back: the connection fails, and the client comes again as a visitor.
pub(super) struct Attempt<'a> {
    shared: &'a Shared,
    session: &'a Arc<Session>,
    is_on: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(shared: &'a Shared, session: &'a Arc<Session>) -> Self {
        Self { shared, session, is_on: session.visitor().is_some() }
    }

    pub(super) fn succeeded(mut self) {
        self.is_on = false;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_on && self.session.was_logged_in() {
            self.session.end(Close::Failed);
            super::depart(self.shared, self.session, LeaveCause::LoggedOut);
        }
    }
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
