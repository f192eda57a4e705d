//! The native QUIC carrier: a client-opened bidirectional stream for each lane, and more to hear on if that is asked for.

use std::{
    future::Future,
    pin::{Pin, pin},
    slice,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt;
use quail_protocol::{Close, Lane};
use quinn::{
    Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream, TransportErrorCode, VarInt,
    WriteError,
};

use super::{Carrier, Lost, closed_by};
use crate::state::Cause;

/// TLS alert `no_application_protocol`.
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// Bytes taken from one lane at a time; the rest waits in quinn and holds the sender back.
const READ_BYTES_MAX: usize = 16 * 1024;

/// One lane's stream.
struct Stream {
    send: SendStream,
    /// Gone after the server finished its side.
    receive: Option<RecvStream>,
    /// The lane tag until it was written.
    tag: Bytes,
}

/// A stream on which is only heard: which of which lane.
struct More {
    lane: Lane,
    slot: usize,
    receive: Option<RecvStream>,
    /// Writes the lane's tag, and is gone when that is done.
    naming: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

type Datagram = Pin<Box<dyn Future<Output = Result<Bytes, ConnectionError>> + Send>>;

fn read_datagram(connection: Connection) -> Datagram {
    Box::pin(async move { connection.read_datagram().await })
}

pub(crate) struct Quic {
    connection: Connection,
    /// Our own endpoint, which lives as long as the connection; a shared one belongs to the app.
    endpoint: Option<Endpoint>,
    lanes: [Option<Stream>; Lane::COUNT],
    /// Further streams of lanes, on which is only heard.
    more: Vec<More>,
    /// Streams of each lane but Control.
    per_lane: usize,
    /// Whether the other lanes were opened behind the first bytes of Control.
    opened: bool,
    /// The lane whose bytes stand half-written on Control, where no other lane may write before it is done.
    control_owner: Option<Lane>,
    /// Another lane was turned away meanwhile.
    turned_away: bool,
    ended: Pin<Box<dyn Future<Output = ConnectionError> + Send>>,
    datagram: Datagram,
    idle: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Quic {
    /// Takes an established connection and opens Control.
    pub(crate) fn new(
        connection: Connection,
        endpoint: Option<Endpoint>,
        per_lane: usize,
    ) -> Result<Self, Lost> {
        let ended = {
            let connection = connection.clone();
            Box::pin(async move { connection.closed().await })
        };
        let mut quic = Self {
            datagram: read_datagram(connection.clone()),
            connection,
            endpoint,
            lanes: Default::default(),
            more: Vec::new(),
            per_lane,
            opened: false,
            control_owner: None,
            turned_away: false,
            ended,
            idle: None,
        };
        if quic.open(Lane::Control)? { Ok(quic) } else { Err(Lost(Cause::Malformed)) }
    }

    /// Opens the stream of `lane`; false if the server grants no further stream.
    fn open(&mut self, lane: Lane) -> Result<bool, Lost> {
        let Some(opened) = self.connection.open_bi().now_or_never() else { return Ok(false) };
        let (send, receive) = opened.map_err(lost)?;
        let urgency = (Lane::COUNT - lane.index()) as i32;
        if let Err(error) = send.set_priority(urgency) {
            tracing::debug!(%error, ?lane, "a stream closed right after it was opened");
        }
        let tag = Bytes::copy_from_slice(&[lane.tag()]);
        self.lanes[lane.index()] = Some(Stream { send, receive: Some(receive), tag });
        Ok(true)
    }

    /// Opens the other lanes. One that the server does not grant uses Control for good: a later switch to a stream of
    /// its own could let its frames overtake each other.
    fn open_others(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        for lane in Lane::ALL {
            if self.lanes[lane.index()].is_none() && self.open(lane)? {
                // A tag that does not fit now goes out before the lane's first frame.
                if let Poll::Ready(written) = self.poll_send(cx, lane, &mut Bytes::new()) {
                    written?;
                }
            }
        }
        for lane in Lane::ALL.into_iter().filter(|lane| *lane != Lane::Control) {
            for slot in 1..self.per_lane {
                self.open_more(lane, slot)?;
            }
        }
        Ok(())
    }

    /// Opens a further stream of `lane`. Where the server grants none, it writes on those that there are.
    fn open_more(&mut self, lane: Lane, slot: usize) -> Result<(), Lost> {
        let Some(opened) = self.connection.open_bi().now_or_never() else { return Ok(()) };
        let (mut send, receive) = opened.map_err(lost)?;
        let naming = async move {
            // Whether the connection ended is told by its lanes.
            if send.write_all(&[lane.tag()]).await.is_ok() {
                _ = send.finish();
            }
        };
        self.more.push(More { lane, slot, receive: Some(receive), naming: Some(Box::pin(naming)) });
        Ok(())
    }

    /// Hears on the further streams of `lane`.
    fn poll_more(&mut self, cx: &mut Context<'_>, lane: Lane) -> Poll<Result<(usize, Bytes), Lost>> {
        for more in self.more.iter_mut().filter(|more| more.lane == lane) {
            if let Some(naming) = &mut more.naming
                && naming.as_mut().poll(cx).is_ready()
            {
                more.naming = None;
            }
            if let Poll::Ready(read) = poll_stream(&self.connection, &mut more.receive, cx) {
                return Poll::Ready(read.map(|bytes| (more.slot, bytes)));
            }
        }
        Poll::Pending
    }

    /// Writes on the stream of `way`, its tag first.
    fn poll_write(&mut self, cx: &mut Context<'_>, way: Lane, bytes: &mut Bytes) -> Poll<Result<(), Lost>> {
        let Some(stream) = &mut self.lanes[way.index()] else {
            return Poll::Ready(Err(Lost(Cause::Interrupted)));
        };
        for part in [&mut stream.tag, bytes] {
            while !part.is_empty() {
                let written = ready!(pin!(stream.send.write_chunks(slice::from_mut(part))).poll(cx));
                match written {
                    Ok(_) => {}
                    Err(WriteError::ConnectionLost(error)) => return Poll::Ready(Err(lost(error))),
                    Err(error) => {
                        tracing::debug!(%error, lane = ?way, "a lane refuses writes");
                        return Poll::Ready(Err(lost_lane(&self.connection)));
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_lane(&mut self, cx: &mut Context<'_>, lane: Lane) -> Poll<Result<Bytes, Lost>> {
        let Some(stream) = &mut self.lanes[lane.index()] else { return Poll::Pending };
        poll_stream(&self.connection, &mut stream.receive, cx)
    }
}

fn poll_stream(
    connection: &Connection,
    stream: &mut Option<RecvStream>,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, Lost>> {
    let Some(receive) = stream else { return Poll::Pending };
    let read = ready!(pin!(receive.read_chunk(READ_BYTES_MAX, true)).poll(cx));
    match read {
        Ok(Some(chunk)) => Poll::Ready(Ok(chunk.bytes)),
        Ok(None) => {
            *stream = None;
            Poll::Pending
        }
        Err(ReadError::ConnectionLost(error)) => Poll::Ready(Err(lost(error))),
        Err(error) => {
            tracing::debug!(%error, "a stream of a lane ended");
            Poll::Ready(Err(lost_lane(connection)))
        }
    }
}

impl Carrier for Quic {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Lane, usize, Bytes), Lost>> {
        for lane in Lane::ALL {
            if let Poll::Ready(read) = self.poll_lane(cx, lane) {
                return Poll::Ready(read.map(|bytes| (lane, 0, bytes)));
            }
            if let Poll::Ready(read) = self.poll_more(cx, lane) {
                return Poll::Ready(read.map(|(slot, bytes)| (lane, slot, bytes)));
            }
        }
        let error = ready!(self.ended.as_mut().poll(cx));
        Poll::Ready(Err(lost(error)))
    }

    fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        match ready!(self.datagram.as_mut().poll(cx)) {
            Ok(bytes) => {
                self.datagram = read_datagram(self.connection.clone());
                Poll::Ready(bytes)
            }
            // That the connection ended is told by its lanes.
            Err(_) => {
                self.datagram = Box::pin(std::future::pending());
                Poll::Pending
            }
        }
    }

    fn send_datagram(&mut self, frame: Bytes) -> Result<(), Bytes> {
        if self.connection.max_datagram_size().is_none_or(|max| max < frame.len()) {
            return Err(frame);
        }
        if let Err(error) = self.connection.send_datagram(frame) {
            tracing::debug!(%error, "a signal was not sent");
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, lane: Lane, bytes: &mut Bytes) -> Poll<Result<(), Lost>> {
        let way = if self.lanes[lane.index()].is_some() { lane } else { Lane::Control };
        if way != Lane::Control {
            return self.poll_write(cx, way, bytes);
        }
        if self.control_owner.is_some_and(|owner| owner != lane) {
            self.turned_away = true;
            return Poll::Pending;
        }
        let before = bytes.len();
        let polled = self.poll_write(cx, way, bytes);
        let begun = bytes.len() < before || self.control_owner.is_some();
        self.control_owner = (polled.is_pending() && begun).then_some(lane);
        if self.control_owner.is_none() && std::mem::take(&mut self.turned_away) {
            cx.waker().wake_by_ref();
        }
        ready!(polled)?;
        if !self.opened {
            self.opened = true;
            self.open_others(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn close(&mut self, close: Close) {
        self.connection.close(VarInt::from_u32(close.number().into()), close.describe().as_bytes());
        self.idle = self.endpoint.take().map(|endpoint| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move { endpoint.wait_idle().await })
        });
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.idle.as_mut().map_or(Poll::Ready(()), |idle| idle.as_mut().poll(cx))
    }
}

/// A lane that breaks alone ends the session, unless the connection's own end says more.
fn lost_lane(connection: &Connection) -> Lost {
    connection.close_reason().map_or(Lost(Cause::Interrupted), lost)
}

fn lost(error: ConnectionError) -> Lost {
    tracing::debug!(%error, "QUIC connection ended");
    Lost(cause(&error))
}

/// What the end of a QUIC connection means.
pub(crate) fn cause(error: &ConnectionError) -> Cause {
    match error {
        ConnectionError::ApplicationClosed(closed) => {
            closed_by(closed.error_code.into_inner()).unwrap_or(Cause::Interrupted)
        }
        ConnectionError::ConnectionClosed(closed) => refusal(closed.error_code).unwrap_or(Cause::Interrupted),
        ConnectionError::TransportError(error) => refusal(error.code).unwrap_or(Cause::Malformed),
        ConnectionError::VersionMismatch => Cause::VersionRefused,
        ConnectionError::TimedOut => Cause::TimedOut,
        ConnectionError::LocallyClosed => Cause::LoggedOut,
        ConnectionError::Reset | ConnectionError::CidsExhausted => Cause::Interrupted,
    }
}

fn refusal(code: TransportErrorCode) -> Option<Cause> {
    if code == TransportErrorCode::crypto(ALERT_NO_APPLICATION_PROTOCOL) {
        Some(Cause::VersionRefused)
    } else if code == TransportErrorCode::CONNECTION_REFUSED {
        Some(Cause::ServerUnavailable)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use quinn::{ApplicationClose, ConnectionClose};

    use super::*;

    #[test]
    fn the_end_of_a_connection_becomes_a_cause() {
        let application = |code: u32| {
            ConnectionError::ApplicationClosed(ApplicationClose {
                error_code: VarInt::from_u32(code),
                reason: Bytes::new(),
            })
        };
        let transport = |error_code| {
            ConnectionError::ConnectionClosed(ConnectionClose {
                error_code,
                frame_type: None,
                reason: Bytes::new(),
            })
        };
        for (error, expected) in [
            (application(4000), Cause::Closed(Close::Draining)),
            (application(4250), Cause::Closed(Close::Unknown(4250))),
            (application(0), Cause::Interrupted),
            (transport(TransportErrorCode::crypto(120)), Cause::VersionRefused),
            (transport(TransportErrorCode::CONNECTION_REFUSED), Cause::ServerUnavailable),
            (transport(TransportErrorCode::INTERNAL_ERROR), Cause::Interrupted),
            (ConnectionError::TimedOut, Cause::TimedOut),
            (ConnectionError::Reset, Cause::Interrupted),
            (ConnectionError::VersionMismatch, Cause::VersionRefused),
        ] {
            assert_eq!(cause(&error), expected, "{error:?}");
        }
    }
}
