//! What transports lanes: bytes in, bytes out. A carrier knows no domain, and a session knows no carrier but this
//! trait.

pub mod quic;
pub mod websocket;

use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::Bytes;
use quail_protocol::{Close, Lane};

/// Why a carrier carries no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The client closed with this code.
    Closed(Close),
    /// The client sent what the carrier cannot take; the connection is to be closed with this code.
    Violation(Close),
    /// The network or the client went away.
    Broken(String),
}

/// What a carrier received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes of a lane: which, which of its streams, the bytes in order. No bytes mark a place where no frame may be
    /// half-told: the end of a stream, the end of a message.
    Lane(Lane, usize, Bytes),
    /// A datagram.
    Datagram(Bytes),
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// It is on its way, as far as that can be said.
    Sent,
    /// There is no room for it now.
    NoRoom,
    /// The carrier or the client has no datagrams, or none of that size.
    Unsupported,
}

/// A lane, and which of its streams.
pub type Way = (Lane, u8);

/// One established connection. Polled by one task only.
pub trait Carrier: Send + 'static {
    /// The name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Where the client is.
    fn remote_address(&self) -> SocketAddr;

    /// The next that arrived.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Lost>>;

    /// True if frames may be sent on a stream of `lane`. Control's first always may; of lanes that are no streams there is
    /// only the first.
    fn is_open(&self, way: Way) -> bool;

    /// Takes from the front of `bytes` what fits on a lane's stream that is open. Ready when all is taken; pending if the
    /// stream is full, which says nothing about the others.
    fn poll_send(&mut self, cx: &mut Context<'_>, way: Way, bytes: &mut Bytes) -> Poll<Result<(), Lost>>;

    /// Sends `bytes` by themselves, to arrive or not.
    fn send_datagram(&mut self, _bytes: Bytes) -> Datagram {
        Datagram::Unsupported
    }

    /// Moves what was taken towards the network.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// How many bytes the client grants on a stream, and how many streams it opens for a lane, once it said so.
    fn set_streams(&mut self, _window_bytes: u32, _per_lane: u8) {}

    /// Ends the connection; ready when the client has been told as well as it can be.
    fn poll_close(&mut self, cx: &mut Context<'_>, close: Close) -> Poll<()>;
}
