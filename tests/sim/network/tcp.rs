//! TCP, which knows no loss: what a cut holds up comes late, or the connection is reset.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use quail_server::http::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{End, Network, appointed::Messages};

/// The server's TCP listener.
pub(crate) struct Door {
    pub(super) network: Network,
    pub(super) listener: turmoil::net::TcpListener,
}

impl Listener for Door {
    type Stream = Tcp;

    async fn accept(&mut self) -> io::Result<(Tcp, SocketAddr)> {
        let (tcp, remote) = self.listener.accept().await?;
        let stream = self.network.take_number();
        Ok((Tcp::new(self.network.clone(), End::Server, stream, remote, tcp), remote))
    }
}

/// A TCP connection. What comes over a way that is cut arrives when the way is whole again, as if it had been sent
/// again and again.
pub(crate) struct Tcp {
    network: Network,
    end: End,
    stream: u64,
    remote: SocketAddr,
    /// As many breaks were before it. The server learns late whose a connection is.
    breaks: Option<u64>,
    received: Messages,
    sent: Messages,
    tcp: turmoil::net::TcpStream,
}

impl Tcp {
    pub(super) fn new(
        network: Network,
        end: End,
        stream: u64,
        remote: SocketAddr,
        tcp: turmoil::net::TcpStream,
    ) -> Self {
        let (received, sent) = Default::default();
        Self { network, end, stream, remote, breaks: None, received, sent, tcp }
    }

    fn check_unbroken(&mut self) -> io::Result<()> {
        let ways = self.network.ways();
        let Some(device) = ways.device(self.end, self.remote) else { return Ok(()) };
        let breaks = ways.breaks.get(&device).copied().unwrap_or_default();
        if *self.breaks.get_or_insert(breaks) < breaks {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_unbroken()?;
        let stopped = {
            let mut ways = self.network.ways();
            ways.waiting.insert(self.stream, cx.waker().clone());
            let cut = ways.device(self.end, self.remote).map(|device| ways.cut(device)).unwrap_or_default();
            if self.end == End::Server { cut.up } else { cut.down }
        };
        if stopped {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        let messages = self.received.feed(&buffer.filled()[before..]);
        self.network.pass(self.end, self.remote, self.end.receives(), messages, true);
        read
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_unbroken()?;
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &written {
            let mut ways = self.network.ways();
            let device = ways.device(self.end, self.remote);
            ways.note(self.end, device, *written);
            drop(ways);
            let messages = self.sent.feed(&bytes[..*written]);
            // The other end learns of a cut before it reads them.
            self.network.pass(self.end, self.remote, self.end.sends(), messages, false);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
