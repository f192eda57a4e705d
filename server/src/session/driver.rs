//! The one task that reads and writes a connection.
//!
//! It feeds the state machine and obeys it, serves requests, and writes lanes in priority order without ever waiting
//! for one of them: with a task per lane, a client that grants large windows would starve its urgent lanes.

mod decoders;
mod greeting;
mod inputs;
mod strangers;
mod timer;
mod write;

use std::{
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use quail_protocol::{
    Close, Lane, Opcode, Timestamp,
    event::EventBody,
    frame::{Decoder, Frame, FrameError, Head},
    limits::STREAMS_PER_LANE_MAX,
    session::{Draining, TokenWillExpire},
};
use tokio::sync::watch;

use self::{decoders::Decoders, inputs::Inputs, timer::Timer, write::Write};
use super::{
    Session,
    connected::{Connected, End},
    outbox::{Attachment, Service},
    state::{Deadlines, Input, State},
};
use crate::{
    carrier::{Carrier, Lost, Received, Way},
    context::{Context, Shared},
    hub::rooms::Gather,
    router::{Router, Serving},
};

/// Bytes that are joined for one write on a lane.
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// Bytes of replies that may wait before no more requests are read.
const REPLY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the frame in a datagram.
const DATAGRAM_BYTES_MAX: usize = 1200;

/// Chunks that are read before writing gets its turn.
const READS_PER_TURN: usize = 16;

/// How long a carrier may take to tell the client of the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Drives one connection from greeting to end.
pub fn drive(
    carrier: impl Carrier,
    shared: Arc<Shared>,
    router: Arc<Router>,
    draining: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send {
    let name = carrier.name();
    let mut driver = Driver::new(carrier, shared.clone(), router, draining);
    let session = driver.context.session.clone();
    let mut connected = Connected::new(name, shared, session);
    // What an async function is given and what it makes of that stand side by side in its future, and that is what an
    // idle session costs. So all of it is made out here, and stays where it is to the end.
    async move {
        let end = poll_fn(|cx| driver.poll(cx)).await;
        connected.end(&end, driver.state.heard(), std::mem::take(&mut driver.serving));
        if let End::Close(close) = end {
            let told = poll_fn(|cx| driver.carrier.poll_close(cx, close));
            // Whoever does not read their goodbye in time goes without.
            _ = tokio::time::timeout(CLOSE_TIMEOUT, told).await;
        }
    }
}

struct Driver<C> {
    carrier: C,
    context: Context,
    /// Which of its connections the session's outbox serves with this driver.
    attachment: Attachment,
    router: Arc<Router>,
    state: State,
    decoders: Decoders,
    inputs: Inputs,
    serving: FuturesUnordered<Serving>,
    writes: [Option<Write>; Lane::COUNT],
    /// Where the frames of each stream of each lane go: there, or on the lane's first stream, or on Control if that was not
    /// open when it had its first. It stays so, because frames on a stream of their own could overtake those before.
    ways: [[Option<Way>; STREAMS_PER_LANE_MAX]; Lane::COUNT],
    timer: Timer,
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    drained: bool,
    /// A login or a visit was answered.
    greeted: bool,
    /// Refused logins that were counted for the client's address.
    refusals_counted: u8,
    /// The expiry whose deadlines are set.
    token_expires: Option<Timestamp>,
    /// Reading waits for a place in the window.
    paused: bool,
    /// The lane whose bytes stand half-written on Control, where no other lane may write before it is done.
    control_owner: Option<usize>,
}

impl<C: Carrier> Driver<C> {
    fn new(
        carrier: C,
        shared: Arc<Shared>,
        router: Arc<Router>,
        mut draining: watch::Receiver<bool>,
    ) -> Self {
        let config = &shared.session;
        let deadlines = Deadlines {
            greeting: config.greeting_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
            leave: config.leave_timeout,
            token_warning: config.token_warning,
        };
        let state = State::new(deadlines, config.free_requests_per_second, shared.clock.now());
        let session = Arc::new(Session::new(config.outbox.clone()));
        session.set_address(carrier.remote_address().ip());
        session.outbox.reply_only(true);
        Self {
            carrier,
            timer: Timer::new(state.deadline()),
            context: Context { session, shared },
            attachment: Attachment::default(),
            router,
            state,
            decoders: Decoders::new(),
            inputs: Inputs::new(),
            serving: FuturesUnordered::new(),
            writes: Default::default(),
            ways: Default::default(),
            draining: Box::pin(async move {
                // An error means that the server is gone, which is the same.
                _ = draining.wait_for(|draining| *draining).await;
            }),
            drained: false,
            greeted: false,
            refusals_counted: 0,
            token_expires: None,
            paused: false,
            control_owner: None,
        }
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        let service = self.context.session.outbox.register(self.attachment, cx.waker());
        if service == Service::Superseded {
            return Poll::Ready(End::Close(Close::Superseded));
        }
        self.inputs.register(cx);
        let attachment = self.attachment;
        match self.turn(service, cx) {
            ControlFlow::Break(end) => Poll::Ready(end),
            ControlFlow::Continue(()) => {
                if self.attachment != attachment {
                    // Another outbox is to know whom to wake.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    fn turn(&mut self, service: Service, cx: &mut TaskContext<'_>) -> ControlFlow<End> {
        if let Some(close) = self.context.session.ending() {
            return ControlFlow::Break(End::Close(close));
        }
        if service == Service::Overrun {
            return ControlFlow::Break(End::Close(Close::Slow));
        }
        // Most turns write what was pushed; looking at every stream for that would cost more than the writing.
        if self.inputs.take() || self.paused {
            let waker = self.inputs.waker();
            self.take_in(&mut TaskContext::from_waker(&waker))?;
        }
        self.write(cx)?;
        self.wait(cx)
    }

    /// Sees to whatever came in. `cx` is that of [`Inputs`].
    fn take_in(&mut self, cx: &mut TaskContext<'_>) -> ControlFlow<End> {
        let _gather = Gather::begin();
        if !self.drained && self.draining.as_mut().poll(cx).is_ready() {
            self.drained = true;
            // Whoever waits for the answer to a login is told by the close alone.
            if self.state.is_open() || self.state.is_visiting() {
                let Shared { session: config, hub, addresses, entropy, .. } = &*self.context.shared;
                let returning = hub.users() + addresses.visitors();
                // Whoever came before this server is gone would be refused, and wait for longer the next time.
                let wait = config.leave_timeout + entropy.up_to(config.spread_of_return(returning));
                let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                let draining = Draining { retry_after_ms };
                self.context.session.outbox.push_notice(draining.to_frame());
            }
            self.input(Input::Drain)?;
        }
        while let Poll::Ready(Some(())) = self.serving.poll_next_unpin(cx) {
            self.after_serving()?;
        }
        self.read(cx)
    }

    /// Reads while the state allows it. What was read may be answered at once, so writing comes after.
    fn read(&mut self, cx: &mut TaskContext<'_>) -> ControlFlow<End> {
        for turn in 0.. {
            self.charge()?;
            // Frames that arrived with others may have waited for a free place in the window.
            self.serve_decoded(cx)?;
            self.paused = !self.may_read();
            if self.paused && !self.state.is_leaving() {
                // It is we who do not listen: what the client says meanwhile is not silence.
                return self.input(Input::Heard);
            }
            self.check_begun_frames()?;
            if turn == READS_PER_TURN {
                cx.waker().wake_by_ref();
                break;
            }
            let Poll::Ready(received) = self.carrier.poll_receive(cx) else { break };
            let received = match received {
                Ok(received) => received,
                Err(Lost::Violation(close)) => return ControlFlow::Break(End::Close(close)),
                Err(lost) => return ControlFlow::Break(End::Lost(lost)),
            };
            self.input(Input::Heard)?;
            if self.state.is_leaving() {
                // Read on only to see the client go.
                continue;
            }
            let (lane, slot, bytes) = match received {
                Received::Lane(lane, slot, bytes) => (lane, slot, bytes),
                Received::Datagram(bytes) => {
                    self.datagram(&bytes)?;
                    continue;
                }
            };
            if !bytes.is_empty() {
                self.decoders.of(lane, slot).extend(&bytes);
            } else if self.decoders.has_begun(lane, slot) {
                return ControlFlow::Break(End::Close(Close::Malformed));
            }
        }
        ControlFlow::Continue(())
    }

    fn may_read(&self) -> bool {
        self.state.may_read() && self.context.session.outbox.reply_bytes() < REPLY_BYTES_MAX
    }

    fn serve_decoded(&mut self, cx: &mut TaskContext<'_>) -> ControlFlow<End> {
        for i in 0..self.decoders.count() {
            while self.may_read() && !self.decoders.at(i).is_between_frames() {
                let frame = match self.decoders.at(i).next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(FrameError::TooLarge) => return ControlFlow::Break(End::Close(Close::FrameTooLarge)),
                    Err(FrameError::Malformed) => return ControlFlow::Break(End::Close(Close::Malformed)),
                };
                match frame.head {
                    Head::Request { request_id, opcode } => {
                        self.input(Input::Request { request_id })?;
                        self.serve(cx, request_id, opcode, frame.body)?;
                    }
                    Head::Signal => self.signal(&frame.body)?,
                    Head::Reply { .. } | Head::Event { .. } => {
                        return ControlFlow::Break(End::Close(Close::ProtocolViolation));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// A datagram is one frame, a signal. What overtook the login is discarded.
    fn datagram(&mut self, bytes: &[u8]) -> ControlFlow<End> {
        if !self.state.is_open() {
            return ControlFlow::Continue(());
        }
        let mut decoder = Decoder::new(DATAGRAM_BYTES_MAX);
        decoder.extend(bytes);
        match decoder.next_frame() {
            Ok(Some(Frame { head: Head::Signal, body })) if decoder.is_between_frames() => self.signal(&body),
            _ => ControlFlow::Break(End::Close(Close::Malformed)),
        }
    }

    fn signal(&mut self, body: &[u8]) -> ControlFlow<End> {
        match self.router.signal(&self.context, body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(End::Close(Close::Malformed)),
        }
    }

    /// Starts serving at once, so that requests of a lane reach their services in the order they came.
    fn serve(
        &mut self,
        cx: &mut TaskContext<'_>,
        request_id: u32,
        opcode: Opcode,
        body: Bytes,
    ) -> ControlFlow<End> {
        let mut serving = self.router.serve(self.context.clone(), request_id, opcode, body);
        match serving.as_mut().poll(cx) {
            Poll::Ready(()) => self.after_serving(),
            Poll::Pending => {
                self.serving.push(serving);
                ControlFlow::Continue(())
            }
        }
    }

    /// Sleeps until the next deadline, obeying those that are over.
    fn wait(&mut self, cx: &mut TaskContext<'_>) -> ControlFlow<End> {
        loop {
            let now = self.context.shared.clock.now();
            if self.timer.poll(self.state.deadline(), now, cx).is_pending() {
                return ControlFlow::Continue(());
            }
            self.input(Input::Tick)?;
            if self.paused && self.may_read() {
                cx.waker().wake_by_ref();
            }
            if let Some(left) = self.state.token_warning(self.context.shared.clock.now()) {
                let seconds = u32::try_from(left.as_secs_f64().round() as u64).unwrap_or(u32::MAX);
                self.context.session.outbox.push_notice(TokenWillExpire { seconds }.to_frame());
            }
        }
    }

    fn input(&mut self, input: Input) -> ControlFlow<End> {
        match self.state.handle(input, self.context.shared.clock.now()) {
            Some(close) => ControlFlow::Break(End::Close(close)),
            None => ControlFlow::Continue(()),
        }
    }
}
