//! From an address to an established carrier.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, ConnectionError, Endpoint, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
};
use tokio::time::timeout;

use crate::{
    carrier::quic::{Quic, cause},
    error::ConnectError,
    state::Cause,
    trust::Trust,
};

/// Bytes the client grants the server on each lane. Large windows would let a flood on one lane delay the others.
pub(crate) const LANE_WINDOW_BYTES: u32 = 64 * 1024;

/// All lanes, and one more for retransmissions in flight.
const CONNECTION_WINDOW_BYTES: u32 = 6 * LANE_WINDOW_BYTES;

const SEND_WINDOW_BYTES: u64 = 512 * 1024;

const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// Silence after which QUIC gives the connection up, in milliseconds.
const IDLE_TIMEOUT_MS: u32 = 30_000;

/// Connects over a shared socket, if there is one, and with so many streams of each lane, to the first address of `host:port` that answers, each within `per_address`.
pub(crate) async fn quic(
    address: &str,
    trust: &Trust,
    (shared, streams_per_lane): (Option<Endpoint>, u8),
    per_address: Duration,
) -> Result<Quic, ConnectError> {
    let host = host(address).ok_or_else(|| ConnectError::Address(address.to_owned()))?;
    let tls = trust.quic().map_err(ConnectError::Trust)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport(streams_per_lane)));
    let targets = tokio::net::lookup_host(address)
        .await
        .map_err(|source| ConnectError::Resolve { address: address.to_owned(), source })?;
    let mut failed = ConnectError::Failed(Cause::ServerUnavailable);
    for target in targets {
        match timeout(per_address, one(target, host, &config, (shared.clone(), streams_per_lane))).await {
            Ok(Ok(carrier)) => return Ok(carrier),
            Ok(Err(error)) => {
                tracing::debug!(%error, %target, "no connection");
                // An address where somebody answered says more than one where nobody did.
                if matches!(failed, ConnectError::Failed(Cause::ServerUnavailable)) {
                    failed = error;
                }
            }
            Err(_) => tracing::debug!(%target, "no answer"),
        }
    }
    Err(failed)
}

async fn one(
    target: SocketAddr,
    host: &str,
    config: &ClientConfig,
    (shared, streams_per_lane): (Option<Endpoint>, u8),
) -> Result<Quic, ConnectError> {
    let (endpoint, own) = match shared {
        Some(endpoint) => (endpoint, None),
        None => {
            let endpoint = bind(target).map_err(ConnectError::Socket)?;
            (endpoint.clone(), Some(endpoint))
        }
    };
    let connecting = endpoint.connect_with(config.clone(), target, host).map_err(|error| match error {
        quinn::ConnectError::InvalidServerName(name) => ConnectError::Address(name),
        error => {
            tracing::debug!(%error, %target, "cannot start a connection");
            ConnectError::Failed(Cause::ServerUnavailable)
        }
    })?;
    let connection = connecting.await.map_err(|error| failed_handshake(&error))?;
    Quic::new(connection, own, streams_per_lane.into()).map_err(|lost| ConnectError::Failed(lost.0))
}

/// A socket of the family that reaches `target`. An IPv6 address is out of reach on a host without IPv6; `dial`
/// then goes on with the next one.
fn bind(target: SocketAddr) -> std::io::Result<Endpoint> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    Endpoint::client(any)
}

fn failed_handshake(error: &ConnectionError) -> ConnectError {
    match (cause(error), error) {
        (Cause::VersionRefused, _) => ConnectError::Failed(Cause::VersionRefused),
        // Our own TLS refused the server's certificate.
        (_, ConnectionError::TransportError(error)) if (0x100..0x200).contains(&u64::from(error.code)) => {
            ConnectError::Untrusted(error.reason.clone())
        }
        (Cause::TimedOut | Cause::Interrupted, _) => ConnectError::Failed(Cause::ServerUnavailable),
        (cause, _) => ConnectError::Failed(cause),
    }
}

/// Every limit by hand: the defaults allow megabytes of unread data per stream.
fn transport(streams_per_lane: u8) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(LANE_WINDOW_BYTES / u32::from(streams_per_lane.max(1))))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .mtu_discovery_config(Some(one_probe()))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(None);
    transport
}

/// Looks whether the path takes the packets of an Ethernet, and only if not, for what is half-way.
fn one_probe() -> MtuDiscoveryConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.minimum_change(127);
    discovery
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let inner = host.strip_prefix('[').map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    let plain = host == inner && inner.contains(':');
    (!inner.is_empty() && !plain).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (address, expected) in [
            ("127.0.0.1:4433", Some("127.0.0.1")),
            ("chat.example.org:443", Some("chat.example.org")),
            ("[::1]:4433", Some("::1")),
            ("::1:4433", None),
            ("[::1:4433", None),
            ("chat.example.org", None),
            (":4433", None),
            ("host:99999", None),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }
}
