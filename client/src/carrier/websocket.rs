//! The WebSocket carrier: one binary message is a lane tag and whole frames.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use quail_protocol::{Close, Lane, limits::FRAME_BYTES_MAX, version::WEBSOCKET_SUBPROTOCOL};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, AlertDescription, pki_types::ServerName},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        ClientRequestBuilder, Error, Message,
        error::ProtocolError,
        http::{StatusCode, Uri},
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{Carrier, Lost, closed_by};
use crate::{error::ConnectError, state::Cause, trust::Trust};

/// A message holds one frame of the largest size, or several that were gathered into one write.
const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX + 16 * 1024;

/// Read and write buffers of one connection; a message of any size passes through them.
const BUFFER_BYTES: usize = 32 * 1024;

/// Both directions of a connection.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// How TCP connections are opened.
#[derive(Clone)]
pub(crate) struct Tcp(Arc<dyn Fn(String) -> Opening + Send + Sync>);

impl Tcp {
    /// By `connect`, which is handed `host:port`.
    pub(crate) fn new<F, R, S>(connect: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self(Arc::new(move |address| {
            let opening = connect(address);
            Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Duplex>) })
        }))
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self::new(|address: String| async move {
            let stream = TcpStream::connect(address).await?;
            // Frames are gathered before they are written; waiting for more would only delay them.
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}

pub(crate) struct WebSocket {
    socket: WebSocketStream<Box<dyn Duplex>>,
    /// Something was handed to the socket and not flushed yet.
    unflushed: bool,
    closing: Option<Close>,
}

impl WebSocket {
    /// Connects to `url`, which is `ws://host[:port]/path` or `wss://…`, and over the latter only to whom `trust` believes.
    pub(crate) async fn connect(url: &str, trust: &Trust, tcp: &Tcp) -> Result<Self, ConnectError> {
        let invalid = || ConnectError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|error| {
            tracing::debug!(%error, "not a URL");
            invalid()
        })?;
        let host = uri.host().ok_or_else(invalid)?;
        let (port, tls) = match uri.scheme_str() {
            Some("ws") => (80, None),
            Some("wss") => (443, Some(Tls::new(host, trust)?)),
            _ => return Err(invalid()),
        };
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(WEBSOCKET_SUBPROTOCOL);
        let failed = |error: Error| {
            tracing::debug!(%error, url, "no WebSocket");
            ConnectError::Failed(upgrade_cause(&error))
        };
        let mut stream = (tcp.0)(address).await.map_err(|error| failed(Error::Io(error)))?;
        if let Some(tls) = tls {
            stream = tls.over(stream).await?;
        }
        let upgraded = client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = upgraded.map_err(failed)?;
        Ok(Self { socket, unflushed: false, closing: None })
    }
}

/// How to agree on TLS with one server.
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// With `host`, as a URL has it.
    fn new(host: &str, trust: &Trust) -> Result<Self, ConnectError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|_| ConnectError::Address(host.to_owned()))?;
        let config = trust.websocket().map_err(ConnectError::Trust)?;
        Ok(Self { connector: Arc::new(config).into(), name })
    }

    async fn over(self, tcp: Box<dyn Duplex>) -> Result<Box<dyn Duplex>, ConnectError> {
        match self.connector.connect(self.name, tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                tracing::debug!(%error, "no TLS");
                Err(failed_handshake(&error))
            }
        }
    }
}

/// What a failed handshake means; the same as over QUIC.
fn failed_handshake(error: &io::Error) -> ConnectError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            ConnectError::Failed(Cause::VersionRefused)
        }
        // The server refused us, or went away.
        Some(rustls::Error::AlertReceived(_)) | None => ConnectError::Failed(Cause::ServerUnavailable),
        // Our own TLS refused the server's certificate, or what it said instead.
        Some(error) => ConnectError::Untrusted(error.to_string()),
    }
}

impl Carrier for WebSocket {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Lane, usize, Bytes), Lost>> {
        loop {
            let Some(message) = ready!(Pin::new(&mut self.socket).poll_next(cx)) else {
                return Poll::Ready(Err(Lost(Cause::Interrupted)));
            };
            match message.map_err(lost)? {
                Message::Binary(mut bytes) => {
                    let Some(lane) = bytes.first().copied().and_then(Lane::from_tag) else {
                        return Poll::Ready(Err(Lost(Cause::Malformed)));
                    };
                    bytes.advance(1);
                    return Poll::Ready(Ok((lane, 0, bytes)));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Text(_) => return Poll::Ready(Err(Lost(Cause::Malformed))),
                Message::Close(frame) => {
                    let cause = frame.and_then(|frame| closed_by(u16::from(frame.code).into()));
                    return Poll::Ready(Err(Lost(cause.unwrap_or(Cause::Interrupted))));
                }
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, lane: Lane, bytes: &mut Bytes) -> Poll<Result<(), Lost>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // One message at a time in the socket's buffer: a more urgent lane waits for nothing that was not yet handed
        // to the kernel.
        ready!(self.poll_flush(cx))?;
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(lost)?;
        let mut message = BytesMut::with_capacity(1 + bytes.len());
        message.extend_from_slice(&[lane.tag()]);
        message.extend_from_slice(bytes);
        Pin::new(&mut self.socket).start_send(Message::Binary(message.freeze())).map_err(lost)?;
        bytes.clear();
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(lost)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn close(&mut self, close: Close) {
        self.closing = Some(close);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(close) = self.closing {
            if ready!(Pin::new(&mut self.socket).poll_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            self.closing = None;
            let frame = CloseFrame { code: close.number().into(), reason: close.to_string().into() };
            if Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))).is_err() {
                return Poll::Ready(());
            }
        }
        if ready!(Pin::new(&mut self.socket).poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        // The close is complete when the server has answered it and hung up; what it still sent is not wanted.
        while let Some(Ok(_)) = ready!(Pin::new(&mut self.socket).poll_next(cx)) {}
        Poll::Ready(())
    }
}

fn lost(error: Error) -> Lost {
    tracing::debug!(%error, "WebSocket ended");
    Lost(cause(&error))
}

/// What an error on an established WebSocket means.
fn cause(error: &Error) -> Cause {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Cause::Interrupted,
        Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_) => Cause::Malformed,
        _ => Cause::Interrupted,
    }
}

/// What a failed upgrade means.
fn upgrade_cause(error: &Error) -> Cause {
    match error {
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => Cause::VersionRefused,
        Error::Http(response) if response.status() == StatusCode::BAD_REQUEST => Cause::VersionRefused,
        // A server that goes away or is full hangs up.
        Error::Http(_) | Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            Cause::ServerUnavailable
        }
        other => cause(other),
    }
}
