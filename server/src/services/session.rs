//! Domain `session`: login, logout, ping, renewal.

use std::sync::Arc;

use quail_protocol::{
    Close, Code, Seq,
    id::SessionId,
    limits::{FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX, TEXT_BYTES_MAX},
    session::{Limits, LoggedIn, LoggedOut, Login, Logout, Ping, Pong, RenewToken, TokenRenewed},
    version::REVISION,
};

use crate::{
    apps,
    context::{Context, Shared},
    router::{Failure, Router},
    session::{Identity, Session},
    store::ProfileChange,
};

pub(super) fn routes(router: Router) -> Router {
    router.on(login).on(logout).on(ping).on(renew_token)
}

async fn login(context: Context, login: Login) -> Result<LoggedIn, Failure> {
    let Context { session, shared } = context;
    if session.was_logged_in() {
        return Err(Code::AlreadyLoggedIn.into());
    }
    let admitted = admit(&shared, &session, login).await;
    if admitted.is_err() {
        session.refuse_login();
    }
    admitted
}

async fn admit(shared: &Shared, session: &Arc<Session>, login: Login) -> Result<LoggedIn, Failure> {
    let app = shared.app(&login.app)?;
    let time = shared.clock.timestamp();
    let token_expires = apps::verify(&login.app, app, &login.user, login.token.as_str(), time)?;
    let change = ProfileChange {
        app: login.app.clone(),
        user: login.user.clone(),
        name: login.name,
        avatar: login.avatar,
        time,
    };
    super::user::keep_profile(shared, session, change).await?;
    let (unix_ms, random) = shared.entropy.id_parts(time);
    let id = SessionId::at(unix_ms, random);
    let class = login.platform.class();
    // In the hub before it is anybody: whoever is displaced by the next login must be found there.
    let (app_id, user) = (login.app.clone(), login.user.clone());
    let identity = Identity { app: login.app, user: login.user, device: login.device, class, session: id };
    let gives_way =
        |other: &Session| other.identity().is_none_or(|other| app.multi_login.displaces(other.class, class));
    let displaced = shared
        .hub
        .register(&identity.app, &identity.user, session.clone(), app.sessions_per_user, gives_way)
        .map_err(|_| Code::TooManySessions)?;
    session.set_token_expires(token_expires);
    tracing::info!(app = %identity.app, user = %identity.user, device = %identity.device, client = ?login.client, "logged in");
    // The state machine reads one request at a time before login, so nobody else logs in on this connection.
    session.log_in(identity, login.stream_window_bytes).map_err(|_| Code::AlreadyLoggedIn)?;
    shared.metrics.sessions_changed(1);
    kick(shared, &displaced).await;
    // Behind the registration: whatever this does not count is told as an event.
    let feed = shared.store.feed(&app_id, &user, Seq(0), 0).await?.head;
    Ok(LoggedIn { session: id, revision: REVISION, time, token_expires, limits: limits(shared, app), feed })
}

/// Ends sessions that gave way. When this returns nothing of theirs gets a place any more.
async fn kick(shared: &Shared, displaced: &[Arc<Session>]) {
    for session in displaced {
        session.end(Close::KickedOut);
        if session.leave() {
            shared.metrics.sessions_changed(-1);
        }
    }
    if !displaced.is_empty() {
        shared.committer.barrier().await;
    }
}

async fn renew_token(context: Context, renew: RenewToken) -> Result<TokenRenewed, Failure> {
    let identity = context.identity()?;
    let shared = &context.shared;
    let app = shared.app(&identity.app)?;
    let now = shared.clock.timestamp();
    let token_expires = apps::verify(&identity.app, app, &identity.user, renew.token.as_str(), now)?;
    context.session.set_token_expires(token_expires);
    Ok(TokenRenewed { token_expires })
}

fn limits(shared: &Shared, app: &apps::Config) -> Limits {
    let idle = shared.session.idle_timeout;
    Limits {
        frame_bytes: FRAME_BYTES_MAX as u32,
        requests_in_flight: REQUESTS_IN_FLIGHT_MAX as u16,
        text_bytes: TEXT_BYTES_MAX as u32,
        texts_per_second: app.rates.text,
        queries_per_second: app.rates.query,
        changes_per_second: app.rates.change,
        ping_after_ms: shared.session.ping_after().as_millis() as u32,
        idle_timeout_ms: idle.as_millis() as u32,
    }
}

async fn logout(context: Context, _: Logout) -> Result<LoggedOut, Failure> {
    depart(&context.shared, &context.session);
    Ok(LoggedOut {})
}

async fn ping(context: Context, _: Ping) -> Result<Pong, Failure> {
    Ok(Pong { time: context.shared.clock.timestamp() })
}

/// Takes a session out of the hub, at logout or when its connection ended.
pub fn depart(shared: &Shared, session: &Arc<Session>) {
    let Some(identity) = session.identity().cloned() else { return };
    if session.leave() && shared.hub.deregister(&identity.app, &identity.user, session, shared.clock.now()) {
        shared.metrics.sessions_changed(-1);
        tracing::info!(app = %identity.app, user = %identity.user, device = %identity.device, "logged out");
    }
}
