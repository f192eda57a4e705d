//! Strangers who do not keep the rules: what each is told, and that it costs nobody else anything.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use quail_client::CallError;
use quail_protocol::{
    Close, Code, Lane, Opcode, Operation,
    event::Kind,
    frame::{self, Head},
    limits::{FRAME_BYTES_MAX, GREETING_FRAME_BYTES_MAX},
    session::{Login, Ping},
};
use quail_tests::{
    Carrier, FAST, STRICT, Town, next_message,
    raw::{Raw, close_of, login, quic},
    within,
};
use quinn::VarInt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Two users who exchange a thousand messages and get every one.
async fn thousand_round_trips(town: &Town) {
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let (bob, mut to_bob) = town.connect(Carrier::WebSocket, "bob").await;
    let (to, back) = (alice.peer("bob").unwrap(), bob.peer("alice").unwrap());
    for i in 0..1000u64 {
        let sent = within(to.send("ping")).await.unwrap();
        assert_eq!(sent.position.seq.0, 2 * i + 1);
        assert_eq!(next_message(&mut to_bob).await.position, sent.position);
        let answered = within(back.send("pong")).await.unwrap();
        assert_eq!(next_message(&mut to_alice).await.position, answered.position);
    }
}

/// Runs the round trips, and `attack` again and again until they are done, but at least once.
async fn beside(town: &Town, attack: impl AsyncFn()) {
    let done = AtomicBool::new(false);
    let trips = async {
        thousand_round_trips(town).await;
        done.store(true, Ordering::Release);
    };
    let attacks = async {
        loop {
            attack().await;
            if done.load(Ordering::Acquire) {
                break;
            }
        }
    };
    futures_util::future::join(trips, attacks).await;
}

fn request(request_id: u32, opcode: Opcode, body: &[u8]) -> Bytes {
    frame::encode_raw(&Head::Request { request_id, opcode }, body)
}

fn ping(request_id: u32) -> Bytes {
    request(request_id, Ping::INFO.opcode, &[])
}

/// Bytes before login and how the connection ends.
fn garbage() -> Vec<(&'static str, Vec<u8>, Close)> {
    let too_large = |length: usize| {
        let bytes = [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14 & 0x7f];
        bytes.map(|byte| byte as u8).to_vec()
    };
    vec![
        (
            "a TLS hello",
            vec![
                0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0,
            ],
            Close::Malformed,
        ),
        (
            "text",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nand so on and so on and so on and so on".to_vec(),
            Close::Malformed,
        ),
        ("an empty frame", vec![0], Close::Malformed),
        ("an unknown head", vec![1, 9], Close::Malformed),
        ("a length that is not minimal", vec![0x81, 0x00], Close::Malformed),
        ("an endless length", vec![0xff; 5], Close::FrameTooLarge),
        ("a frame too large before login", too_large(GREETING_FRAME_BYTES_MAX + 1), Close::FrameTooLarge),
        (
            "a reply",
            frame::encode(&Head::Reply { request_id: 1, outcome: frame::Outcome::Ok }, &()).to_vec(),
            Close::ProtocolViolation,
        ),
        ("an event", frame::encode(&Head::Event { kind: Kind(1) }, &()).to_vec(), Close::ProtocolViolation),
        ("request id 0", ping(0).to_vec(), Close::ProtocolViolation),
        ("a request id twice", [ping(1), ping(1)].concat(), Close::ProtocolViolation),
        ("a request id far ahead", ping(1025).to_vec(), Close::ProtocolViolation),
    ]
}

#[tokio::test]
async fn garbage_before_login_ends_a_connection_with_its_code_and_disturbs_nobody() {
    let town = Town::new().await;
    beside(&town, async || {
        for carrier in Carrier::ALL {
            for (name, bytes, close) in garbage() {
                let mut raw = Raw::connect(&town, carrier).await;
                raw.send(&bytes).await;
                assert_eq!(raw.closed().await, close, "{name} over {carrier:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn garbage_after_login_ends_the_session_and_disturbs_nobody() {
    let town = Town::with(|config| config.apps.get_mut(FAST).unwrap().sessions_per_user = 1).await;
    let over = FRAME_BYTES_MAX + 1;
    let prefix = [over & 0x7f | 0x80, over >> 7 & 0x7f | 0x80, over >> 14 & 0x7f].map(|byte| byte as u8);
    beside(&town, async || {
        for carrier in Carrier::ALL {
            for (name, bytes, close) in [
                ("a frame too large", prefix.to_vec(), Close::FrameTooLarge),
                ("a request id twice", ping(1).to_vec(), Close::ProtocolViolation),
                ("a frame that is none", vec![3, 7, 7, 7], Close::Malformed),
            ] {
                // One session per user: each login shows that the one before was cleared away.
                let mut raw = loop {
                    let mut raw = Raw::connect(&town, carrier).await;
                    raw.request(1, &login(FAST, "mallory")).await;
                    match raw.reply(1).await {
                        Ok(_) => break raw,
                        Err(reject) => assert_eq!(reject.code, Code::TooManySessions),
                    }
                };
                raw.send(&bytes).await;
                assert_eq!(raw.closed().await, close, "{name} over {carrier:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_truncated_frame_is_malformed() {
    let town = Town::new().await;
    let whole =
        frame::encode(&Head::Request { request_id: 1, opcode: Login::INFO.opcode }, &login(FAST, "eve"));
    beside(&town, async || {
        for length in [1, 2, 5, whole.len() - 1] {
            let mut raw = Raw::connect(&town, Carrier::Quic).await;
            raw.send(&whole[..length]).await;
            let Raw::Quic { control, .. } = &mut raw else { unreachable!() };
            control.0.finish().unwrap();
            assert_eq!(raw.closed().await, Close::Malformed, "{length} bytes and the end of the stream");

            let mut raw = Raw::connect(&town, Carrier::WebSocket).await;
            raw.send(&whole[..length]).await;
            assert_eq!(raw.closed().await, Close::Malformed, "{length} bytes and the end of the message");
        }
    })
    .await;
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte_over_quic() {
    let town = Town::new().await;
    let mut raw = Raw::connect(&town, Carrier::Quic).await;
    let whole =
        frame::encode(&Head::Request { request_id: 1, opcode: Login::INFO.opcode }, &login(FAST, "eve"));
    for byte in &whole[..] {
        raw.send(&[*byte]).await;
    }
    assert!(raw.reply(1).await.is_ok());
}

#[tokio::test]
async fn a_stream_that_names_no_lane_and_a_fifth_stream_of_a_lane_are_refused() {
    let town = Town::new().await;
    let (_endpoint, connection) = quic(&town).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&[5]).await.unwrap();
    assert_eq!(close_of(&within(connection.closed()).await), Close::Malformed);

    let (_endpoint, connection) = quic(&town).await;
    let mut streams = vec![];
    for _ in 0..5 {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[Lane::Low.tag()]).await.unwrap();
        streams.push((send, receive));
    }
    assert_eq!(close_of(&within(connection.closed()).await), Close::ProtocolViolation);
}

#[tokio::test]
async fn requests_may_come_on_any_stream_of_any_lane() {
    let town = Town::new().await;
    let mut raw = Raw::log_in(&town, Carrier::Quic, FAST, "alice").await;
    let Raw::Quic { connection, .. } = &raw else { unreachable!() };
    let connection = connection.clone();
    let mut streams = vec![];
    let mut request_id = 1;
    for lane in Lane::ALL {
        for _ in 0..if lane == Lane::Control { 3 } else { 4 } {
            request_id += 1;
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(&[&[lane.tag()], &ping(request_id)[..]].concat()).await.unwrap();
            streams.push((send, receive));
            assert!(raw.reply(request_id).await.is_ok(), "{lane:?}");
        }
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), connection.open_bi()).await.is_err(),
        "twenty streams are all there may be"
    );
}

#[tokio::test]
async fn what_is_no_binary_message_of_a_lane_ends_a_websocket() {
    let town = Town::new().await;
    for (name, message, close) in [
        ("text", Message::text("hello"), Close::Malformed),
        ("no lane", Message::Binary(Bytes::new()), Close::Malformed),
        ("an unknown lane", Message::Binary(Bytes::from_static(&[5, 1, 2])), Close::Malformed),
        ("a message too large", Message::Binary(vec![0; 400 * 1024].into()), Close::FrameTooLarge),
    ] {
        let mut raw = Raw::connect(&town, Carrier::WebSocket).await;
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
        socket.send(message).await.unwrap();
        assert_eq!(raw.closed().await, close, "{name}");
    }
}

#[tokio::test]
async fn a_flood_over_the_rate_is_refused_and_disturbs_nobody() {
    let town = Town::new().await;
    let (mallory, _events) =
        within(town.client_of(Carrier::Quic, STRICT, "mallory").connect()).await.unwrap();
    beside(&town, async || {
        let victim = mallory.peer("victim").unwrap();
        let sends = (0..50).map(|_| victim.send("spam"));
        let refused = futures_util::future::join_all(sends).await.into_iter().filter(|sent| match sent {
            Ok(_) => false,
            Err(unsent) => {
                let CallError::Reject(reject) = &unsent.error else { panic!("{unsent:?}") };
                assert_eq!(reject.code, Code::RateLimited);
                assert!(reject.retry_after_ms.is_some());
                true
            }
        });
        assert!(refused.count() >= 30);
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_cap_are_refused_and_a_closed_one_makes_room() {
    let town = Town::with(|config| {
        config.quic.connections_max = 1;
        config.websocket.connections_max = 1;
    })
    .await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        assert!(within(town.client(carrier, "bob").connect()).await.is_err());
        within(alice.close()).await;
        // The server learns of the end when the client's close arrives.
        let _bob = loop {
            if let Ok(bob) = within(town.client(carrier, "bob").connect()).await {
                break bob;
            }
        };
    }
}

#[tokio::test]
async fn whoever_reads_nothing_is_closed_as_slow() {
    let town = Town::with(|config| config.session.write_timeout = Duration::from_millis(300)).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let to = alice.peer("deaf").unwrap();
    let raw = Raw::log_in(&town, Carrier::Quic, FAST, "deaf").await;
    let Raw::Quic { connection, .. } = &raw else { unreachable!() };
    connection.set_receive_window(VarInt::from_u32(1024));
    let closed = connection.closed();
    let flood = async {
        loop {
            to.send("x".repeat(30_000)).await.unwrap();
        }
    };
    tokio::select! {
        error = within(closed) => assert_eq!(close_of(&error), Close::Slow),
        () = flood => {}
    }
}

#[tokio::test]
async fn close_codes_that_clients_make_up_are_counted_as_one() {
    let town = Town::new().await;
    for number in 20_000..20_010u16 {
        let (_endpoint, connection) = quic(&town).await;
        connection.close(VarInt::from_u32(number.into()), b"");
        let mut raw = Raw::connect(&town, Carrier::WebSocket).await;
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
        let code = CloseCode::from(4300 + number % 10);
        socket.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
    }
    let counted = async {
        loop {
            let text = town.metrics().await;
            if text.contains("quail_closes_total{reason=\"client Unknown\"} 20") {
                break text;
            }
        }
    };
    let text = within(counted).await;
    assert_eq!(text.matches("reason=\"client").count(), 1);
}

#[tokio::test]
async fn either_end_of_a_websocket_gets_its_close_answered() {
    let town = Town::new().await;
    for _ in 0..10 {
        let mut raw = Raw::connect(&town, Carrier::WebSocket).await;
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
        socket.close(None).await.unwrap();
        assert!(matches!(within(socket.next()).await, Some(Ok(Message::Close(_)))), "the client closed");
        assert!(within(socket.next()).await.is_none());

        let mut raw = Raw::connect(&town, Carrier::WebSocket).await;
        raw.send(&ping(0)).await;
        assert_eq!(raw.closed().await, Close::ProtocolViolation);
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
        // More than one write, so that a socket that is gone would show.
        for _ in 0..2 {
            assert!(within(socket.flush()).await.is_ok(), "the server closed");
        }
        assert!(within(socket.next()).await.is_none());
    }
}

#[tokio::test]
async fn whoever_sends_no_request_on_the_websocket_port_is_dropped_and_counts_until_then() {
    let town = Town::with(|config| {
        config.session.greeting_timeout = Duration::from_millis(300);
        config.websocket.connections_max = 3;
    })
    .await;
    let address = town.websocket.trim_start_matches("ws://").trim_end_matches("/ws");
    let silent = TcpStream::connect(address).await.unwrap();
    let mut trickling = TcpStream::connect(address).await.unwrap();
    trickling.write_all(b"GET /ws HTTP/1.1\r\nHost: here\r\n").await.unwrap();
    let mut served = TcpStream::connect(address).await.unwrap();
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut heard = vec![];
    // A reset says the same as an end.
    _ = within(refused.read_to_end(&mut heard)).await;
    assert!(heard.is_empty(), "the fourth of three");
    served.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    _ = within(served.read_to_end(&mut heard)).await;
    assert!(heard.starts_with(b"HTTP/1.1 404"), "one request and the end");
    for mut stranger in [silent, trickling] {
        _ = within(stranger.read_to_end(&mut vec![])).await;
    }
    let (_alice, _events) = town.connect(Carrier::WebSocket, "alice").await;
}
