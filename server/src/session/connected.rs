//! That a connection is there, and that it is taken back whatever ends it.

use std::sync::Arc;

use quail_protocol::Close;

use super::Session;
use crate::{carrier::Lost, context::Shared, services::session::depart};

/// What others see of a connection: its session in the hub, its place in the metrics. Taken back when dropped, even by
/// a panic.
pub(super) struct Connected {
    carrier: &'static str,
    shared: Arc<Shared>,
    session: Arc<Session>,
    reason: Option<String>,
}

impl Connected {
    pub(super) fn new(carrier: &'static str, shared: Arc<Shared>, session: Arc<Session>) -> Self {
        shared.metrics.connection_opened(carrier);
        Self { carrier, shared, session, reason: None }
    }

    pub(super) fn end(&mut self, end: &End) {
        tracing::debug!(carrier = self.carrier, ?end, "connection ended");
        self.reason = Some(match end {
            End::Close(close) => format!("{close:?}"),
            // A client may make up any number: they are one reason, or each would be a metric of its own.
            End::Lost(Lost::Closed(Close::Unknown(_))) => "client Unknown".to_owned(),
            End::Lost(Lost::Closed(close)) => format!("client {close:?}"),
            End::Lost(_) => "lost".to_owned(),
        });
        depart(&self.shared, &self.session);
        self.session.outbox.close();
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        depart(&self.shared, &self.session);
        self.session.outbox.close();
        let reason = self.reason.take().unwrap_or_else(|| "panic".to_owned());
        self.shared.metrics.connection_closed(self.carrier, reason);
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// We end it.
    Close(Close),
    /// It ended by itself.
    Lost(Lost),
}
