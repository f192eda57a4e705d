//! Requests that were written and wait for their reply.

use std::collections::BTreeMap;

use bytes::Bytes;
use quail_protocol::{Lane, id::UserId};
use tokio::sync::oneshot;

use crate::{dialer::Dial, error::CallError, outbox::Request, state::Cause, window::Slot};

/// Who waits for a reply.
pub(crate) enum Waiting {
    /// A call of the app. Its slot stays taken until the reply, even if the caller has gone.
    Call { reply: oneshot::Sender<Result<Bytes, CallError>>, slot: Slot },
    /// The driver: a sign of life.
    Ping,
    /// The driver: something that the tracker asks for, one thing at a time.
    Fetch,
    /// The driver: the end of the session.
    Logout,
    /// A visitor who logs in, and is to be this user from then on.
    LogIn { user: UserId, dial: Dial, reply: oneshot::Sender<Result<Bytes, CallError>>, slot: Slot },
}

impl Waiting {
    /// True if nobody wants the reply any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Call { reply, .. } | Self::LogIn { reply, .. } if reply.is_closed())
    }

    /// True if the app asked, and not the driver.
    pub(crate) fn is_of_the_app(&self) -> bool {
        matches!(self, Self::Call { .. } | Self::LogIn { .. })
    }

    /// Tells a caller how its request ended. A caller that has gone is no matter.
    pub(crate) fn finish(self, result: Result<Bytes, CallError>) {
        if let Self::Call { reply, slot } | Self::LogIn { reply, slot, .. } = self {
            drop(slot);
            drop(reply.send(result));
        }
    }
}

/// The request numbers of a session: each one more than the last, none further ahead of the oldest unanswered one than
/// the server keeps track of.
pub(crate) struct Pending {
    next: u32,
    span: u32,
    waiting: BTreeMap<u32, Request>,
}

impl Pending {
    /// Numbers from `first` on; `span` of them may be open from the oldest to the newest.
    pub(crate) fn new(first: u32, span: u32) -> Self {
        Self { next: first, span: span.max(1), waiting: BTreeMap::new() }
    }

    /// Whether the next number may be used now.
    pub(crate) fn admits(&self) -> bool {
        let oldest = self.waiting.first_key_value().map_or(self.next, |(id, _)| *id);
        self.next - oldest < self.span && self.next < u32::MAX
    }

    /// Gives out the next number. Only after `admits`.
    pub(crate) fn add(&mut self, request: Request) -> u32 {
        let id = self.next;
        self.next = self.next.saturating_add(1);
        self.waiting.insert(id, request);
        id
    }

    /// Who waits for the reply to `id`, if anybody does.
    pub(crate) fn take(&mut self, id: u32) -> Option<Request> {
        self.waiting.remove(&id)
    }

    /// True if `id` was given out, even if its reply came since.
    pub(crate) fn knows(&self, id: u32) -> bool {
        id < self.next
    }

    /// The request without a reply that has this number.
    pub(crate) fn get(&self, id: u32) -> Option<&Request> {
        self.waiting.get(&id)
    }

    /// The numbers of all requests without a reply, in the order in which they were written, and their lanes.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (u32, Lane)> {
        self.waiting.iter().map(|(id, request)| (*id, request.lane))
    }

    /// Every request without a reply, in the order in which they were written.
    pub(crate) fn drain(&mut self) -> impl DoubleEndedIterator<Item = Request> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }

    /// Ends every call.
    pub(crate) fn fail(&mut self, cause: Cause) {
        for request in self.drain() {
            request.waiting.finish(Err(CallError::Disconnected(cause)));
        }
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::session::Ping;

    use super::*;
    use crate::outbox::own;

    #[test]
    fn numbers_step_by_one_and_stay_within_the_span_of_the_oldest() {
        let mut pending = Pending::new(2, 3);
        assert_eq!([(); 3].map(|()| pending.add(own::<Ping>(Waiting::Ping, Bytes::new()))), [2, 3, 4]);
        assert!(!pending.admits());
        assert!(pending.take(3).is_some());
        assert!(!pending.admits(), "2 is still open");
        assert!(pending.take(2).is_some());
        assert!(pending.admits());
        assert_eq!(pending.add(own::<Ping>(Waiting::Ping, Bytes::new())), 5);
        assert!(pending.take(3).is_none(), "answered already");
    }
}
