//! Behaviour over WebSocket.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quail_client::{
    Builder, CallError, CarrierKind, Cause, Client, ConnectError, Priority, Reconnect, State, Trust,
    protocol::{Close, Lane, frame::Decoder, limits::FRAME_BYTES_MAX, session::Ping, version},
};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderValue,
        protocol::CloseFrame,
    },
};

use crate::{
    fake::{Act, CLOSE, Fake, Seen, text_of},
    quic_server,
};

struct Server {
    url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// The status with which the client closed.
    closed: oneshot::Receiver<u16>,
}

/// Serves one connection; names the subprotocol `subprotocol` in its answer.
async fn start(subprotocol: Option<&'static str>) -> Server {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}{}", listener.local_addr().unwrap(), version::WEBSOCKET_PATH);
    let (fake, seen) = Fake::new();
    let (closed_sender, closed) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Some(status) = serve(stream, subprotocol, &fake).await {
            closed_sender.send(status).ok();
        }
    });
    Server { url, seen, closed }
}

/// Serves connections over TLS that offer `protocol`, at a port of `localhost`.
async fn start_tls(protocol: &[u8]) -> (u16, CertificateDer<'static>) {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tls, certificate) = quic_server::tls(protocol);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (fake, _seen) = Fake::new();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, Some(version::WEBSOCKET_SUBPROTOCOL), &fake).await;
            }
        }
    });
    (port, certificate)
}

async fn serve<S>(stream: S, subprotocol: Option<&'static str>, fake: &Fake) -> Option<u16>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let offered = request.headers().get("sec-websocket-protocol").unwrap();
        assert_eq!(offered, version::WEBSOCKET_SUBPROTOCOL);
        assert_eq!(request.uri().path(), version::WEBSOCKET_PATH);
        if let Some(subprotocol) = subprotocol {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(subprotocol));
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, answer).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(bytes) => {
                for message in answers(bytes, fake) {
                    socket.send(message).await.ok()?;
                }
            }
            Message::Close(frame) => return frame.map(|frame| frame.code.into()),
            other => panic!("unexpected {other:?}"),
        }
    }
    None
}

fn answers(mut bytes: Bytes, fake: &Fake) -> Vec<Message> {
    let lane = Lane::from_tag(bytes.get_u8()).unwrap();
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.extend(&bytes);
    let mut messages = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        for act in fake.serve(lane, frame) {
            messages.push(match act {
                Act::Write(bytes) => {
                    let mut message = BytesMut::from(&[lane.tag()][..]);
                    message.extend_from_slice(&bytes);
                    Message::Binary(message.freeze())
                }
                Act::Close(close) => {
                    Message::Close(Some(CloseFrame { code: close.number().into(), reason: "".into() }))
                }
            });
        }
    }
    assert!(decoder.is_between_frames(), "a message holds whole frames");
    messages
}

fn alice(server: &Server) -> Builder {
    let carrier = CarrierKind::WebSocket { url: server.url.clone() };
    Client::builder("unused:1").app("demo").user("alice").token("t").carrier(carrier)
}

#[tokio::test]
async fn a_session_logs_in_calls_receives_and_logs_out() {
    let mut server = start(Some(version::WEBSOCKET_SUBPROTOCOL)).await;
    let (client, mut events) = alice(&server).connect().await.unwrap();
    client.call(Ping {}).await.unwrap();
    let bob = client.peer("bob").unwrap();
    bob.message("hi").priority(Priority::Lowest).send().await.unwrap();
    assert_eq!(text_of(events.recv().await), "hi");
    client.close().await;
    assert_eq!(client.states().current(), State::Disconnected { cause: Cause::LoggedOut });
    for (request_id, (lane, name)) in (1..).zip([
        (Lane::Control, "session.login"),
        (Lane::Control, "session.ping"),
        (Lane::Lowest, "message.send"),
        (Lane::Control, "session.logout"),
    ]) {
        assert_eq!(server.seen.recv().await, Some(Seen { lane, request_id, name }));
    }
    assert_eq!(server.closed.await, Ok(Close::LoggedOut.number()));
}

#[tokio::test]
async fn the_servers_status_reaches_calls_and_states() {
    let server = start(Some(version::WEBSOCKET_SUBPROTOCOL)).await;
    let (client, mut events) = alice(&server).reconnect(Reconnect::off()).connect().await.unwrap();
    let cause = Cause::Closed(Close::Draining);
    let unsent = client.peer("bob").unwrap().send(CLOSE).await.unwrap_err();
    assert_eq!(unsent.error, CallError::Disconnected(cause));
    assert_eq!(events.recv().await, None);
    assert_eq!(client.states().current(), State::Disconnected { cause });
}

#[tokio::test]
async fn a_slow_app_gets_every_event_in_order() {
    let server = start(Some(version::WEBSOCKET_SUBPROTOCOL)).await;
    let (client, mut events) = alice(&server).event_capacity(1).connect().await.unwrap();
    let bob = client.peer("bob").unwrap();
    let body = "x".repeat(8000);
    let sending = tokio::spawn(async move {
        let sends = (0..200).map(|i| bob.send(format!("{i} {body}")));
        futures_util::future::try_join_all(sends).await
    });
    for i in 0..200 {
        assert!(text_of(events.recv().await).starts_with(&format!("{i} ")));
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_of_another_protocol_refuses_the_version() {
    for subprotocol in [None, Some("quail.9")] {
        let server = start(subprotocol).await;
        let error = alice(&server).connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Failed(Cause::VersionRefused)), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_means_unavailable() {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    drop(listener);
    let carrier = CarrierKind::WebSocket { url };
    let builder = Client::builder("unused:1").app("demo").user("alice").token("t").carrier(carrier);
    let error = builder.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed(Cause::ServerUnavailable)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hangs_up_before_the_upgrade_is_unavailable() {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // All of the request is read, or the system would reset the connection.
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
    });
    let carrier = CarrierKind::WebSocket { url };
    let builder = Client::builder("unused:1").app("demo").user("alice").token("t").carrier(carrier);
    let error = builder.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed(Cause::ServerUnavailable)), "{error:?}");
}

#[tokio::test]
async fn the_app_can_open_the_tcp_connection_itself() {
    let server = start(Some(version::WEBSOCKET_SUBPROTOCOL)).await;
    let behind = server.url.trim_start_matches("ws://").trim_end_matches(version::WEBSOCKET_PATH).to_owned();
    let (asked, mut asked_for) = mpsc::unbounded_channel();
    let carrier = CarrierKind::WebSocket { url: "ws://chat.invalid:81/ws".into() };
    let builder = alice(&server).carrier(carrier).tcp_with(move |address| {
        asked.send(address).unwrap();
        TcpStream::connect(behind.clone())
    });
    let (client, _events) = builder.connect().await.unwrap();
    client.call(Ping {}).await.unwrap();
    assert_eq!(asked_for.recv().await.as_deref(), Some("chat.invalid:81"));
    client.close().await;
}

async fn connect_to(url: String, trust: Trust) -> Result<Client, ConnectError> {
    let builder = Client::builder("unused:1").app("demo").user("alice").token("t").trust(trust);
    let connected = builder.carrier(CarrierKind::WebSocket { url }).connect().await;
    connected.map(|(client, _events)| client)
}

#[tokio::test]
async fn over_tls_only_a_server_that_is_trusted_is_spoken_to() {
    let (port, certificate) = start_tls(b"http/1.1").await;
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &certificate);
    let pinned = Trust::Fingerprint(sha256.as_ref().try_into().unwrap());
    let roots = Trust::Roots(vec![certificate]);
    for (host, trust, refused) in [
        ("localhost", roots.clone(), None),
        ("localhost", pinned.clone(), None),
        ("127.0.0.1", pinned, None),
        ("127.0.0.1", roots, Some("certificate not valid for name")),
        ("localhost", Trust::Fingerprint([7; 32]), Some("invalid peer certificate")),
        ("localhost", Trust::WebRoots, Some("invalid peer certificate")),
    ] {
        let case = format!("{host} by {trust:?}");
        let connected = connect_to(format!("wss://{host}:{port}{}", version::WEBSOCKET_PATH), trust).await;
        match (connected, refused) {
            (Ok(client), None) => {
                client.call(Ping {}).await.unwrap();
                client.close().await;
            }
            (Err(ConnectError::Untrusted(why)), Some(refused)) => {
                assert!(why.contains(refused), "{case}: {why}");
            }
            (other, _) => panic!("{case}: {:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_something_else_than_http_over_tls_refuses_the_version() {
    let (port, _) = start_tls(b"h2").await;
    let error = connect_to(format!("wss://localhost:{port}/ws"), Trust::WebRoots).await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed(Cause::VersionRefused)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_answers_in_plain_text_or_hangs_up_is_not_spoken_to_over_tls() {
    let refused = async |answer: &'static [u8]| {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("wss://{}/ws", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // All of the greeting is read, or the system would reset the connection.
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(answer).await.unwrap();
        });
        connect_to(url, Trust::Fingerprint([7; 32])).await.unwrap_err()
    };
    let plain = refused(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(matches!(plain, ConnectError::Untrusted(_)), "{plain:?}");
    let silent = refused(b"").await;
    assert!(matches!(silent, ConnectError::Failed(Cause::ServerUnavailable)), "{silent:?}");
}
