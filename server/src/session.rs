//! What a device has with the server, over one connection after the other.
//!
//! [`state`] is pure and of one connection, [`driver`] is the one task that reads and writes it. [`outbox`] is what still
//! has to be told, [`requests`] what was asked and answered; both are the session's, which outlives connections.

mod connected;
pub mod driver;
pub mod outbox;
pub mod requests;
pub mod state;
mod visitor;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quail_protocol::{
    Class, Close, Timestamp,
    id::{AppId, DeviceId, RoomId, SessionId, UserId},
    session::{PlatformClass, ResumeToken},
};
use serde::{Deserialize, Serialize};

use crate::apps::Seat;

pub use self::visitor::Visitor;
use self::{
    outbox::{Attachment, Outbox, Way},
    requests::{Begun, Requests},
};

/// Deadlines and bounds of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A connection that has not logged in by then is closed. Default 5s.
    #[serde(with = "humantime_serde")]
    pub greeting_timeout: Duration,
    /// A client that was not heard for this long is closed. Default 30s; clients ping after a third of it, and after
    /// 10s at the latest.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A connection that takes nothing of what is pending for this long is closed. Default 10s.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long a connection may linger after logout or when the server goes away. Default 1s.
    #[serde(with = "humantime_serde")]
    pub leave_timeout: Duration,
    /// How long a session whose connection was lost is kept for its client to come back, from the last bytes heard.
    /// Default 30s.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Users and visitors per second who are asked to come back when the server stops. Default 1000.
    pub returns_per_second: u32,
    /// How long before its end a session is told that its token expires. Default 30s.
    #[serde(with = "humantime_serde")]
    pub token_warning: Duration,
    /// Requests per second and connection that draw from no bucket of a user: logins, pings, and what is refused by
    /// the client's own fault. With a burst of two seconds; past it nothing is read for a while. Default 50.
    pub free_requests_per_second: u32,
    /// A request that is not answered by then is rejected with `TimedOut`. Default 10s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// What may wait in memory for a client that reads slowly.
    pub outbox: outbox::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            leave_timeout: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            returns_per_second: 1000,
            token_warning: Duration::from_secs(30),
            free_requests_per_second: 50,
            request_timeout: Duration::from_secs(10),
            outbox: outbox::Config::default(),
        }
    }
}

/// Nobody is sent away for longer.
const RETURN_MAX: Duration = Duration::from_secs(60);

/// QUIC itself gives a connection up after 30 s without a packet, whatever the idle timeout.
const PING_AFTER_MAX: Duration = Duration::from_secs(10);

impl Config {
    /// How long a client may be silent before it pings.
    pub fn ping_after(&self) -> Duration {
        (self.idle_timeout / 3).min(PING_AFTER_MAX)
    }

    /// The time within which the clients of this many users are to come back to a server's successor.
    pub fn spread_of_return(&self, users: usize) -> Duration {
        let seconds = users as f64 / f64::from(self.returns_per_second.max(1));
        RETURN_MAX.min(Duration::try_from_secs_f64(seconds).unwrap_or(RETURN_MAX))
    }
}

/// Who a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub app: AppId,
    /// The user.
    pub user: UserId,
    /// The terminal.
    pub device: DeviceId,
    /// What kind of terminal.
    pub class: PlatformClass,
    /// The session.
    pub session: SessionId,
}

/// A connection goes on with a session that another connection began.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The session.
    pub session: Arc<Session>,
    /// What its outbox calls the connection.
    pub attachment: Attachment,
}

/// The streams of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Bytes that the client grants on each; 0 if that is unknown.
    pub window_bytes: u32,
    /// How many it opens for each lane but Control; 0 says one.
    pub per_lane: u8,
}

/// What handlers, hub and driver share of one session.
#[derive(Debug)]
pub struct Session {
    /// What still has to be told.
    pub outbox: Outbox,
    requests: Mutex<Requests>,
    identity: OnceLock<Identity>,
    resume_token: OnceLock<ResumeToken>,
    /// Who this is before somebody logs in, if it is a visitor.
    visitor: Mutex<Option<Arc<Visitor>>>,
    /// Where its client is, as it was at the beginning.
    address: OnceLock<IpAddr>,
    /// The rooms that this session is in.
    rooms: Mutex<BTreeSet<RoomId>>,
    /// Set where a login on this connection went on with an older session.
    resumption: OnceLock<Resumption>,
    left: AtomicBool,
    /// Its place among the sessions of its app.
    seat: Mutex<Option<Seat>>,
    refused_logins: AtomicU8,
    free: AtomicU32,
    /// What its client grants.
    streams: OnceLock<Streams>,
    /// When the token in force expires, in milliseconds since 1970; 0 before login.
    token_expires: AtomicU64,
    /// The close that somebody else decided on.
    ending: OnceLock<Close>,
}

impl Session {
    /// A connection nobody has logged in on.
    pub fn new(outbox: outbox::Config) -> Self {
        Self {
            outbox: Outbox::new(outbox),
            requests: Mutex::default(),
            identity: OnceLock::new(),
            resume_token: OnceLock::new(),
            visitor: Mutex::default(),
            address: OnceLock::new(),
            rooms: Mutex::default(),
            resumption: OnceLock::new(),
            left: AtomicBool::new(false),
            seat: Mutex::default(),
            refused_logins: AtomicU8::new(0),
            free: AtomicU32::new(0),
            streams: OnceLock::new(),
            token_expires: AtomicU64::new(0),
            ending: OnceLock::new(),
        }
    }

    /// A request arrived: what is to be done about it.
    pub fn begin(&self, request_id: u32, class: Class) -> Begun {
        let mut requests = self.requests();
        let begun = requests.begin(request_id, class);
        if let Begun::Answered(way, frame) = &begun {
            self.outbox.push_reply(*way, frame.clone());
        }
        begun
    }

    /// Queues the reply to a request, and keeps it if the request must not be served again.
    pub fn answer(&self, request_id: u32, class: Class, way: Way, frame: Bytes) {
        // Pushed under the lock: whoever asks again meanwhile is answered by one of the two, not by both.
        let mut requests = self.requests();
        requests.served(request_id, class, way, frame.clone());
        self.outbox.push_reply(way, frame);
    }

    /// Queues the refusal of a request.
    pub fn refuse(&self, request_id: u32, way: Way, frame: Bytes) {
        let mut requests = self.requests();
        requests.refused(request_id);
        self.outbox.push_reply(way, frame);
    }

    /// Forgets the answer to the login, which nobody asks for again.
    pub fn forget_greeting(&self) {
        self.requests().logged_in();
    }

    /// The largest request id so far.
    pub fn newest_request(&self) -> u32 {
        self.requests().newest()
    }

    /// The rooms that this session is in.
    pub fn rooms(&self) -> BTreeSet<RoomId> {
        self.lock_rooms().clone()
    }

    /// This session is in a room.
    pub fn remember_room(&self, room: RoomId) {
        self.lock_rooms().insert(room);
    }

    /// This session is out of a room.
    pub fn forget_room(&self, room: &RoomId) {
        self.lock_rooms().remove(room);
    }

    fn lock_rooms(&self) -> MutexGuard<'_, BTreeSet<RoomId>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `token` the key to this session.
    pub fn set_resume_token(&self, token: ResumeToken) {
        // Set once, by the login.
        _ = self.resume_token.set(token);
    }

    /// The key to this session, once logged in.
    pub fn resume_token(&self) -> Option<ResumeToken> {
        self.resume_token.get().copied()
    }

    /// This connection goes on with an older session, whose client grants `streams`.
    pub fn resume(&self, resumption: Resumption, streams: Streams) {
        // One login succeeds on a connection.
        _ = self.streams.set(streams);
        _ = self.resumption.set(resumption);
    }

    /// The older session with which this connection goes on.
    pub fn resumption(&self) -> Option<&Resumption> {
        self.resumption.get()
    }

    /// Who this is, once logged in and until logged out.
    pub fn identity(&self) -> Option<&Identity> {
        if self.has_left() { None } else { self.identity.get() }
    }

    /// True if this is worth keeping without a connection: somebody is logged in and was not told to go.
    pub fn may_come_back(&self) -> bool {
        self.identity().is_some() && self.may_send()
    }

    /// True once somebody has logged in, even if they left since.
    pub fn was_logged_in(&self) -> bool {
        self.identity.get().is_some() || self.resumption.get().is_some()
    }

    /// Makes this a session of `identity`; the first caller wins.
    pub fn log_in(&self, identity: Identity, streams: Streams) -> Result<(), Identity> {
        self.identity.set(identity)?;
        // Set once, together with the identity, by the same caller.
        _ = self.streams.set(streams);
        Ok(())
    }

    /// What the client grants, as it said when it greeted.
    pub fn streams(&self) -> Option<Streams> {
        self.streams.get().copied()
    }

    /// When the token in force expires; `None` before login.
    pub fn token_expires(&self) -> Option<Timestamp> {
        Some(Timestamp(self.token_expires.load(Ordering::Acquire))).filter(|expires| expires.0 > 0)
    }

    /// Puts a token in force that expires then.
    pub fn set_token_expires(&self, expires: Timestamp) {
        self.token_expires.store(expires.0, Ordering::Release);
    }

    /// Puts a token in force beside the one before: the later end counts, and is returned.
    pub fn extend_token(&self, expires: Timestamp) -> Timestamp {
        Timestamp(self.token_expires.fetch_max(expires.0, Ordering::AcqRel).max(expires.0))
    }

    /// Ends the session from outside: from now on nothing of it is accepted, and its connection closes.
    pub fn end(&self, close: Close) {
        // The first to decide gives the reason.
        _ = self.ending.set(close);
        self.outbox.wake();
    }

    /// How somebody else decided that this ends.
    pub fn ending(&self) -> Option<Close> {
        self.ending.get().copied()
    }

    /// True if what this session sent may still get a place.
    pub fn may_send(&self) -> bool {
        self.ending.get().is_none()
    }

    /// Takes a place among the sessions of its app, until it leaves.
    pub fn sit(&self, seat: Seat) {
        *self.seat() = Some(seat);
    }

    /// Marks the session as logged out. True for the first caller.
    pub fn leave(&self) -> bool {
        let first = !self.left.swap(true, Ordering::AcqRel);
        drop(self.seat().take());
        first
    }

    /// True after logout.
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    fn seat(&self) -> MutexGuard<'_, Option<Seat>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that drew from no bucket.
    pub fn count_free(&self) {
        self.free.fetch_add(1, Ordering::AcqRel);
    }

    /// Requests that drew from no bucket since this was asked last.
    pub fn take_free(&self) -> u32 {
        if self.free.load(Ordering::Acquire) == 0 { 0 } else { self.free.swap(0, Ordering::AcqRel) }
    }

    /// Counts a refused login.
    pub fn refuse_login(&self) {
        self.refused_logins.fetch_add(1, Ordering::AcqRel);
    }

    /// Refused logins so far.
    pub fn refused_logins(&self) -> u8 {
        self.refused_logins.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_users_there_are_the_more_time_they_have_to_come_back() {
        let config = Config::default();
        for (users, milliseconds) in [(0, 0), (1, 1), (5_000, 5_000), (10_000_000, 60_000)] {
            assert_eq!(config.spread_of_return(users).as_millis(), milliseconds);
        }
        assert_eq!(Config { returns_per_second: 0, ..config }.spread_of_return(usize::MAX), RETURN_MAX);
    }

    #[test]
    fn clients_ping_before_quic_gives_up_however_long_they_may_be_silent() {
        for (idle, ping) in [(3, 1), (30, 10), (600, 10)] {
            let config = Config { idle_timeout: Duration::from_secs(idle), ..Config::default() };
            assert_eq!(config.ping_after(), Duration::from_secs(ping));
        }
    }
}
