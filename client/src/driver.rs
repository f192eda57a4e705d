//! The one task that reads and writes a connection, and the next one when that is lost.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use quail_protocol::{
    Lane,
    frame::{Frame, Head},
    id::SessionId,
    limits::REQUEST_ID_SPREAD_MAX,
    session::{Limits, Logout, Ping},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    clock::ServerClock,
    error::CallError,
    events::EventQueue,
    greeting::Greeted,
    link::{FIRST_REQUEST_ID, Link, close_for},
    outbox::{Outbox, Own, Request, own},
    pending::{Pending, Waiting},
    silence::Silence,
    state::{Cause, State},
    tracker::Tracker,
    window::Window,
};

mod comeback;
mod fetch;
mod handle;

pub(crate) use comeback::Comeback;
use fetch::Pace;

/// Frames handled before the driver writes again.
const FRAMES_PER_READ: usize = 64;

/// Signals that may wait for the driver.
const SIGNALS_MAX: usize = 64;

/// Reads before other tasks get their turn.
const READS_PER_POLL: usize = 16;

/// How long the server may take to answer the logout.
const LOGOUT_DEADLINE: Duration = Duration::from_secs(5);

/// What the handles hold of a driver.
pub(crate) struct Controls {
    pub(crate) requests: mpsc::Sender<Request>,
    /// Frames of signals.
    pub(crate) signals: mpsc::Sender<Bytes>,
    pub(crate) window: Arc<Window>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) current: watch::Receiver<Current>,
    /// A change ends the wait before the next connect.
    pub(crate) hurry: watch::Sender<()>,
    /// Sending asks for a logout; dropping says that no handle is left.
    pub(crate) closer: oneshot::Sender<()>,
    /// Its sender is gone when the driver has ended.
    pub(crate) done: watch::Receiver<()>,
}

/// What the last login told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) session: SessionId,
    pub(crate) limits: Limits,
    pub(crate) clock: ServerClock,
}

impl Current {
    fn new(login: &Greeted, now: Instant) -> Self {
        Self { session: login.session, limits: login.limits, clock: ServerClock::new(now, login.time) }
    }
}

pub(crate) struct Driver {
    link: Link,
    requests: mpsc::Receiver<Request>,
    signals: mpsc::Receiver<Bytes>,
    window: Arc<Window>,
    state: watch::Sender<State>,
    current: watch::Sender<Current>,
    hurry: watch::Receiver<()>,
    /// `None`: a lost connection is not made again.
    comeback: Option<Comeback>,
    closer: Option<oneshot::Receiver<()>>,
    events: EventQueue,
    tracker: Tracker,
    pace: Pace,
    outbox: Outbox,
    pending: Pending,
    silence: Silence,
    timer: Pin<Box<Sleep>>,
    pinging: bool,
    /// When to stop waiting for the answer to the logout that was asked for.
    logout: Option<Instant>,
    /// Writing failed; what can still be read is read first.
    broken: Option<Cause>,
    /// Reading waits for the app.
    stalled: bool,
    _done: watch::Sender<()>,
}

impl Driver {
    pub(crate) fn new(
        link: Link,
        login: &Greeted,
        tracker: Tracker,
        events: EventQueue,
        comeback: Option<Comeback>,
        now: Instant,
    ) -> (Self, Controls) {
        let window = Arc::new(Window::new(login.limits.requests_in_flight.into()));
        let (requests_sender, requests) = mpsc::channel(window.capacity());
        let (signals_sender, signals) = mpsc::channel(SIGNALS_MAX);
        let (state, state_receiver) = watch::channel(State::Connected);
        let (current, current_receiver) = watch::channel(Current::new(login, now));
        let (hurry_sender, hurry) = watch::channel(());
        let (closer_sender, closer) = oneshot::channel();
        let (done_sender, done) = watch::channel(());
        let silence = Silence::new(&login.limits, now);
        let timer = Box::pin(sleep_until(silence.ping_at()));
        let driver = Self {
            link,
            requests,
            signals,
            window: window.clone(),
            state,
            current,
            hurry,
            comeback,
            closer: Some(closer),
            events,
            tracker,
            pace: Pace::new(&login.limits, now),
            outbox: Outbox::default(),
            pending: Pending::new(FIRST_REQUEST_ID, REQUEST_ID_SPREAD_MAX),
            silence,
            timer,
            pinging: false,
            logout: None,
            broken: None,
            stalled: false,
            _done: done_sender,
        };
        let controls = Controls {
            requests: requests_sender,
            signals: signals_sender,
            window,
            state: state_receiver,
            current: current_receiver,
            hurry: hurry_sender,
            closer: closer_sender,
            done,
        };
        (driver, controls)
    }

    pub(crate) async fn run(mut self) {
        let mut cause = poll_fn(|cx| self.poll(cx)).await;
        while let Ok(()) = self.come_back(&mut cause).await {
            cause = poll_fn(|cx| self.poll(cx)).await;
        }
        tracing::debug!(%cause, "ended");
        self.finish(cause).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        let mut reads = 0;
        loop {
            if self.poll_closer(cx) {
                return Poll::Ready(Cause::LoggedOut);
            }
            self.poll_requests(cx);
            self.fetch();
            self.poll_write(cx);
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => {
                    reads += 1;
                    if reads == READS_PER_POLL {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
                Poll::Ready(Err(_)) if self.logout.is_some() => return Poll::Ready(Cause::LoggedOut),
                Poll::Ready(Err(cause)) => return Poll::Ready(cause),
                Poll::Pending => {}
            }
            if let (Some(cause), false) = (self.broken, self.stalled) {
                return Poll::Ready(cause);
            }
            match self.poll_timer(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(cause)) => return Poll::Ready(cause),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// True if no handle is left. Starts the logout that a handle asks for.
    fn poll_closer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(closer) = &mut self.closer else { return false };
        match Pin::new(closer).poll(cx) {
            Poll::Pending => false,
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(())) => {
                self.closer = None;
                self.logout = Some(Instant::now() + LOGOUT_DEADLINE);
                self.window.close();
                self.events.discard();
                self.tracker.discard();
                self.outbox.push(own::<Logout>(Waiting::Logout, Bytes::new()));
                false
            }
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            if let Waiting::LogIn { user, .. } = &request.waiting {
                self.tracker.becoming(user);
            }
            match &request.own {
                Some(Own::Message(own)) => self.tracker.sending(own),
                Some(own) => self.tracker.asking(own),
                None => {}
            }
            self.outbox.push(request);
        }
        while let Poll::Ready(Some(signal)) = self.signals.poll_recv(cx) {
            // A datagram may be lost, and then the server has heard nothing: it is no sign of life.
            if let Err(signal) = self.link.carrier.send_datagram(signal) {
                self.outbox.push_signal(signal);
            }
        }
    }

    /// Writes what the carrier takes. A lane that is full stops no other.
    fn poll_write(&mut self, cx: &mut Context<'_>) {
        if self.broken.is_some() {
            return;
        }
        for lane in Lane::ALL {
            loop {
                let batch = self.outbox.batch(lane, &mut self.pending);
                if batch.is_empty() {
                    break;
                }
                match self.link.carrier.poll_send(cx, lane, batch) {
                    Poll::Ready(Ok(())) => self.silence.sent(Instant::now()),
                    Poll::Ready(Err(lost)) => {
                        self.broken = Some(lost.0);
                        return;
                    }
                    Poll::Pending => break,
                }
            }
        }
        for own in self.outbox.take_unanswered() {
            self.tracker.unanswered(&own);
        }
        if let Poll::Ready(Err(lost)) = self.link.carrier.poll_flush(cx) {
            self.broken = Some(lost.0);
        }
    }

    /// Tells the app what is ready; pending while it is slow.
    fn poll_tell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.events.poll_ready(cx));
            match self.tracker.pop_ready() {
                Some(told) => self.events.push(told),
                None => return Poll::Ready(()),
            }
        }
    }

    /// Handles the frames that are there or receives a piece; pending while the carrier is silent or the app is slow.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        for handled in 0..FRAMES_PER_READ {
            if self.poll_tell(cx).is_pending() {
                self.stalled = true;
                return Poll::Pending;
            }
            if self.stalled {
                self.stalled = false;
                self.silence.received(Instant::now());
            }
            if let Poll::Ready(datagram) = self.link.poll_datagram(cx) {
                // Whatever else it is, it is lost, as datagrams may be.
                if let Some(frame @ Frame { head: Head::Event { .. }, .. }) = datagram {
                    self.handle(frame)?;
                }
                self.silence.received(Instant::now());
                continue;
            }
            match self.link.next_frame() {
                Ok(Some(frame)) => self.handle(frame)?,
                Ok(None) if handled > 0 => break,
                Ok(None) => {
                    return self.link.poll_receive(cx).map(|received| match received {
                        Ok(_) => {
                            self.silence.received(Instant::now());
                            Ok(())
                        }
                        Err(lost) => Err(lost.0),
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "unreadable lane");
                    return Poll::Ready(Err(Cause::Malformed));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when something has become due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let now = Instant::now();
        let gone_at = self.silence.gone_at();
        let ping_at = self.silence.ping_at();
        if self.logout.is_some_and(|deadline| deadline <= now) {
            return Poll::Ready(Err(Cause::LoggedOut));
        }
        // What is not read because the app is slow is no silence of the server.
        if !self.stalled && gone_at <= now {
            return Poll::Ready(Err(Cause::TimedOut));
        }
        if !self.pinging && ping_at <= now {
            self.pinging = true;
            self.outbox.push(own::<Ping>(Waiting::Ping, Bytes::new()));
            return Poll::Ready(Ok(()));
        }
        let fetch_at = self.fetch_at();
        if fetch_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Ok(()));
        }
        let next =
            [fetch_at, self.logout, (!self.stalled).then_some(gone_at), (!self.pinging).then_some(ping_at)];
        let Some(next) = next.into_iter().flatten().min() else { return Poll::Pending };
        // Traffic only moves deadlines back: letting the timer fire early is cheaper than setting it each time.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        self.timer.as_mut().poll(cx).map(Ok)
    }

    async fn finish(mut self, cause: Cause) {
        self.state.send_replace(State::Disconnected { cause });
        self.window.close();
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            request.waiting.finish(Err(CallError::Disconnected(cause)));
        }
        self.outbox.fail(cause);
        self.pending.fail(cause);
        self.tracker.ended(cause);
        // What the queue has room for: an app that is slow must not hold up the end.
        poll_fn(|cx| Poll::Ready(_ = self.poll_tell(cx))).await;
        let Self { link, events, _done, .. } = self;
        drop(events);
        link.close(close_for(cause)).await;
    }
}

#[cfg(test)]
mod tests;
