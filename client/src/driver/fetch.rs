//! Asking for what the app has missed, without taking the session from it: one page at a time, at half the query rate.

use std::time::Duration;

use bytes::Bytes;
use quail_protocol::{Code, Operation, session::Limits};
use tokio::time::Instant;

use super::Driver;
use crate::{
    error::CallError,
    outbox::{Request, own},
    pending::Waiting,
    tracker::Query,
};

/// When to ask again, if the server does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When the next page may be asked for.
pub(super) struct Pace {
    next: Instant,
    /// When the next room may be come into again.
    next_room: Instant,
    interval: Duration,
    /// Between rooms that are come into again: half the rate of changes.
    between_rooms: Duration,
}

impl Pace {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let twice = Duration::from_secs(2);
        let interval = twice / limits.queries_per_second.max(1);
        let between_rooms = twice / limits.changes_per_second.max(1);
        Self { next: now, next_room: now, interval, between_rooms }
    }
}

impl Driver {
    /// When to fetch, if there is anything to fetch and nothing on its way.
    pub(super) fn fetch_at(&self) -> Option<Instant> {
        let room = self.tracker.wants_in().then_some(self.pace.next.max(self.pace.next_room));
        // An app that wants no events wants its rooms all the same.
        let page = (!self.events.is_closed() && self.tracker.wants()).then_some(self.pace.next);
        room.into_iter().chain(page).min().filter(|_| self.logout.is_none())
    }

    /// Asks for the next page if it is time.
    pub(super) fn fetch(&mut self) {
        let now = Instant::now();
        if self.fetch_at().is_none_or(|at| at > now) {
            return;
        }
        let query = if now < self.pace.next_room { self.tracker.ask_else() } else { self.tracker.ask() };
        if query.as_ref().is_some_and(Query::is_of_rooms) {
            self.pace.next_room = now + self.pace.between_rooms;
        }
        let request = match query {
            Some(Query::Enter(enter)) => fetching(&enter),
            Some(Query::Join(join)) => fetching(&join),
            Some(Query::Leave(leave)) => fetching(&leave),
            Some(Query::Resume(resume)) => fetching(&resume),
            Some(Query::Sync(sync)) => fetching(&sync),
            Some(Query::History(history)) => fetching(&history),
            Some(Query::Changes(changes)) => fetching(&changes),
            None => return,
        };
        self.outbox.push(request);
        self.pace.next = now + self.pace.interval;
    }

    /// The answer to what was asked for.
    pub(super) fn fetched(&mut self, result: Result<Bytes, CallError>) {
        match result {
            Ok(body) => {
                if let Err(error) = self.tracker.fetched(&body) {
                    tracing::debug!(%error, "an unreadable answer");
                    self.tracker.give_up(None);
                }
            }
            Err(CallError::Reject(reject)) if self.tracker.asks_again(&reject) => {
                let wait = reject.retry_after_ms.map_or(RETRY_AFTER, |ms| Duration::from_millis(ms.into()));
                let next = Instant::now() + wait.max(self.pace.interval);
                if self.tracker.asked_is_of_rooms() {
                    self.pace.next_room = next;
                } else {
                    self.pace.next = next;
                }
                if reject.code != Code::RateLimited {
                    tracing::debug!(%reject, "not now");
                }
                self.tracker.retry();
            }
            Err(error) => {
                tracing::debug!(%error, "what was missed stays unknown");
                let reject = if let CallError::Reject(reject) = &error { Some(reject) } else { None };
                self.tracker.give_up(reject);
            }
        }
    }
}

fn fetching<O: Operation>(operation: &O) -> Request {
    let body = postcard::to_stdvec(operation).unwrap_or_else(|_| unreachable!("wire types always encode"));
    own::<O>(Waiting::Fetch, body.into())
}
