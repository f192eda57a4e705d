//! From a lost connection to the next.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use quail_protocol::{Close, limits::REQUEST_ID_SPREAD_MAX, session::ResumeToken};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::{Current, Driver, Pace};
use crate::{
    dialer::Dial,
    error::ConnectError,
    greeting::Greeted,
    link::{FIRST_REQUEST_ID, Link},
    pending::Pending,
    reconnect::Reconnect,
    silence::Silence,
    state::{Cause, State},
};

/// A connection that stood this long was a good one: after its loss the waits are short again.
const STEADY: Duration = Duration::from_secs(10);

/// How to connect again.
pub(crate) struct Comeback {
    dial: Dial,
    reconnect: Reconnect,
    random: StdRng,
    tries: usize,
    connected: Instant,
    /// The server asked to wait at least until then.
    not_before: Option<Instant>,
    /// The key to the session, if it is kept.
    token: Option<ResumeToken>,
}

/// The app wants no connection any more.
struct Leave;

impl Comeback {
    pub(crate) fn new(dial: Dial, reconnect: Reconnect, seed: [u8; 32], token: Option<ResumeToken>) -> Self {
        let (random, connected) = (StdRng::from_seed(seed), Instant::now());
        Self { dial, reconnect, random, tries: 0, connected, not_before: None, token }
    }

    /// The server says when to come back at the earliest.
    pub(super) fn not_before(&mut self, at: Instant) {
        self.not_before = Some(at);
    }

    /// From now on connections are made as another, who has a session with this key.
    pub(super) fn become_another(&mut self, dial: Dial, token: ResumeToken) {
        (self.dial, self.token) = (dial, Some(token));
    }

    fn wait(&mut self) -> Duration {
        let wait = self.reconnect.wait(self.tries, self.random.next_u32());
        self.tries = self.tries.saturating_add(1);
        let asked = self.not_before.take().map(|at| at.saturating_duration_since(Instant::now()));
        wait + asked.unwrap_or_default()
    }
}

impl Driver {
    /// After a connection ended for `cause`: connects again, or fails with the cause for which it does not.
    pub(super) async fn come_back(&mut self, cause: &mut Cause) -> Result<(), ()> {
        let Some(mut comeback) = self.comeback.take() else { return Err(()) };
        if self.logout.is_some() || !cause.comes_back() {
            return Err(());
        }
        tracing::debug!(%cause, "connection lost");
        self.hurry.mark_unchanged();
        self.state.send_replace(State::Reconnecting { cause: *cause });
        self.tracker.interrupted();
        let lost = mem::replace(&mut self.link, Link::nowhere());
        tokio::spawn(lost.close(Close::Abandoned));
        if comeback.connected.elapsed() >= STEADY {
            comeback.tries = 0;
        }
        loop {
            let wait = comeback.wait();
            tracing::debug!(?wait, tries = comeback.tries, "waiting to connect again");
            let dialed = match self.pause(wait).await {
                Ok(hurried) => {
                    if hurried {
                        comeback.tries = 0;
                    }
                    self.meanwhile((comeback.dial)(comeback.token)).await
                }
                Err(Leave) => Err(Leave),
            };
            match dialed {
                Ok(Ok((link, mut login))) => {
                    self.resume(link, &mut login);
                    comeback.connected = Instant::now();
                    comeback.token = login.resume_token;
                    self.comeback = Some(comeback);
                    return Ok(());
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "not connected");
                    if let ConnectError::Failed(Cause::LoginRefused(reject)) = &error
                        && let Some(ms) = reject.retry_after_ms
                    {
                        comeback.not_before(Instant::now() + Duration::from_millis(ms.into()));
                    }
                    *cause = cause_of(&error);
                    if !cause.comes_back() {
                        return Err(());
                    }
                    self.state.send_if_modified(|state| {
                        let failed = State::Reconnecting { cause: *cause };
                        mem::replace(state, failed) != failed
                    });
                }
                Err(Leave) => {
                    *cause = Cause::LoggedOut;
                    return Err(());
                }
            }
        }
    }

    /// Waits, unless the app is in a hurry. True if it was.
    async fn pause(&mut self, wait: Duration) -> Result<bool, Leave> {
        let mut hurry = self.hurry.clone();
        let waiting = async {
            tokio::select! {
                // In order, so that a simulation repeats itself.
                biased;
                () = sleep(wait) => false,
                Ok(()) = hurry.changed() => true,
            }
        };
        let hurried = self.meanwhile(waiting).await?;
        self.hurry = hurry;
        Ok(hurried)
    }

    /// Runs `future`, tells the app what is ready, and notices when the app leaves.
    async fn meanwhile<F: Future>(&mut self, future: F) -> Result<F::Output, Leave> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.poll_leave(cx).is_ready() {
                return Poll::Ready(Err(Leave));
            }
            // A slow app is no reason to wait.
            _ = self.poll_tell(cx);
            future.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.closer {
            Some(closer) => Pin::new(closer).poll(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    fn resume(&mut self, link: Link, login: &mut Greeted) {
        let now = Instant::now();
        self.link = link;
        if login.resumed {
            self.outbox.go_on(&self.pending);
        } else {
            self.outbox.repeat(self.pending.drain());
            self.pending = Pending::new(FIRST_REQUEST_ID, REQUEST_ID_SPREAD_MAX);
            self.pinging = false;
        }
        self.silence = Silence::new(&login.limits, now);
        self.pace = Pace::new(&login.limits, now);
        (self.broken, self.stalled) = (None, false);
        // What was signalled before is of no use now.
        while self.signals.try_recv().is_ok() {}
        self.tracker.reconnected(login.resumed, login.time);
        self.tracker.brought(mem::take(&mut login.conversations));
        for own in self.outbox.take_unanswered() {
            self.tracker.unanswered(&own);
        }
        self.current.send_replace(Current::new(login, now));
        self.state.send_replace(State::Connected);
        tracing::debug!(session = %login.session, login.resumed, "connected again");
    }
}

/// What is wrong with this side's network or the app's token may pass as well.
fn cause_of(error: &ConnectError) -> Cause {
    match error {
        ConnectError::Failed(cause) => *cause,
        _ => Cause::ServerUnavailable,
    }
}
