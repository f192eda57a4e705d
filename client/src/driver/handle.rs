//! What the server says.

use std::{mem, time::Duration};

use quail_protocol::{
    Close, Event,
    frame::{self, Frame, Head, Outcome},
    id::UserId,
    room::{Entered, Left, Switched},
    session::LoggedIn,
};
use tokio::time::Instant;

use super::{Current, Driver};
use crate::{
    dialer::Dial, error::CallError, greeting::Greeted, link::Link, outbox::Own, pending::Waiting,
    state::Cause,
};

impl Driver {
    pub(super) fn handle(&mut self, frame: Frame) -> Result<(), Cause> {
        match frame.head {
            Head::Event { kind } => {
                let event = Event::decode(kind, frame.body).map_err(|_| Cause::Malformed)?;
                if let (Event::Draining(draining), Some(comeback)) = (&event, &mut self.comeback) {
                    let wait = Duration::from_millis(draining.retry_after_ms.into());
                    comeback.not_before(Instant::now() + wait);
                }
                // The app that logs out has taken what it wanted.
                let wanted = !self.events.is_closed() || matches!(event, Event::RoomLeft(_));
                if self.logout.is_none() && wanted {
                    self.tracker.event(event);
                }
                Ok(())
            }
            Head::Reply { request_id, outcome } => {
                let result = match outcome {
                    Outcome::Ok => Ok(frame.body),
                    Outcome::Reject(reject) => Err(CallError::Reject(reject)),
                };
                let Some(request) = self.pending.take(request_id) else {
                    // What was asked on two connections may be answered on both.
                    return if self.pending.knows(request_id) { Ok(()) } else { Err(Cause::Malformed) };
                };
                if let Some(own) = &request.own
                    && self.logout.is_none()
                    && (own.is_of_rooms() || !self.events.is_closed())
                {
                    match &result {
                        Ok(body) => self.own(own, body),
                        Err(CallError::Reject(reject)) => self.tracker.refused_own(own, reject),
                        Err(_) => {}
                    }
                }
                match request.waiting {
                    Waiting::Ping => self.pinging = false,
                    Waiting::Logout => return Err(Cause::LoggedOut),
                    Waiting::Fetch => self.fetched(result),
                    Waiting::LogIn { user, dial, reply, slot } => {
                        if let Ok(body) = &result {
                            if reply.is_closed() {
                                return Err(self.log_out());
                            }
                            self.logged_in(&user, dial, body)?;
                        }
                        drop((slot, reply.send(result)));
                    }
                    call @ Waiting::Call { .. } => call.finish(result),
                }
                Ok(())
            }
            Head::Request { .. } | Head::Signal => Err(Cause::Malformed),
        }
    }

    /// The visitor is a user now, on the same connection.
    fn logged_in(&mut self, user: &UserId, dial: Dial, body: &[u8]) -> Result<(), Cause> {
        let logged_in: LoggedIn = frame::decode(body).map_err(|_| Cause::Malformed)?;
        if let Some(comeback) = &mut self.comeback {
            comeback.become_another(dial, logged_in.resume_token);
        }
        self.tracker.became(user.clone(), logged_in.time);
        let greeted = Greeted::from(logged_in);
        self.current.send_replace(Current::new(&greeted, Instant::now()));
        self.tracker.brought(greeted.conversations);
        Ok(())
    }

    /// Nobody waits any more for the login that made a user of the visitor: the app would have no handle of the user, and
    /// could not ask for one. So that session ends, and the visitor's next connection is a visitor's.
    fn log_out(&mut self) -> Cause {
        let link = mem::replace(&mut self.link, Link::nowhere());
        tokio::spawn(link.close(Close::LoggedOut));
        Cause::Interrupted
    }

    /// What this client added has its place. A reply that cannot be read is told to who asked.
    fn own(&mut self, own: &Own, body: &[u8]) {
        match own {
            Own::Message(own) => _ = frame::decode(body).map(|sent| self.tracker.sent(own, &sent)),
            Own::Recall(conversation) => {
                _ = frame::decode(body).map(|recalled| self.tracker.recalled(conversation, &recalled));
            }
            Own::Enter(entry) if entry.from.is_some() => {
                _ = frame::decode(body).map(|switched: Switched| self.tracker.switched(entry, &switched));
            }
            Own::Enter(entry) => {
                _ = frame::decode(body).map(|entered: Entered| self.tracker.entered(entry, &entered));
            }
            // What is left and what is dismissed is answered alike.
            Own::Leave(_) | Own::Dismiss(_) => {
                _ = frame::decode(body).map(|Left { last }| self.tracker.left_as_asked(own, last));
            }
            Own::LeaveAll => self.tracker.left_all(),
            Own::Unnumbered => {}
        }
    }
}
