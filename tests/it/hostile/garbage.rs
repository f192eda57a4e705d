//! Bytes that are no frames, and frames that a client does not send.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use quail_protocol::{
    Close, Code, Operation,
    event::Kind,
    frame::{self, Head},
    limits::{FRAME_BYTES_MAX, GREETING_FRAME_BYTES_MAX},
    session::Login,
};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, login, quic},
    within,
};
use quinn::VarInt;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{beside, ping};

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
