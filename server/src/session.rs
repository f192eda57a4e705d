//! One connection's conversation with the server.
//!
//! [`state`] is pure, [`outbox`] is what still has to be told, [`driver`] is the one task that reads and writes a
//! connection.

mod connected;
pub mod driver;
pub mod outbox;
pub mod state;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use quail_protocol::{
    Close, Timestamp,
    id::{AppId, DeviceId, SessionId, UserId},
    session::PlatformClass,
};
use serde::{Deserialize, Serialize};

use self::outbox::Outbox;

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
    /// How long before its end a session is told that its token expires. Default 30s.
    #[serde(with = "humantime_serde")]
    pub token_warning: Duration,
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
            token_warning: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            outbox: outbox::Config::default(),
        }
    }
}

/// QUIC itself gives a connection up after 30 s without a packet, whatever the idle timeout.
const PING_AFTER_MAX: Duration = Duration::from_secs(10);

impl Config {
    /// How long a client may be silent before it pings.
    pub fn ping_after(&self) -> Duration {
        (self.idle_timeout / 3).min(PING_AFTER_MAX)
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

/// What handlers, hub and driver share of one connection.
#[derive(Debug)]
pub struct Session {
    /// What still has to be told.
    pub outbox: Outbox,
    identity: OnceLock<Identity>,
    left: AtomicBool,
    refused_logins: AtomicU8,
    stream_window_bytes: OnceLock<u32>,
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
            identity: OnceLock::new(),
            left: AtomicBool::new(false),
            refused_logins: AtomicU8::new(0),
            stream_window_bytes: OnceLock::new(),
            token_expires: AtomicU64::new(0),
            ending: OnceLock::new(),
        }
    }

    /// Who this is, once logged in and until logged out.
    pub fn identity(&self) -> Option<&Identity> {
        if self.has_left() { None } else { self.identity.get() }
    }

    /// True once somebody has logged in, even if they left since.
    pub fn was_logged_in(&self) -> bool {
        self.identity.get().is_some()
    }

    /// Makes this a session of `identity`; the first caller wins.
    pub fn log_in(&self, identity: Identity, stream_window_bytes: u32) -> Result<(), Identity> {
        self.identity.set(identity)?;
        // Set once, together with the identity, by the same caller.
        _ = self.stream_window_bytes.set(stream_window_bytes);
        Ok(())
    }

    /// Bytes the client grants on each stream, as it said at login.
    pub fn stream_window_bytes(&self) -> Option<u32> {
        self.stream_window_bytes.get().copied()
    }

    /// When the token in force expires; `None` before login.
    pub fn token_expires(&self) -> Option<Timestamp> {
        Some(Timestamp(self.token_expires.load(Ordering::Acquire))).filter(|expires| expires.0 > 0)
    }

    /// Puts a token in force that expires then.
    pub fn set_token_expires(&self, expires: Timestamp) {
        self.token_expires.store(expires.0, Ordering::Release);
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

    /// Marks the session as logged out. True for the first caller.
    pub fn leave(&self) -> bool {
        !self.left.swap(true, Ordering::AcqRel)
    }

    /// True after logout.
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
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
    fn clients_ping_before_quic_gives_up_however_long_they_may_be_silent() {
        for (idle, ping) in [(3, 1), (30, 10), (600, 10)] {
            let config = Config { idle_timeout: Duration::from_secs(idle), ..Config::default() };
            assert_eq!(config.ping_after(), Duration::from_secs(ping));
        }
    }
}
