//! HTTP: the door to the WebSocket carrier, and health and metrics on a listener of their own.

pub mod admin;
mod forwarded;
pub mod public;

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::carrier::quic::is_no_ipv6;

/// Where connections come from.
pub trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and who made it. Cancel safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (tcp, remote) = Self::accept(self).await?;
        // Frames are gathered before they are written; waiting for more would only delay them.
        _ = tcp.set_nodelay(true);
        keep_unsent_short(&tcp);
        Ok((tcp, remote))
    }
}

/// Bytes that the kernel keeps unsent for a connection at most. What is written there can be overtaken by nothing.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// Lets the kernel take no more than it can soon send; a refusal costs urgent frames time and nothing else.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn keep_unsent_short(tcp: &TcpStream) {
    _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn keep_unsent_short(_: &TcpStream) {}

/// Binds a TCP listener; the unspecified IPv6 address gives way to IPv4 where there is no IPv6.
pub async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if is_no_ipv6(&error) && listen.ip().is_unspecified() => {
            TcpListener::bind(SocketAddr::from(([0; 4], listen.port()))).await
        }
        bound => bound,
    }
}

/// Serves `routes` until `draining`.
pub async fn serve(listener: TcpListener, routes: axum::Router, draining: watch::Receiver<bool>) {
    let served = axum::serve(listener, routes).with_graceful_shutdown(until(draining)).await;
    report(served);
}

async fn until(mut draining: watch::Receiver<bool>) {
    // An error means that the server is gone, which is the same.
    _ = draining.wait_for(|draining| *draining).await;
}

fn report(served: io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "an HTTP listener failed");
    }
}
