//! TCP over a line that may be cut: a connection breaks with it, and none is made until it is whole again.
//!
//! The server's side breaks at once, too. So what is cut is the connection and not only the way.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::{BoxFuture, Fuse, FutureExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};

use crate::weather::Line;

/// A connection over a line.
pub(crate) struct Tunnel {
    tcp: TcpStream,
    /// Ready once when the line is cut.
    cut: Fuse<BoxFuture<'static, ()>>,
    broken: bool,
}

impl Tunnel {
    /// Makes one from an address of this machine.
    pub(crate) async fn open(from: Ipv4Addr, line: Line, to: String) -> io::Result<Self> {
        line.clone().until(false).await;
        let to: SocketAddr = to.parse().map_err(io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let tcp = socket.connect(to).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, cut: line.until(true).boxed().fuse(), broken: false })
    }

    /// Fails from the moment at which the line is cut.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.broken |= self.cut.poll_unpin(cx).is_ready();
        if self.broken { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_breaks_with_its_line_and_another_is_made_when_it_is_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (line, to) = (Line::default(), listener.local_addr().unwrap().to_string());
        let from = Ipv4Addr::new(127, 0, 0, 2);
        let mut tunnel = Tunnel::open(from, line.clone(), to.clone()).await.unwrap();
        let (mut other, address) = listener.accept().await.unwrap();
        assert_eq!(address.ip(), from);
        other.write_all(b"a").await.unwrap();
        assert_eq!(tunnel.read_u8().await.unwrap(), b'a');

        line.cut(true);
        assert_eq!(tunnel.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(tunnel.write_all(b"b").await.is_err());
        let again = tokio::spawn(Tunnel::open(from, line.clone(), to));
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        line.cut(false);
        again.await.unwrap().unwrap();
    }
}
