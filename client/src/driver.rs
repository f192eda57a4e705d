//! The one task that reads and writes a connection.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use quail_protocol::{
    Event, Lane, Operation,
    frame::{Frame, Head, Outcome},
    limits::REQUEST_ID_SPREAD_MAX,
    session::{LoggedIn, Logout, Ping},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    error::CallError,
    events::EventQueue,
    link::{FIRST_REQUEST_ID, Link},
    outbox::{Outbox, Request},
    pending::{Pending, Waiting},
    silence::Silence,
    state::{Cause, State},
    window::Window,
};

/// Frames handled before the driver writes again.
const FRAMES_PER_READ: usize = 64;

/// Reads before other tasks get their turn.
const READS_PER_POLL: usize = 16;

/// How long the server may take to answer the logout.
const LOGOUT_DEADLINE: Duration = Duration::from_secs(5);

/// What the handles hold of a driver.
pub(crate) struct Controls {
    pub(crate) requests: mpsc::Sender<(Lane, Request)>,
    pub(crate) window: Arc<Window>,
    pub(crate) state: watch::Receiver<State>,
    /// Sending asks for a logout; dropping says that no handle is left.
    pub(crate) closer: oneshot::Sender<()>,
    /// Its sender is gone when the driver has ended.
    pub(crate) done: watch::Receiver<()>,
}

pub(crate) struct Driver {
    link: Link,
    requests: mpsc::Receiver<(Lane, Request)>,
    window: Arc<Window>,
    state: watch::Sender<State>,
    closer: Option<oneshot::Receiver<()>>,
    events: EventQueue,
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
    pub(crate) fn new(link: Link, login: &LoggedIn, events: EventQueue, now: Instant) -> (Self, Controls) {
        let window = Arc::new(Window::new(login.limits.requests_in_flight.into()));
        let (requests_sender, requests) = mpsc::channel(window.capacity());
        let (state, state_receiver) = watch::channel(State::Connected);
        let (closer_sender, closer) = oneshot::channel();
        let (done_sender, done) = watch::channel(());
        let silence = Silence::new(&login.limits, now);
        let timer = Box::pin(sleep_until(silence.ping_at()));
        let driver = Self {
            link,
            requests,
            window: window.clone(),
            state,
            closer: Some(closer),
            events,
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
            window,
            state: state_receiver,
            closer: closer_sender,
            done,
        };
        (driver, controls)
    }

    pub(crate) async fn run(mut self) {
        let cause = poll_fn(|cx| self.poll(cx)).await;
        tracing::debug!(%cause, "session ended");
        self.finish(cause).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        let mut reads = 0;
        loop {
            if self.poll_closer(cx) {
                return Poll::Ready(Cause::LoggedOut);
            }
            self.poll_requests(cx);
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
                self.ask::<Logout>(Waiting::Logout);
                false
            }
        }
    }

    /// Queues a request of the driver's own; both kinds have an empty body.
    fn ask<O: Operation>(&mut self, waiting: Waiting) {
        let request = Request { opcode: O::INFO.opcode, body: Bytes::new(), waiting };
        self.outbox.push(Lane::Control, request);
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((lane, request))) = self.requests.poll_recv(cx) {
            self.outbox.push(lane, request);
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
        if let Poll::Ready(Err(lost)) = self.link.carrier.poll_flush(cx) {
            self.broken = Some(lost.0);
        }
    }

    /// Handles the frames that are there or receives a piece; pending while the carrier is silent or the app is slow.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        for handled in 0..FRAMES_PER_READ {
            if self.events.poll_ready(cx).is_pending() {
                self.stalled = true;
                return Poll::Pending;
            }
            if self.stalled {
                self.stalled = false;
                self.silence.received(Instant::now());
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

    fn handle(&mut self, frame: Frame) -> Result<(), Cause> {
        match frame.head {
            Head::Event { kind } => {
                let event = Event::decode(kind, frame.body).map_err(|_| Cause::Malformed)?;
                self.events.push(event);
                // The app that logs out has taken what it wanted.
                if self.logout.is_some() {
                    self.events.discard();
                }
                Ok(())
            }
            Head::Reply { request_id, outcome } => {
                let result = match outcome {
                    Outcome::Ok => Ok(frame.body),
                    Outcome::Reject(reject) => Err(CallError::Reject(reject)),
                };
                match self.pending.take(request_id) {
                    Some(Waiting::Ping) => self.pinging = false,
                    Some(Waiting::Logout) => return Err(Cause::LoggedOut),
                    Some(call) => call.finish(result),
                    None => return Err(Cause::Malformed),
                }
                Ok(())
            }
            Head::Request { .. } => Err(Cause::Malformed),
        }
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
            self.ask::<Ping>(Waiting::Ping);
            return Poll::Ready(Ok(()));
        }
        let next = [self.logout, (!self.stalled).then_some(gone_at), (!self.pinging).then_some(ping_at)];
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
        while let Ok((_, request)) = self.requests.try_recv() {
            request.waiting.finish(Err(CallError::Disconnected(cause)));
        }
        self.outbox.fail(cause);
        self.pending.fail(cause);
        let Self { link, events, _done, .. } = self;
        drop(events);
        link.close(cause).await;
    }
}

#[cfg(test)]
mod tests;
