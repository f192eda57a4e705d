//! From the greeting to a session: of a visitor, of a user, or one that goes on.

use std::{ops::ControlFlow, time::Duration};

use quail_protocol::{Lane, limits::FRAME_BYTES_MAX};

use super::{BATCH_BYTES_MAX, Driver, Write};
use crate::{
    carrier::Carrier,
    session::{Resumption, Session, connected::End, state::Input},
};

impl<C: Carrier> Driver<C> {
    /// Follows what a handler did to the session.
    pub(super) fn after_serving(&mut self) -> ControlFlow<End> {
        self.charge()?;
        let session = self.context.session.clone();
        if session.has_left() {
            return self.input(Input::LoggedOut);
        }
        self.follow_token(&session)?;
        if self.state.is_open() {
            return ControlFlow::Continue(());
        }
        if session.was_logged_in() {
            if !self.state.is_visiting() {
                session.forget_greeting();
            }
            match session.resumption() {
                Some(resumption) => self.go_on(&session, resumption)?,
                None => self.input(Input::LoggedIn)?,
            }
            self.greet(&session);
            self.log_login();
            self.decoders.set_limit(FRAME_BYTES_MAX);
            self.set_streams(&session);
            return ControlFlow::Continue(());
        }
        if !self.state.is_visiting() && session.visitor().is_some() {
            self.input(Input::Visiting)?;
            self.greet(&session);
            self.log_visit();
            self.set_streams(&session);
        }
        let refused = self.refused_logins(&session);
        self.input(Input::LoginsRefused(refused))
    }

    /// The answer waits: from now on whatever comes is told behind it.
    fn greet(&mut self, session: &Session) {
        self.greeted = true;
        session.outbox.reply_only(false);
    }

    /// Follows what the client said of its streams. A visitor who logs in keeps those that they had: frames on another
    /// stream could overtake those before.
    fn set_streams(&mut self, greeting: &Session) {
        if let Some(streams) = greeting.streams() {
            self.context.session.outbox.set_streams(self.attachment, streams.per_lane);
            self.carrier.set_streams(streams.window_bytes, streams.per_lane);
        }
    }

    /// Goes on with a session that another connection began. The answer to the login stands before all it has to tell.
    fn go_on(&mut self, greeting: &Session, resumption: &Resumption) -> ControlFlow<End> {
        let Resumption { session, attachment } = resumption.clone();
        // There is one request at a time before a login, so nothing else is under way.
        if let Some(batch) = greeting.outbox.take(self.attachment, Lane::Control, BATCH_BYTES_MAX) {
            self.ways[Lane::Control.index()][0] = Some((Lane::Control, 0));
            self.writes[Lane::Control.index()] =
                Some(Write { way: (Lane::Control, 0), bytes: batch.bytes, replies: batch.replies });
        }
        self.input(Input::Resumed { newest: session.newest_request() })?;
        (self.context.session, self.attachment) = (session, attachment);
        self.follow_token(&self.context.session.clone())
    }

    /// Sets the deadlines of a token that was put in force.
    fn follow_token(&mut self, session: &Session) -> ControlFlow<End> {
        let expires = session.token_expires();
        if expires == self.token_expires {
            return ControlFlow::Continue(());
        }
        self.token_expires = expires;
        let Some(expires) = expires else { return ControlFlow::Continue(()) };
        let clock = self.context.shared.clock;
        let left = Duration::from_millis(expires.0.saturating_sub(clock.timestamp().0));
        self.input(Input::Token { expires: clock.now() + left })
    }
}
