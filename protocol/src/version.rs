//! Names by which the two ends find out that they speak the same wire.

/// ALPN of the native QUIC carrier. A server that does not know it refuses the TLS handshake (alert 120).
pub const ALPN: &[u8] = b"quail/1";

/// WebSocket subprotocol (`Sec-WebSocket-Protocol`). A server that does not know it refuses the upgrade.
pub const WEBSOCKET_SUBPROTOCOL: &str = "quail.1";

/// Path of the WebSocket endpoint.
pub const WEBSOCKET_PATH: &str = "/ws";

/// Revision of the operation set inside wire generation 1, sent in `session.login`.
///
/// A server serves a client of an older revision; a client newer than the server is told the server's revision in the
/// login reply and must not use what came later.
pub const REVISION: u16 = 1;
