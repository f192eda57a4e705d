//! That a connection is there, and what becomes of its session when it ends.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join, stream::FuturesUnordered};
use quail_protocol::{Close, room::LeaveCause};

use super::{Resumption, Session, outbox::Attachment};
use crate::{carrier::Lost, context::Shared, router::Serving, services::session::depart};

/// What others see of a connection: its session in the hub, its place in the metrics. Taken back when dropped, even by
/// a panic.
pub(super) struct Connected {
    carrier: &'static str,
    shared: Arc<Shared>,
    /// The session that the connection began with.
    session: Arc<Session>,
    reason: Option<String>,
}

impl Connected {
    pub(super) fn new(carrier: &'static str, shared: Arc<Shared>, session: Arc<Session>) -> Self {
        shared.metrics.connection_opened(carrier);
        Self { carrier, shared, session, reason: None }
    }

    /// The connection ended. Its session is kept for a while if its client may come back; `serving` is what it still
    /// waits for.
    pub(super) fn end(&mut self, end: &End, heard: Instant, serving: FuturesUnordered<Serving>) {
        tracing::debug!(carrier = self.carrier, ?end, "connection ended");
        self.reason = Some(match end {
            End::Close(close) => format!("{close:?}"),
            // A client may make up any number: they are one reason, or each would be a metric of its own.
            End::Lost(Lost::Closed(Close::Unknown(_))) => "client Unknown".to_owned(),
            End::Lost(Lost::Closed(close)) => format!("client {close:?}"),
            End::Lost(_) => "lost".to_owned(),
        });
        let (session, attachment) = self.current();
        let kept = end.leaves_session() && session.may_come_back() && session.outbox.detach(attachment);
        if kept {
            let left = (heard + self.shared.session.grace).saturating_duration_since(self.shared.clock.now());
            let shared = Arc::downgrade(&self.shared);
            tokio::spawn(keep(shared, Resumption { session, attachment }, left, serving));
        } else {
            self.give_up();
            if !session.outbox.is_closed() {
                // Another connection took the session over, and what was asked on this one is answered there.
                tokio::spawn(finish(serving));
            }
        }
    }

    /// The session that this connection serves, or served until another took it over.
    fn current(&self) -> (Arc<Session>, Attachment) {
        match self.session.resumption() {
            Some(Resumption { session, attachment }) => (session.clone(), *attachment),
            None => (self.session.clone(), Attachment::default()),
        }
    }

    /// Ends the session, unless another connection took it over.
    fn give_up(&self) {
        let (session, attachment) = self.current();
        if session.outbox.expire(attachment) {
            depart(&self.shared, &session, LeaveCause::Offline);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let reason = self.reason.take().unwrap_or_else(|| {
            self.give_up();
            "panic".to_owned()
        });
        self.shared.metrics.connection_closed(self.carrier, reason);
    }
}

/// Keeps a session whose connection was lost, and finishes what it asked for, so that the answers are there when its
/// client comes back. It does not keep the server from going away.
async fn keep(
    shared: Weak<Shared>,
    resumption: Resumption,
    left: Duration,
    serving: FuturesUnordered<Serving>,
) {
    join(finish(serving), tokio::time::sleep(left)).await;
    if let Some(shared) = shared.upgrade()
        && resumption.session.outbox.expire(resumption.attachment)
    {
        depart(&shared, &resumption.session, LeaveCause::Offline);
    }
}

async fn finish(mut serving: FuturesUnordered<Serving>) {
    while serving.next().await.is_some() {}
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// We end it.
    Close(Close),
    /// It ended by itself.
    Lost(Lost),
}

impl End {
    /// True if the client did not mean to leave and was not told to.
    fn leaves_session(&self) -> bool {
        match self {
            Self::Close(close) => matches!(close, Close::Idle | Close::Slow | Close::Failed),
            Self::Lost(Lost::Closed(close)) => matches!(close, Close::Abandoned | Close::Unknown(_)),
            Self::Lost(Lost::Broken(_)) => true,
            Self::Lost(Lost::Violation(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quail_protocol::{Class, Lane, Timestamp};
    use tokio::sync::oneshot;

    use super::*;
    use crate::session::outbox;

    #[tokio::test]
    async fn what_was_asked_on_a_connection_that_was_superseded_is_answered_on_the_next() {
        let shared = Arc::new(Shared::empty(Timestamp(1)));
        let session = Arc::new(Session::new(outbox::Config::default()));
        let mut connected = Connected::new("test", shared.clone(), session.clone());
        let (go_on, read) = oneshot::channel();
        let asking = session.clone();
        let serving: Serving = Box::pin(async move {
            read.await.unwrap();
            asking.answer(7, Class::Query, Lane::Control.into(), Bytes::from_static(b"answer"));
        });
        let next = session.outbox.attach().unwrap();
        connected.end(&End::Close(Close::Superseded), shared.clock.now(), [serving].into_iter().collect());
        go_on.send(()).expect("it is still being served");
        while session.outbox.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(&*session.outbox.take(next, Lane::Control, 100).unwrap().bytes, b"answer");
    }
}
