//! Sessions of visitors.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError},
};

use quail_protocol::id::{AppId, SessionId, UserId};

use super::Session;
use crate::addresses::Guest;

/// A visitor: somebody without a name, who reads along.
#[derive(Debug)]
pub struct Visitor {
    /// The tenant.
    pub app: AppId,
    /// The server's name for them.
    pub id: UserId,
    /// The session.
    pub session: SessionId,
    /// Counts them for their address.
    pub guest: Guest,
}

impl Session {
    /// Makes this the session of a visitor, whose client grants so many bytes on each stream.
    pub fn visit(&self, visitor: Visitor, stream_window_bytes: u32) {
        // Set once: there is one visit on a connection.
        _ = self.stream_window_bytes.set(stream_window_bytes);
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
