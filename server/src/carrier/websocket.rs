//! WebSocket: one binary message is a lane's byte and whole frames. Every lane is always open; one writer serves them
//! in priority order on the one TCP connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, ready},
};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use bytes::{BufMut, Bytes, BytesMut};
use bytesize::ByteSize;
use futures_util::{Sink, Stream};
use ipnet::IpNet;
use quail_protocol::{Close, Lane, limits::FRAME_BYTES_MAX, version::WEBSOCKET_SUBPROTOCOL};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Carrier, Lost, Received, Way};

/// The WebSocket listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// TCP address. Default `[::]:8080`, or `0.0.0.0:8080` where there is no IPv6.
    pub listen: SocketAddr,
    /// Speak TLS, with the certificate of QUIC. Default false: a proxy does, or nobody.
    pub tls: bool,
    /// Connections at a time; more are dropped before they are read. Default 20000.
    pub connections_max: usize,
    /// Web origins (`https://chat.example.org`) whose pages may connect. Clients that are no browsers send none and
    /// are always let in. Default none.
    pub origins: Vec<String>,
    /// Addresses and networks of proxies. What one of them writes into `X-Forwarded-For` is believed. Default none.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes of one message of a client, in either direction's buffers. Default 320KiB.
    pub message_bytes_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0u16; 8], 8080)),
            tls: false,
            connections_max: 20_000,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            message_bytes_max: ByteSize::kib(320),
        }
    }
}

/// Reads addresses and networks.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: &String| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let read = text.parse().or_else(|_| address());
        read.map_err(|_| de::Error::custom("expected addresses and networks such as 192.0.2.1 or 10.0.0.0/8"))
    };
    Vec::<String>::deserialize(deserializer)?.iter().map(network).collect()
}

/// Sets the bounds of an upgrade: the library's own would allow 64 MiB messages and 128 KiB of buffer per connection.
pub fn bounded(upgrade: WebSocketUpgrade, config: &Config) -> WebSocketUpgrade {
    let message = usize::try_from(config.message_bytes_max.as_u64()).unwrap_or(usize::MAX);
    upgrade
        .protocols([WEBSOCKET_SUBPROTOCOL])
        .read_buffer_size(4096)
        .write_buffer_size(4096)
        .max_write_buffer_size(2 * FRAME_BYTES_MAX)
        .max_message_size(message)
        .max_frame_size(message)
}

/// True if a page of `origin` may connect. `development` lets pages of this machine in.
pub fn allows(config: &Config, development: bool, origin: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    let local = || {
        let host = origin.strip_prefix("http://").unwrap_or_default();
        ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
    };
    config.origins.iter().any(|allowed| allowed == origin) || (development && local())
}

/// Pings, pongs and empty messages in a row: many more than a proxy sends before the client has to ping in a frame.
const IDLE_MESSAGES_MAX: u32 = 100;

/// One WebSocket as a [`Carrier`].
pub struct Ws {
    socket: WebSocket,
    remote: SocketAddr,
    close_sent: bool,
    /// The lane of a message whose end is still to be told.
    ends: Option<Lane>,
    /// The client's close, which is still to be answered.
    left: Option<Close>,
    /// Messages without a frame since the last with one.
    idle_messages: u32,
}

impl Ws {
    /// Carries over an upgraded connection.
    pub fn new(socket: WebSocket, remote: SocketAddr) -> Self {
        Self { socket, remote, close_sent: false, ends: None, left: None, idle_messages: 0 }
    }

    /// Counts a message that tells nothing, each of which costs as much as one that does.
    fn idle(&mut self) -> Result<(), Lost> {
        self.idle_messages += 1;
        if self.idle_messages > IDLE_MESSAGES_MAX {
            Err(Lost::Violation(Close::ProtocolViolation))
        } else {
            Ok(())
        }
    }

    fn socket(&mut self) -> std::pin::Pin<&mut WebSocket> {
        std::pin::Pin::new(&mut self.socket)
    }
}

impl Carrier for Ws {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Lost>> {
        if let Some(lane) = self.ends.take() {
            return Poll::Ready(Ok(Received::Lane(lane, 0, Bytes::new())));
        }
        loop {
            if let Some(close) = self.left {
                // The library has queued the answer; whether it left or the socket broke, it is over.
                _ = ready!(self.socket().poll_flush(cx));
                return Poll::Ready(Err(Lost::Closed(close)));
            }
            let message = match ready!(self.socket().poll_next(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => return Poll::Ready(Err(Lost::Broken("end of stream".into()))),
            };
            match message {
                Message::Binary(bytes) => {
                    let lane = bytes.first().and_then(|tag| Lane::from_tag(*tag));
                    let lane = lane.ok_or(Lost::Violation(Close::Malformed))?;
                    if bytes.len() == 1 {
                        self.idle()?;
                        continue;
                    }
                    self.idle_messages = 0;
                    self.ends = Some(lane);
                    return Poll::Ready(Ok(Received::Lane(lane, 0, bytes.slice(1..))));
                }
                Message::Text(_) => return Poll::Ready(Err(Lost::Violation(Close::Malformed))),
                Message::Close(frame) => {
                    let close = frame.map_or(Close::LoggedOut, |frame| Close::from_number(frame.code));
                    self.left = Some(close);
                }
                // The library answers pings by itself.
                Message::Ping(_) | Message::Pong(_) => self.idle()?,
            }
        }
    }

    fn is_open(&self, (_, slot): Way) -> bool {
        slot == 0
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        (lane, _): Way,
        bytes: &mut Bytes,
    ) -> Poll<Result<(), Lost>> {
        ready!(self.socket().poll_ready(cx)).map_err(|error| broken(&error))?;
        // One message has to leave before the next is taken, so that an urgent lane waits for one batch at most.
        ready!(self.socket().poll_flush(cx)).map_err(|error| broken(&error))?;
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(lane.tag());
        message.put_slice(&std::mem::take(bytes));
        let sent = self.socket().start_send(Message::Binary(message.freeze()));
        Poll::Ready(sent.map_err(|error| broken(&error)))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.socket().poll_flush(cx).map_err(|error| broken(&error))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, close: Close) -> Poll<()> {
        if !self.close_sent {
            if ready!(self.socket().poll_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            let frame = CloseFrame { code: close.number(), reason: "".into() };
            self.close_sent = true;
            if self.socket().start_send(Message::Close(Some(frame))).is_err() {
                return Poll::Ready(());
            }
        }
        if ready!(self.socket().poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        // A socket that goes with bytes unread takes the close frame with it. The client's answer is the last it sends.
        while let Some(Ok(_)) = ready!(self.socket().poll_next(cx)) {}
        Poll::Ready(())
    }
}

fn broken(error: &axum::Error) -> Lost {
    let text = error.to_string();
    // The library says this of a message or frame above the bounds set on the upgrade.
    if text.contains("too long") || text.contains("too big") {
        return Lost::Violation(Close::FrameTooLarge);
    }
    Lost::Broken(text)
}

impl fmt::Debug for Ws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ws from {}", self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_and_in_development_this_machine_may_connect() {
        let config = Config { origins: vec!["https://chat.example.org".into()], ..Config::default() };
        for (development, origin, expected) in [
            (false, None, true),
            (false, Some("https://chat.example.org"), true),
            (false, Some("https://chat.example.org.evil.example"), false),
            (false, Some("http://localhost:3000"), false),
            (true, Some("http://localhost:3000"), true),
            (true, Some("http://[::1]"), true),
            (true, Some("http://localhost.evil.example"), false),
            (true, Some("null"), false),
        ] {
            assert_eq!(allows(&config, development, origin), expected, "{origin:?}");
        }
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        let read = |list: &str| {
            let config: Result<Config, _> = toml::from_str(&format!("trusted_proxies = {list}"));
            config.map(|config| config.trusted_proxies.iter().map(IpNet::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            read(r#"["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]"#).unwrap(),
            ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]
        );
        for list in [r#"["proxy.example"]"#, r#"["10.0.0.0/33"]"#, "[7]"] {
            assert!(read(list).is_err(), "{list}");
        }
    }
}
