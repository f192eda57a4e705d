//! The client against small fake servers over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake;
mod quic;
mod quic_server;
mod websocket;
