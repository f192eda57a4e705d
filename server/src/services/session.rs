//! Domain `session`: login, logout, ping, renewal, and going on after a lost connection.

mod visit;

use std::sync::Arc;

use quail_protocol::{
    Close, Code, Conversation,
    bounded::List,
    id::{AppId, RoomId},
    limits::{FRAME_BYTES_MAX, LOGIN_CONVERSATIONS_MAX, REQUESTS_IN_FLIGHT_MAX},
    room::LeaveCause,
    session::{
        Cursor, Limits, LoggedIn, LoggedOut, Login, Logout, Ping, Pong, RenewToken, Resume, ResumeToken,
        Resumed, TokenRenewed,
    },
    version::REVISION,
};

use super::conversation;
use crate::{
    apps,
    context::{Context, Shared},
    domain::{self, room::Asker},
    hub,
    router::{Failure, Router},
    session::{Identity, Resumption, Session, Streams},
    store::{ConversationKey, ProfileChange},
};

pub(super) fn routes(router: Router) -> Router {
    visit::routes(router).on(login).on(logout).on(ping).on(renew_token).on(catch_up)
}

async fn login(context: Context, login: Login) -> Result<LoggedIn, Failure> {
    let Context { session, shared } = context;
    if session.was_logged_in() {
        return Err(Code::AlreadyLoggedIn.into());
    }
    let admitted = admit(&shared, &session, login).await;
    // What fails for our own sake is no fault of the client's.
    if matches!(admitted, Err(Failure::Reject(_))) {
        session.refuse_login();
    }
    admitted
}

async fn admit(shared: &Shared, session: &Arc<Session>, login: Login) -> Result<LoggedIn, Failure> {
    let app = shared.app(&login.app)?;
    let login = visit::check(session, login)?;
    let conversations = usize::from(login.conversations);
    if conversations > LOGIN_CONVERSATIONS_MAX {
        return Err(Code::InvalidArgument.into());
    }
    let time = shared.clock.timestamp();
    let token_expires = apps::verify(&login.app, app, &login.user, login.token.as_str(), time)?;
    not_displaced(shared, &login)?;
    let attempt = visit::Attempt::new(shared, session);
    let change = ProfileChange {
        app: login.app.clone(),
        user: login.user.clone(),
        name: login.name.clone(),
        avatar: login.avatar.clone(),
        extension: None,
        time,
    };
    super::user::keep_profile(shared, session, change).await?;
    let (current, resumed) = match resume(shared, session, &login) {
        Some(older) => (older, true),
        None => {
            // Once more: another login may have been served while the profile was kept.
            not_displaced(shared, &login)?;
            (begin(shared, app, session, login).await?, false)
        }
    };
    let token_expires = current.extend_token(token_expires);
    let identity = current.identity().ok_or(Code::NotLoggedIn)?;
    // Behind the registration: whatever this does not count is told as an event.
    let overview = match shared.store.overview(&identity.app, &identity.user, conversations).await {
        Ok(overview) => overview,
        Err(error) => {
            depart(shared, &current, LeaveCause::LoggedOut);
            return Err(error.into());
        }
    };
    attempt.succeeded();
    Ok(LoggedIn {
        session: identity.session,
        resumed,
        resume_token: current.resume_token().ok_or(Code::Internal)?,
        revision: REVISION,
        time,
        token_expires,
        limits: limits(shared, app),
        feed: overview.feed,
        conversations: conversation::page(app, overview.conversations, overview.more)?,
    })
}

/// Refuses a login that means to go on with a session that gave way to another.
fn not_displaced(shared: &Shared, login: &Login) -> Result<(), Failure> {
    let now = shared.clock.now();
    let displaced = |token| shared.hub.was_displaced(&login.app, &login.user, token, now);
    if login.resume.is_some_and(displaced) { Err(Code::LoggedInElsewhere.into()) } else { Ok(()) }
}

fn streams(login: &Login) -> Streams {
    Streams { window_bytes: login.stream_window_bytes, per_lane: login.streams_per_lane }
}

/// Goes on with the session that the login names, if it is still kept for this device.
fn resume(shared: &Shared, connection: &Session, login: &Login) -> Option<Arc<Session>> {
    let token = login.resume?;
    let is_meant = |session: &Arc<Session>| {
        session.resume_token() == Some(token)
            && session.may_come_back()
            && session.identity().is_some_and(|identity| identity.device == login.device)
    };
    let older = shared.hub.sessions(&login.app, &login.user).into_iter().find(is_meant)?;
    let attachment = older.outbox.attach()?;
    let resumption = Resumption { session: older.clone(), attachment };
    connection.resume(resumption, streams(login));
    shared.metrics.session_resumed();
    Some(older)
}

/// Begins a new session.
async fn begin(
    shared: &Shared,
    app: &apps::Config,
    session: &Arc<Session>,
    login: Login,
) -> Result<Arc<Session>, Failure> {
    let visitor = visit::newcomer(shared, session, &login).await?;
    let id = visitor.as_ref().map_or_else(|| visit::session_id(shared), |visitor| visitor.session);
    let class = login.platform.class();
    // In the hub before it is anybody: whoever is displaced by the next login must be found there.
    let streams = streams(&login);
    let identity = Identity { app: login.app, user: login.user, device: login.device, class, session: id };
    let gives_way = |other: &Session| {
        other.identity().is_none_or(|other_identity| {
            let forgotten = other.outbox.is_away() && other_identity.device == identity.device;
            forgotten || app.multi_login.displaces(other_identity.class, class)
        })
    };
    let known_until = shared.clock.now() + shared.session.grace;
    let displaced = shared
        .hub
        .register(
            &identity.app,
            &identity.user,
            session.clone(),
            app.sessions_per_user,
            known_until,
            gives_way,
        )
        .map_err(|_| Code::TooManySessions)?;
    // Those that give way leave their seats in a moment.
    let seats_max = app.sessions_max.saturating_add(displaced.len());
    let Some(seat) = shared.seats.take(&identity.app, seats_max) else {
        shared.hub.deregister(&identity.app, &identity.user, session, shared.clock.now());
        kick(shared, &displaced).await;
        return Err(Code::AppFull.into());
    };
    session.set_resume_token(ResumeToken(shared.entropy.bytes()));
    let of = identity.app.clone();
    // The state machine reads one request at a time before login, so nobody else logs in on this connection.
    session.log_in(identity, streams).map_err(|_| Code::AlreadyLoggedIn)?;
    session.sit(seat);
    shared.metrics.sessions_changed(1);
    if let Some(visitor) = visitor {
        visit::promote(shared, (&of, &app.rooms), session, &visitor);
    }
    kick(shared, &displaced).await;
    Ok(session.clone())
}

/// Ends sessions that gave way. When this returns nothing of theirs gets a place any more.
async fn kick(shared: &Shared, displaced: &[Arc<Session>]) {
    for session in displaced {
        let identity = session.identity().cloned();
        session.end(Close::KickedOut);
        if session.leave() {
            shared.metrics.sessions_changed(-1);
            if let Some(Identity { app, user, .. }) = identity {
                super::room::leave_rooms(shared, &app, Some(&user), session, LeaveCause::LoggedOut);
            }
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

/// Answers cursors. The session is in the hub already, so what is placed after the heads are read comes as an event.
async fn catch_up(context: Context, resume: Resume) -> Result<Resumed, Failure> {
    let (app, asker) = context.asker()?;
    // `None`: there are no such conversations, or whoever asks is in none of them, or the room alone knows.
    let key = |cursor: &Cursor| match (&cursor.conversation, &asker) {
        (Conversation::Room(room), _) => context.shared.rooms.stored_with(&app, room, &context.session),
        (conversation, Asker::User(user)) => ConversationKey::of(&app, user, conversation).ok(),
        (_, Asker::Visitor(_)) => None,
    };
    let keys: Vec<_> = resume.cursors.iter().map(key).collect();
    let known: Vec<_> = keys.iter().flatten().cloned().collect();
    let mut heads = context.shared.store.heads(&known).await?.into_iter();
    let answer = |(cursor, key): (&Cursor, &Option<ConversationKey>)| {
        let head = match (&cursor.conversation, key) {
            (_, Some(_)) => heads.next().map(|head| domain::resume::Head {
                position: head.position,
                last_by_priority: head.last_by_priority,
                first: head.first,
                rev: head.rev,
            }),
            (Conversation::Room(room), None) => room_head(&context, &app, room),
            (_, None) => None,
        };
        let answer = domain::resume::answer(cursor, head);
        context.shared.metrics.resume_answered(answer.missed);
        answer
    };
    let answers = resume.cursors.iter().zip(&keys).map(answer).collect();
    Ok(Resumed { answers: List::new(answers).map_err(|_| Code::Internal)? })
}

/// How far a room has come, if this session is in it.
fn room_head(context: &Context, app: &AppId, room: &RoomId) -> Option<domain::resume::Head> {
    let head = context.shared.rooms.head(app, room, &context.session)?;
    let hub::rooms::Head { position, last_by_priority, first, rev } = head;
    Some(domain::resume::Head { position, last_by_priority, first, rev })
}

fn limits(shared: &Shared, app: &apps::Config) -> Limits {
    let idle = shared.session.idle_timeout;
    let (sizes, rates) = (app.sizes.in_force(), &app.rates);
    Limits {
        frame_bytes: FRAME_BYTES_MAX as u32,
        requests_in_flight: REQUESTS_IN_FLIGHT_MAX as u16,
        text_bytes: sizes.text as u32,
        media_bytes: sizes.media as u32,
        custom_bytes: sizes.custom as u32,
        command_bytes: sizes.command as u32,
        barrage_bytes: sizes.barrage as u32,
        signal_bytes: sizes.signal as u32,
        texts_per_second: rates.text,
        customs_per_second: rates.custom,
        commands_per_second: rates.command,
        barrages_per_second: rates.barrage,
        signals_per_second: rates.signal,
        queries_per_second: rates.query,
        changes_per_second: rates.change,
        ping_after_ms: shared.session.ping_after().as_millis() as u32,
        idle_timeout_ms: idle.as_millis() as u32,
        recall_window_ms: u32::try_from(app.recall_window.as_millis()).unwrap_or(u32::MAX),
        grace_ms: shared.session.grace.as_millis() as u32,
    }
}

async fn logout(context: Context, _: Logout) -> Result<LoggedOut, Failure> {
    depart(&context.shared, &context.session, LeaveCause::LoggedOut);
    Ok(LoggedOut {})
}

async fn ping(context: Context, _: Ping) -> Result<Pong, Failure> {
    Ok(Pong { time: context.shared.clock.timestamp() })
}

/// Takes a session out of its rooms and of the hub, at logout or when its connection ended.
pub fn depart(shared: &Shared, session: &Arc<Session>, cause: LeaveCause) {
    visit::depart(shared, session, cause);
    let Some(identity) = session.identity().cloned() else { return };
    // Whoever ends it counts it, even if another login took it out of the hub at the same moment.
    if session.leave() {
        super::room::leave_rooms(shared, &identity.app, Some(&identity.user), session, cause);
        shared.hub.deregister(&identity.app, &identity.user, session, shared.clock.now());
        shared.metrics.sessions_changed(-1);
        tracing::info!(app = %identity.app, user = %identity.user, device = %identity.device, "logged out");
    }
}
