//! The way back from a handler to the client that asked.

use std::{fmt, marker::PhantomData, sync::Arc, time::Instant};

use quail_protocol::{
    Class, Code, Lane, Operation, Reject,
    frame::{self, Head, Outcome},
    limits::CONTROL_REPLY_BYTES_MAX,
};

use crate::{
    clock::Clock,
    session::{Session, outbox::Way},
    telemetry::Metrics,
};

/// Which request is to be answered, and on which way.
pub struct Ask {
    pub(crate) session: Arc<Session>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) operation: &'static str,
    pub(crate) class: Class,
    pub(crate) request_id: u32,
    pub(crate) way: Way,
    pub(crate) arrived: Instant,
}

impl Ask {
    fn serve(&self, body: &[u8]) {
        self.count("ok".to_owned());
        let way = if body.len() > CONTROL_REPLY_BYTES_MAX { Lane::Low.into() } else { self.way };
        let head = Head::Reply { request_id: self.request_id, outcome: Outcome::Ok };
        self.session.answer(self.request_id, self.class, way, frame::encode_raw(&head, body));
    }

    /// Refuses the request.
    pub(crate) fn reject(&self, reject: Reject) {
        self.count(format!("{:?}", reject.code));
        let head = Head::Reply { request_id: self.request_id, outcome: Outcome::Reject(reject) };
        let frame = frame::encode_raw(&head, &[]);
        // What is refused for our own sake costs the client nothing.
        if !matches!(reject.code, Code::Internal | Code::TimedOut | Code::Unavailable) {
            self.session.count_free();
        }
        // What was given up on the way may have been done all the same: it must not be tried again unasked.
        if matches!(reject.code, Code::Internal | Code::TimedOut) {
            self.session.answer(self.request_id, self.class, self.way, frame);
        } else {
            self.session.refuse(self.request_id, self.way, frame);
        }
    }

    fn count(&self, outcome: String) {
        let seconds = self.clock.now().duration_since(self.arrived).as_secs_f64();
        self.metrics.request(self.operation, outcome, seconds);
    }
}

/// Answers one request of type `O`, exactly once: dropped unused it answers `Internal`.
pub struct Responder<O: Operation> {
    ask: Option<Ask>,
    operation: PhantomData<fn(O)>,
}

impl<O: Operation> Responder<O> {
    pub(crate) fn new(ask: Ask) -> Self {
        Self { ask: Some(ask), operation: PhantomData }
    }

    /// The same, on another lane.
    pub fn on_lane(mut self, lane: Lane) -> Self {
        if let Some(ask) = &mut self.ask {
            ask.way.lane = lane;
        }
        self
    }

    /// Queues the reply on the session's outbox.
    pub fn reply(mut self, result: Result<O::Reply, Reject>) {
        let Some(ask) = self.ask.take() else { return };
        match result {
            Ok(reply) => ask.serve(&frame::encode_body(&reply)),
            Err(reject) => ask.reject(reject),
        }
    }
}

impl<O: Operation> Drop for Responder<O> {
    fn drop(&mut self) {
        let Some(ask) = self.ask.take() else { return };
        // Whoever went away while they were served is owed no answer.
        if !ask.session.outbox.is_closed() {
            tracing::error!(operation = ask.operation, "a request was dropped unanswered");
            ask.reject(Code::Internal.into());
        }
    }
}

impl<O: Operation> fmt::Debug for Responder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder for {}", O::INFO.name)
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::{
        Timestamp,
        session::{Ping, Pong},
    };

    use super::*;
    use crate::{
        context::Shared,
        session::outbox::{self, Attachment},
    };

    #[test]
    fn the_answer_to_a_lowered_message_stands_on_the_lane_that_it_was_lowered_to() {
        let shared = Shared::empty(Timestamp(1));
        let session = Arc::new(Session::new(outbox::Config::default()));
        let ask = Ask {
            session: session.clone(),
            metrics: shared.metrics.clone(),
            clock: shared.clock,
            operation: Ping::INFO.name,
            class: Ping::INFO.class,
            request_id: 1,
            way: Lane::High.into(),
            arrived: shared.clock.now(),
        };
        let pong = Ok(Pong { time: Timestamp(1) });
        Responder::<Ping>::new(ask).on_lane(Lane::Normal).reply(pong);
        let is_on = |lane| session.outbox.take(Attachment::default(), lane, 1024).is_some();
        assert_eq!([Lane::High, Lane::Normal].map(is_on), [false, true]);
    }
}
