//! QUIC: lanes are bidirectional streams that the client opens and names with their first byte.

mod shallow;
mod socket;

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use bytesize::ByteSize;
use quail_protocol::{Close, Lane, limits::STREAMS_PER_LANE_MAX};
use quinn::{ConnectionError, Endpoint, EndpointConfig, IdleTimeout, RecvStream, SendStream, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};

pub(crate) use self::socket::is_no_ipv6;
pub use self::socket::make_room;
use super::{Carrier, Datagram, Lost, Received, Way};

/// The QUIC listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address. Default `[::]:4433`, or `0.0.0.0:4433` where there is no IPv6.
    pub listen: SocketAddr,
    /// Connections at a time, handshakes included; more are refused before any cryptography. Default 100000.
    pub connections_max: usize,
    /// A handshake that takes longer is given up. Default 5s.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Handshakes at a time; more are refused before any cryptography. Default 1000.
    pub handshakes_max: usize,
    /// Handshakes at a time above which a client must first prove its address (RFC 9000 §8.1.2). Default 200.
    pub retry_above: usize,
    /// Bytes a client may be ahead on one lane. Default 64KiB.
    pub stream_receive_window: ByteSize,
    /// How long packets of one connection may wait before its slowest link; 0s lets them fill its queue. Default 8ms.
    #[serde(with = "humantime_serde")]
    pub queue_target: Duration,
    /// Send many packets in one system call. Turn off where a network card cannot. Default true.
    pub segmentation_offload: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0u16; 8], 4433)),
            connections_max: 100_000,
            handshakes_max: 1000,
            retry_above: 200,
            handshake_timeout: Duration::from_secs(5),
            stream_receive_window: ByteSize::kib(64),
            queue_target: Duration::from_millis(8),
            segmentation_offload: true,
        }
    }
}

/// Streams a client may have open: every slot of every lane. Each costs memory when idle, so no more than these.
const STREAMS_MAX: u32 = (Lane::COUNT * STREAMS_PER_LANE_MAX) as u32;

/// Unsent and unacknowledged bytes of a connection until its client said what it grants on a stream; also for clients
/// that grant more than [`STREAM_WINDOW_HONOURED_MAX`]. A larger buffer would only queue in front of urgent frames.
const SEND_WINDOW_DEFAULT: u64 = 128 * 1024;

/// Up to this grant per lane the send buffer holds all lanes at once, so that no lane starves another.
const STREAM_WINDOW_HONOURED_MAX: u32 = 128 * 1024;

/// Room in the send buffer, and in what a client may be ahead, beside full lanes.
const WINDOW_HEADROOM: u64 = 64 * 1024;

/// What an endpoint must keep to be the same after a restart.
///
/// With it, packets of connections that ended with the server before are answered with a stateless reset (RFC 9000
/// §10.3), so that clients learn at once and not by silence; and address tokens given out before still hold.
pub struct Secrets {
    /// Makes stateless reset tokens.
    pub reset: [u8; 32],
    /// Encrypts address tokens.
    pub token: [u8; 32],
}

/// The quinn endpoint of a server, on a socket of the system.
pub fn endpoint(config: &Config, tls: Arc<rustls::ServerConfig>, secrets: &Secrets) -> io::Result<Endpoint> {
    let (endpoint, server) = settings(config, tls, secrets)?;
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
    Endpoint::new(endpoint, Some(server), socket::bind(config.listen)?, runtime)
}

/// What a server's endpoint is made with, whatever its socket. All of quinn's limits are set here.
pub fn settings(
    config: &Config,
    tls: Arc<rustls::ServerConfig>,
    secrets: &Secrets,
) -> io::Result<(EndpointConfig, quinn::ServerConfig)> {
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"quail address tokens").extract(&secrets.token);
    let mut server = quinn::ServerConfig::new(Arc::new(crypto), Arc::new(token_key));
    server
        .transport_config(Arc::new(transport(config)))
        .max_incoming(2048)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(8 * 1024 * 1024)
        .migration(true);
    Ok((answering(hmac::Key::new(hmac::HMAC_SHA256, &secrets.reset)), server))
}

/// What packets of connections that nobody here knows are answered with.
fn answering(reset_key: hmac::Key) -> EndpointConfig {
    let ids = connection_ids(&reset_key);
    let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
    // Packets for ids that are not recognised as ours are dropped and not reset, so these must outlive us, too.
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    // By default only fifty a second get an answer, and all clients of a server that was killed ask at about the same time.
    endpoint.min_reset_interval(Duration::ZERO);
    endpoint
}

fn connection_ids(reset_key: &hmac::Key) -> u64 {
    let ids = hmac::sign(reset_key, b"connection ids");
    ids.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn transport(config: &Config) -> quinn::TransportConfig {
    let stream_window = config.stream_receive_window.as_u64();
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u64(stream_window).unwrap_or(VarInt::MAX))
        .receive_window(window(config, 1))
        .send_window(SEND_WINDOW_DEFAULT)
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(64 * 1024))
        .datagram_send_buffer_size(64 * 1024)
        .crypto_buffer_size(16 * 1024)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(30_000))))
        .keep_alive_interval(None)
        .mtu_discovery_config(Some(one_probe()))
        .enable_segmentation_offload(config.segmentation_offload);
    if config.queue_target > Duration::ZERO {
        transport.congestion_controller_factory(shallow::factory(config.queue_target));
    }
    transport
}

/// Looks whether the path takes the packets of an Ethernet, and only if not, for what is half-way: each probe more is a packet
/// and an answer for every login.
fn one_probe() -> quinn::MtuDiscoveryConfig {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    // More than half of what lies between the smallest packets and those.
    discovery.minimum_change(127);
    discovery
}

/// What a connection may be ahead with so many full streams.
fn window(config: &Config, streams: u32) -> VarInt {
    let streams = config.stream_receive_window.as_u64().saturating_mul(streams.into());
    VarInt::from_u64(streams.saturating_add(WINDOW_HEADROOM)).unwrap_or(VarInt::MAX)
}

type Datagrams = Pin<Box<dyn Future<Output = Result<Bytes, ConnectionError>> + Send>>;
type Accepting = Pin<Box<dyn Future<Output = Result<(SendStream, RecvStream), ConnectionError>> + Send>>;

/// One stream of a lane.
struct Stream {
    way: Way,
    send: SendStream,
    receive: Option<RecvStream>,
}

/// One QUIC connection as a [`Carrier`].
pub struct Quic {
    connection: quinn::Connection,
    accepting: Accepting,
    datagrams: Datagrams,
    unnamed: Vec<(SendStream, RecvStream)>,
    streams: Vec<Stream>,
    /// Where the next look for bytes begins, so that no stream is always first.
    turn: usize,
    /// What the client may be ahead once it is logged in.
    open_window: VarInt,
}

impl Quic {
    /// Carries over an established connection.
    pub fn new(connection: quinn::Connection, config: &Config) -> Self {
        Self {
            open_window: window(config, STREAMS_MAX),
            accepting: accept(connection.clone()),
            datagrams: read_datagram(connection.clone()),
            connection,
            unnamed: Vec::new(),
            streams: Vec::new(),
            turn: 0,
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        while let Poll::Ready(accepted) = self.accepting.as_mut().poll(cx) {
            self.unnamed.push(accepted.map_err(lost)?);
            self.accepting = accept(self.connection.clone());
        }
        Ok(())
    }

    /// Reads the first byte of streams that have not said which lane they are.
    fn poll_names(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        let mut i = 0;
        while i < self.unnamed.len() {
            let mut first = [0];
            let polled = pin!(self.unnamed[i].1.read(&mut first)).poll(cx);
            match polled {
                Poll::Ready(Ok(Some(_))) => {
                    let (send, receive) = self.unnamed.swap_remove(i);
                    self.name(first[0], send, receive)?;
                }
                Poll::Ready(Ok(None) | Err(quinn::ReadError::Reset(_))) => {
                    drop(self.unnamed.swap_remove(i));
                }
                Poll::Ready(Err(error)) => return Err(read_lost(error)),
                Poll::Pending => i += 1,
            }
        }
        Ok(())
    }

    fn name(&mut self, tag: u8, send: SendStream, receive: RecvStream) -> Result<(), Lost> {
        let lane = Lane::from_tag(tag).ok_or(Lost::Violation(Close::Malformed))?;
        let slot = self.streams.iter().filter(|stream| stream.way.0 == lane).count();
        if slot == STREAMS_PER_LANE_MAX {
            return Err(Lost::Violation(Close::ProtocolViolation));
        }
        let urgency = Lane::COUNT as i32 - lane.index() as i32;
        // Fails only on a stream that is gone, which the next write will tell.
        _ = send.set_priority(urgency);
        if self.streams.is_empty() {
            // One for each lane is the rule, and a session costs memory for as long as it is there.
            self.streams.reserve_exact(Lane::COUNT);
        }
        self.streams.push(Stream { way: (lane, slot as u8), send, receive: Some(receive) });
        Ok(())
    }

    fn find(&mut self, way: Way) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.way == way)
    }
}

fn accept(connection: quinn::Connection) -> Accepting {
    Box::pin(async move { connection.accept_bi().await })
}

fn read_datagram(connection: quinn::Connection) -> Datagrams {
    Box::pin(async move { connection.read_datagram().await })
}

/// Bytes taken from a stream at once.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

impl Carrier for Quic {
    fn name(&self) -> &'static str {
        "quic"
    }

    fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Lost>> {
        self.poll_accept(cx)?;
        self.poll_names(cx)?;
        if let Poll::Ready(datagram) = self.datagrams.as_mut().poll(cx) {
            self.datagrams = read_datagram(self.connection.clone());
            return Poll::Ready(datagram.map(Received::Datagram).map_err(lost));
        }
        let count = self.streams.len();
        for i in 0..count {
            let at = (self.turn + i) % count;
            let stream = &mut self.streams[at];
            let Some(receive) = &mut stream.receive else { continue };
            let (lane, slot) = (stream.way.0, stream.way.1.into());
            let polled = pin!(receive.read_chunk(CHUNK_BYTES_MAX, true)).poll(cx);
            match polled {
                Poll::Ready(Ok(Some(chunk))) => {
                    self.turn = at + 1;
                    return Poll::Ready(Ok(Received::Lane(lane, slot, chunk.bytes)));
                }
                // The client will send no more on this lane and may still hear on it.
                Poll::Ready(Ok(None) | Err(quinn::ReadError::Reset(_))) => {
                    stream.receive = None;
                    return Poll::Ready(Ok(Received::Lane(lane, slot, Bytes::new())));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(read_lost(error))),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    fn is_open(&self, way: Way) -> bool {
        way == (Lane::Control, 0) || self.streams.iter().any(|stream| stream.way == way)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, way: Way, bytes: &mut Bytes) -> Poll<Result<(), Lost>> {
        let Some(Stream { send, .. }) = self.find(way) else { return Poll::Pending };
        while !bytes.is_empty() {
            // Whole chunks, not copies of slices: quinn keeps the `Bytes` until the client acknowledged them.
            let mut chunks = [bytes.clone()];
            let polled = pin!(send.write_chunks(&mut chunks)).poll(cx);
            match ready!(polled) {
                Ok(written) => bytes.advance(written.bytes),
                Err(quinn::WriteError::ConnectionLost(error)) => return Poll::Ready(Err(lost(error))),
                // A client that stops a lane cannot be told what belongs there.
                Err(_) => return Poll::Ready(Err(Lost::Violation(Close::ProtocolViolation))),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_datagram(&mut self, bytes: Bytes) -> Datagram {
        if self.connection.max_datagram_size().is_none_or(|max| max < bytes.len()) {
            return Datagram::Unsupported;
        }
        // A full buffer would discard its oldest datagram uncounted.
        if self.connection.datagram_send_buffer_space() < bytes.len() {
            return Datagram::NoRoom;
        }
        match self.connection.send_datagram(bytes) {
            Ok(()) => Datagram::Sent,
            Err(_) => Datagram::NoRoom,
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn set_streams(&mut self, window_bytes: u32, per_lane: u8) {
        // Who says so is logged in. A stranger fills one stream, not all.
        self.connection.set_receive_window(self.open_window);
        let lane_bytes = window_bytes.saturating_mul(per_lane.max(1).into());
        if (1..=STREAM_WINDOW_HONOURED_MAX).contains(&lane_bytes) {
            let lanes = u64::from(lane_bytes) * Lane::COUNT as u64;
            self.connection.set_send_window(lanes + WINDOW_HEADROOM);
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>, close: Close) -> Poll<()> {
        self.connection.close(VarInt::from_u32(close.number().into()), b"");
        Poll::Ready(())
    }
}

fn read_lost(error: quinn::ReadError) -> Lost {
    match error {
        quinn::ReadError::ConnectionLost(error) => lost(error),
        other => Lost::Broken(other.to_string()),
    }
}

fn lost(error: ConnectionError) -> Lost {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let number = u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX);
            Lost::Closed(Close::from_number(number))
        }
        other => Lost::Broken(other.to_string()),
    }
}

impl fmt::Debug for Quic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quic from {}", self.connection.remote_address())
    }
}

#[cfg(test)]
mod tests;
