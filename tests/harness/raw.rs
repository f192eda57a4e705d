//! Connections that send whatever bytes a test likes.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use quail_protocol::{
    Close, Code, Lane, Operation, Reject,
    bounded::Text,
    frame::{self, Decoder, Frame, Head, Outcome},
    id::{AppId, DeviceId, UserId},
    limits::FRAME_BYTES_MAX,
    session::{Login, Platform, Visit},
    version::{REVISION, WEBSOCKET_SUBPROTOCOL},
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{Carrier, Town, within};

/// A connection on which nothing was said.
pub enum Raw {
    /// Over QUIC, with a Control lane.
    Quic {
        /// Kept: an endpoint that is dropped closes its connections.
        endpoint: quinn::Endpoint,
        /// The connection.
        connection: Connection,
        /// The Control lane.
        control: (SendStream, RecvStream),
        /// What arrived on it.
        decoder: Decoder,
    },
    /// Over WebSocket.
    WebSocket {
        /// The socket.
        socket: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>,
        /// What arrived on any lane.
        decoder: Decoder,
    },
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A frame.
    Frame(Frame),
    /// The end.
    Close(Close),
}

impl Raw {
    /// Breaks the connection without logging out.
    pub async fn lose(self) {
        match self {
            Self::Quic { connection, endpoint, .. } => {
                connection.close(quinn::VarInt::from_u32(Close::Abandoned.number().into()), b"");
                endpoint.wait_idle().await;
            }
            // Ends the TCP connection without a close frame.
            Self::WebSocket { socket, .. } => drop(socket),
        }
    }

    /// Connects and opens the Control lane.
    pub async fn connect(town: &Town, carrier: Carrier) -> Self {
        let decoder = Decoder::new(FRAME_BYTES_MAX);
        match carrier {
            Carrier::Quic => {
                let (endpoint, connection) = quic(town).await;
                let mut control = connection.open_bi().await.expect("a stream");
                control.0.write_all(&[Lane::Control.tag()]).await.expect("the lane is named");
                Self::Quic { endpoint, connection, control, decoder }
            }
            Carrier::WebSocket => {
                let tcp = TcpStream::connect(town.websocket_address()).await.expect("the port is open");
                Self::over(websocket_over(tcp, &[]).await.expect("an upgrade"))
            }
        }
    }

    /// Speaks over a WebSocket that is there already.
    pub fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self::WebSocket { socket: Box::new(socket), decoder: Decoder::new(FRAME_BYTES_MAX) }
    }

    /// The QUIC connection.
    pub fn connection(&self) -> &Connection {
        let Self::Quic { connection, .. } = self else { panic!("not over QUIC") };
        connection
    }

    /// Connects and logs in.
    pub async fn log_in(town: &Town, carrier: Carrier, app: &str, user: &str) -> Self {
        let mut raw = Self::connect(town, carrier).await;
        raw.request(1, &login(app, user)).await;
        raw.reply(1).await.expect("logged in");
        raw
    }

    /// Sends bytes on the Control lane.
    pub async fn send(&mut self, bytes: &[u8]) {
        match self {
            // The server may have closed already, which the test is about to see.
            Self::Quic { control, .. } => _ = control.0.write_all(bytes).await,
            Self::WebSocket { socket, .. } => {
                let message = [&[Lane::Control.tag()], bytes].concat();
                _ = socket.send(Message::Binary(message.into())).await;
            }
        }
    }

    /// Sends a request.
    pub async fn request<O: Operation>(&mut self, request_id: u32, operation: &O) {
        let head = Head::Request { request_id, opcode: O::INFO.opcode };
        self.send(&frame::encode(&head, operation)).await;
    }

    /// The next thing the server says on the Control lane.
    pub async fn next(&mut self) -> Said {
        within(self.next_unbounded()).await
    }

    async fn next_unbounded(&mut self) -> Said {
        loop {
            match self {
                Self::Quic { connection, control, decoder, .. } => {
                    if let Some(frame) = decoder.next_frame().expect("the server sends frames") {
                        return Said::Frame(frame);
                    }
                    match control.1.read_chunk(usize::MAX, true).await {
                        Ok(Some(chunk)) => decoder.extend(&chunk.bytes),
                        _ => return Said::Close(close_of(&connection.closed().await)),
                    }
                }
                Self::WebSocket { socket, decoder } => {
                    if let Some(frame) = decoder.next_frame().expect("the server sends frames") {
                        return Said::Frame(frame);
                    }
                    match socket.next().await {
                        Some(Ok(Message::Binary(bytes))) => decoder.extend(&bytes[1..]),
                        Some(Ok(Message::Close(Some(close)))) => {
                            return Said::Close(Close::from_number(close.code.into()));
                        }
                        Some(Ok(_)) => {}
                        ended => panic!("ended without a close frame: {ended:?}"),
                    }
                }
            }
        }
    }

    /// The reply to a request, which must be the next thing said.
    pub async fn reply(&mut self, request_id: u32) -> Result<Bytes, Reject> {
        match self.next().await {
            Said::Frame(Frame { head: Head::Reply { request_id: id, outcome }, body })
                if id == request_id =>
            {
                match outcome {
                    Outcome::Ok => Ok(body),
                    Outcome::Reject(reject) => Err(reject),
                }
            }
            other => panic!("not the reply to {request_id}: {other:?}"),
        }
    }

    /// The code a request is refused with.
    pub async fn refusal(&mut self, request_id: u32) -> Code {
        self.reply(request_id).await.expect_err("a refusal").code
    }

    /// The next answer, which is a refusal: of which request, and with which code.
    pub async fn any_refusal(&mut self) -> (u32, Code) {
        match self.next().await {
            Said::Frame(Frame {
                head: Head::Reply { request_id, outcome: Outcome::Reject(reject) }, ..
            }) => (request_id, reject.code),
            other => panic!("not a refusal: {other:?}"),
        }
    }

    /// The code the connection ends with, whatever is said before.
    pub async fn closed(&mut self) -> Close {
        loop {
            if let Said::Close(close) = self.next().await {
                return close;
            }
        }
    }
}

/// A login of `user` with a good token.
pub fn login(app: &str, user: &str) -> Login {
    login_with(app, user, crate::token::Token::new(app, user).sign())
}

/// A visit to `app`.
pub fn visit(app: &str) -> Visit {
    Visit {
        revision: REVISION,
        app: AppId::new(app).expect("an app id"),
        client: Text::new("raw").expect("a client that fits"),
        stream_window_bytes: 0,
    }
}

/// A login of `user` with any token.
pub fn login_with(app: &str, user: &str, token: String) -> Login {
    Login {
        revision: REVISION,
        app: AppId::new(app).expect("an app id"),
        user: UserId::new(user).expect("a user id"),
        token: Text::new(token).expect("a token that fits"),
        name: None,
        avatar: None,
        device: DeviceId::new("raw").expect("a device id"),
        platform: Platform::Bot,
        client: Text::new("raw").expect("a client that fits"),
        stream_window_bytes: 0,
        streams_per_lane: 1,
        conversations: 0,
        resume: None,
    }
}

/// A QUIC connection without a lane.
pub async fn quic(town: &Town) -> (quinn::Endpoint, Connection) {
    quic_offering(town, quail_protocol::version::ALPN).await.expect("a connection")
}

/// A QUIC connection that offers any protocol.
pub async fn quic_offering(
    town: &Town,
    alpn: &[u8],
) -> Result<(quinn::Endpoint, Connection), ConnectionError> {
    quic_at(town.quic, town.certificate.clone(), alpn).await
}

/// A QUIC connection to any server with this certificate.
pub async fn quic_at(
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    alpn: &[u8],
) -> Result<(quinn::Endpoint, Connection), ConnectionError> {
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("an endpoint");
    let config = client_config(certificate, alpn);
    let connecting = endpoint.connect_with(config, address, "localhost").expect("a valid address");
    let connection = within(connecting).await?;
    Ok((endpoint, connection))
}

/// What a QUIC connection is made with that trusts this certificate.
pub fn client_config(certificate: CertificateDer<'static>, alpn: &[u8]) -> quinn::ClientConfig {
    let tls = tls_config(certificate, alpn);
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    quinn::ClientConfig::new(Arc::new(crypto))
}

/// TLS that trusts this certificate.
pub fn tls_config(certificate: CertificateDer<'static>, alpn: &[u8]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.enable_early_data = true;
    // None is offered without a name.
    tls.alpn_protocols = [alpn.to_vec()].into_iter().filter(|name| !name.is_empty()).collect();
    tls
}

/// A WebSocket over `tcp`, asked for with more headers.
pub async fn websocket_over(
    tcp: TcpStream,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, tungstenite::Error> {
    let mut request = "ws://localhost/ws".into_client_request().expect("a URL");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(WEBSOCKET_SUBPROTOCOL));
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).expect("a header"));
    }
    Ok(within(client_async(request, MaybeTlsStream::Plain(tcp))).await?.0)
}

/// TCP to the WebSocket port that holds little until it is read.
pub async fn narrow_tcp(town: &Town) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    socket.connect(town.websocket_address()).await.expect("the port is open")
}

/// The close code of a connection that ended.
pub fn close_of(error: &ConnectionError) -> Close {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            Close::from_number(u16::try_from(close.error_code.into_inner()).expect("a short code"))
        }
        other => panic!("not closed by the server: {other}"),
    }
}
