//! What is refused before anybody is a client: at the handshake and at the upgrade.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use quail_protocol::{
    Close,
    version::{ALPN, WEBSOCKET_SUBPROTOCOL},
};
use quail_tests::{
    Carrier, FAST, PATIENCE, Town,
    raw::{Raw, client_config, close_of, login, quic_offering, websocket_over},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite;

/// A request for a WebSocket, with more headers, each with its line end.
fn upgrade(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {WEBSOCKET_SUBPROTOCOL}\r\n{headers}\r\n"
    )
}

/// What the server says up to the end of its answer's head.
async fn head(tcp: &mut TcpStream) -> String {
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(within(tcp.read_u8()).await.unwrap());
    }
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn pages_of_other_origins_get_no_websocket() {
    let town = Town::with(|config| config.websocket.origins = vec!["https://chat.example.org".into()]).await;
    for (origin, allowed) in [
        ("https://chat.example.org", true),
        ("https://chat.example.org.evil.example", false),
        ("http://chat.example.org", false),
        ("null", false),
    ] {
        let tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
        match websocket_over(tcp, &[("origin", origin)]).await {
            Ok(_) => assert!(allowed, "{origin}"),
            Err(tungstenite::Error::Http(refused)) => {
                assert!(!allowed, "{origin}");
                assert_eq!(refused.status(), 403);
            }
            Err(other) => panic!("{origin}: {other}"),
        }
    }
}

#[tokio::test]
async fn compression_is_not_taken_up_and_unmasked_or_compressed_frames_end_a_websocket() {
    let town = Town::new().await;
    for (name, frame) in [
        ("unmasked", &[0x82, 0x05, 0x00, 0x04, 0x00, 0x01, 0x83][..]),
        ("compressed", &[0xc2, 0x85, 0, 0, 0, 0, 0x00, 0x04, 0x00, 0x01, 0x83]),
        ("of an unknown kind", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a ping of 126 bytes", &[&[0x89, 0xfe, 0x00, 0x7e], &[0; 130][..]].concat()),
    ] {
        let mut tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
        let offer = upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
        tcp.write_all(offer.as_bytes()).await.unwrap();
        let answer = head(&mut tcp).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
        tcp.write_all(frame).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut vec![])).await;
        // An end or a reset: either is the end.
        assert!(ended.is_ok(), "{name}");
    }
    let (_alice, _events) = town.connect(Carrier::WebSocket, "alice").await;
}

#[tokio::test]
async fn heads_without_end_and_bodies_that_never_come_hold_no_place() {
    let town = Town::with(|config| config.session.greeting_timeout = Duration::from_millis(500)).await;
    let before = town.population().await;
    let endless = format!("GET /ws HTTP/1.1\r\nHost: here\r\nX-Long: {}", "x".repeat(100_000));
    let many = format!("GET /ws HTTP/1.1\r\n{}", "a: b\r\n".repeat(10_000));
    for request in [
        endless.as_str(),
        &many,
        "POST /ws HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\nx",
        "GET /ws HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nx",
        "GET /ws HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
        // The server may have had enough before all of it was sent.
        _ = tcp.write_all(request.as_bytes()).await;
        _ = within(tcp.read_to_end(&mut vec![])).await;
    }
    town.settles(&before).await;
}

#[tokio::test]
async fn a_client_that_offers_no_protocol_is_refused_in_the_handshake() {
    let town = Town::new().await;
    let refused = quic_offering(&town, b"").await.expect_err("refused");
    let no_application_protocol = quinn::TransportErrorCode::crypto(120);
    let quinn::ConnectionError::ConnectionClosed(close) = refused else { panic!("{refused:?}") };
    assert_eq!(close.error_code, no_application_protocol);
}

#[tokio::test]
async fn what_is_sent_before_the_handshake_ends_is_not_taken_even_from_a_client_that_was_there() {
    let town = Town::new().await;
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    // One configuration for both: it remembers the tickets of the first.
    let config = client_config(town.certificate.clone(), ALPN);
    for _ in 0..3 {
        let connecting = endpoint.connect_with(config.clone(), town.quic, "localhost").unwrap();
        let Err(connecting) = connecting.into_0rtt() else { panic!("the server takes 0-RTT") };
        let connection = within(connecting).await.unwrap();
        let mut control = connection.open_bi().await.unwrap();
        control.0.write_all(&[0]).await.unwrap();
        let head = quail_protocol::frame::Head::Request {
            request_id: 1,
            opcode: <quail_protocol::session::Login as quail_protocol::Operation>::INFO.opcode,
        };
        control.0.write_all(&quail_protocol::frame::encode(&head, &login(FAST, "alice"))).await.unwrap();
        // The answer comes behind the tickets.
        let answer: Option<quinn::Chunk> = within(control.1.read_chunk(1000, true)).await.unwrap();
        assert!(answer.is_some());
        connection.close(quinn::VarInt::from_u32(Close::LoggedOut.number().into()), b"");
    }
}

#[tokio::test]
async fn a_close_that_is_no_code_of_ours_is_answered_like_any() {
    let town = Town::new().await;
    let before = town.population().await;
    let raw = Raw::connect(&town, Carrier::Quic).await;
    raw.connection().close(quinn::VarInt::MAX, &Bytes::from(vec![b'x'; 60_000]));
    assert!(matches!(raw.connection().closed().await, quinn::ConnectionError::LocallyClosed));
    town.settles(&before).await;
    let raw = Raw::connect(&town, Carrier::Quic).await;
    let (mut send, _receive) = raw.connection().open_bi().await.unwrap();
    send.write_all(&[0xff]).await.unwrap();
    assert_eq!(close_of(&within(raw.connection().closed()).await), Close::Malformed);
}
