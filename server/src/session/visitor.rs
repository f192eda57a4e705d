//! Sessions of visitors.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quail_protocol::id::{AppId, SessionId, UserId};

use super::{Session, Streams};
use crate::{addresses::Guest, apps::Rates, domain::rate::Bucket, hub::Draw};

/// A visitor: somebody without a name, who reads along.
#[derive(Debug)]
pub struct Visitor {
    /// The tenant.
    pub app: AppId,
    /// The server's name for them.
    pub id: UserId,
    /// The session.
    pub session: SessionId,
    /// Of queries and of changes.
    buckets: Mutex<[Bucket; 2]>,
    /// Counts them for their address.
    _guest: Guest,
}

impl Visitor {
    /// Somebody who has asked for nothing yet.
    pub fn new(app: AppId, id: UserId, session: SessionId, guest: Guest) -> Self {
        Self { app, id, session, buckets: Mutex::default(), _guest: guest }
    }

    /// Draws from a bucket, or says how long to wait. Where a visitor may do nothing there is none.
    pub fn draw(&self, draw: Draw, rates: &Rates, now: Instant) -> Result<(), Duration> {
        let (at, per_second) = match draw {
            Draw::Query => (0, rates.query),
            Draw::Change => (1, rates.change),
            _ => return Ok(()),
        };
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)[at].draw(per_second, now)
    }
}

impl Session {
    /// Makes this the session of a visitor, whose client grants `streams`.
    pub fn visit(&self, visitor: Visitor, streams: Streams) {
        // Set once: there is one visit on a connection.
        _ = self.streams.set(streams);
        *self.lock_visitor() = Some(Arc::new(visitor));
    }

    /// The visitor whose session this is, until they log in or leave.
    pub fn visitor(&self) -> Option<Arc<Visitor>> {
        self.lock_visitor().clone()
    }

    /// The visitor is none any more.
    pub fn take_visitor(&self) -> Option<Arc<Visitor>> {
        self.lock_visitor().take()
    }

    /// Says where the client is.
    pub fn set_address(&self, address: IpAddr) {
        // Set once, by the driver of the first connection.
        _ = self.address.set(address);
    }

    /// Where the client was when its connection began.
    pub fn address(&self) -> Option<IpAddr> {
        self.address.get().copied()
    }

    fn lock_visitor(&self) -> std::sync::MutexGuard<'_, Option<Arc<Visitor>>> {
        self.visitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
