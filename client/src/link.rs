//! A carrier and what has been received of its lanes.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use quail_protocol::{
    Close, Lane, Operation,
    frame::{self, Decoder, Frame, FrameError, Head, Outcome},
    limits::{FRAME_BYTES_MAX, STREAMS_PER_LANE_MAX},
};
use tokio::time::timeout;

use crate::{
    carrier::{Carrier, Lost},
    state::Cause,
};

/// How long the server may take to answer the login: an established carrier is no sign that it accepted.
const GREETING_DEADLINE: Duration = Duration::from_secs(5);

/// How long the end of a closed carrier is waited for.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Bytes on other lanes that may overtake the answer to the login.
const EARLY_BYTES_MAX: usize = 512 * 1024;

/// The login, or the visit, is always the first request.
const LOGIN_REQUEST_ID: u32 = 1;

/// The number of the first request after the login.
pub(crate) const FIRST_REQUEST_ID: u32 = LOGIN_REQUEST_ID + 1;

pub(crate) struct Link {
    pub(crate) carrier: Box<dyn Carrier>,
    /// Of each stream of each lane.
    decoders: [[Decoder; STREAMS_PER_LANE_MAX]; Lane::COUNT],
    /// Streams whose decoder may hold a whole frame.
    unread: [[bool; STREAMS_PER_LANE_MAX]; Lane::COUNT],
}

impl Link {
    pub(crate) fn new(carrier: impl Carrier) -> Self {
        Self {
            carrier: Box::new(carrier),
            decoders: std::array::from_fn(|_| std::array::from_fn(|_| Decoder::new(FRAME_BYTES_MAX))),
            unread: Default::default(),
        }
    }

    /// Stands where a connection was.
    pub(crate) fn nowhere() -> Self {
        Self::new(Nowhere)
    }

    /// Receives a piece of any lane and says how long it was.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Lane, usize), Lost>> {
        self.carrier.poll_receive(cx).map_ok(|(lane, slot, bytes)| {
            self.decoders[lane.index()][slot].extend(&bytes);
            self.unread[lane.index()][slot] = true;
            (lane, bytes.len())
        })
    }

    /// The frame of the next datagram; `None` if it is none.
    pub(crate) fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        self.carrier.poll_datagram(cx).map(|bytes| {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            decoder.extend(&bytes);
            let frame = decoder.next_frame().ok().flatten();
            frame.filter(|_| decoder.is_between_frames())
        })
    }

    /// The next whole frame that was received, most urgent lane first.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        for lane in Lane::ALL {
            if let Some(frame) = self.next_frame_of(lane)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn next_frame_of(&mut self, lane: Lane) -> Result<Option<Frame>, FrameError> {
        let at = lane.index();
        for (unread, decoder) in self.unread[at].iter_mut().zip(&mut self.decoders[at]) {
            if !*unread {
                continue;
            }
            let frame = decoder.next_frame()?;
            *unread = frame.is_some();
            if frame.is_some() {
                return Ok(frame);
            }
        }
        Ok(None)
    }

    /// Logs in, or visits, and waits for the answer. Frames that arrive meanwhile on other lanes are kept.
    pub(crate) async fn greet<O: Operation>(&mut self, greeting: &O) -> Result<O::Reply, Cause> {
        let head = Head::Request { request_id: LOGIN_REQUEST_ID, opcode: O::INFO.opcode };
        let request = frame::encode(&head, greeting);
        match timeout(GREETING_DEADLINE, self.exchange::<O>(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Cause::TimedOut),
        }
    }

    /// Tells the server that this side is done, and waits a moment until it has heard.
    pub(crate) async fn close(mut self, close: Close) {
        self.carrier.close(close);
        if timeout(CLOSE_DEADLINE, poll_fn(|cx| self.carrier.poll_closed(cx))).await.is_err() {
            tracing::debug!("the other end did not confirm the close");
        }
    }

    async fn exchange<O: Operation>(&mut self, mut request: Bytes) -> Result<O::Reply, Cause> {
        poll_fn(|cx| self.carrier.poll_send(cx, Lane::Control, &mut request)).await.map_err(|lost| lost.0)?;
        poll_fn(|cx| self.carrier.poll_flush(cx)).await.map_err(|lost| lost.0)?;
        let mut early = 0;
        loop {
            match self.next_frame_of(Lane::Control).map_err(|_| Cause::Malformed)? {
                Some(frame) => return read_answer::<O>(frame),
                None => {
                    let (lane, bytes) = poll_fn(|cx| self.poll_receive(cx)).await.map_err(|lost| lost.0)?;
                    if lane != Lane::Control {
                        early += bytes;
                    }
                    if early > EARLY_BYTES_MAX {
                        return Err(Cause::Malformed);
                    }
                }
            }
        }
    }
}

struct Nowhere;

impl Carrier for Nowhere {
    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<Result<(Lane, usize, Bytes), Lost>> {
        Poll::Ready(Err(Lost(Cause::Interrupted)))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: Lane, _: &mut Bytes) -> Poll<Result<(), Lost>> {
        Poll::Ready(Err(Lost(Cause::Interrupted)))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Err(Lost(Cause::Interrupted)))
    }

    fn close(&mut self, _: Close) {}

    fn poll_closed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

fn read_answer<O: Operation>(frame: Frame) -> Result<O::Reply, Cause> {
    match frame.head {
        Head::Reply { request_id: LOGIN_REQUEST_ID, outcome: Outcome::Ok } => {
            frame::decode(&frame.body).map_err(|_| Cause::Malformed)
        }
        Head::Reply { request_id: LOGIN_REQUEST_ID, outcome: Outcome::Reject(reject) } => {
            Err(Cause::LoginRefused(reject))
        }
        _ => Err(Cause::Malformed),
    }
}

/// What the server is told about our reason.
pub(crate) fn close_for(cause: Cause) -> Close {
    match cause {
        Cause::Malformed => Close::ProtocolViolation,
        _ => Close::LoggedOut,
    }
}
