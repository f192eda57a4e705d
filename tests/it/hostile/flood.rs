//! More than anybody needs.

use bytes::Bytes;
use futures_util::SinkExt;
use quail_client::CallError;
use quail_protocol::{Close, Code, Opcode};
use quail_tests::{Carrier, FAST, STRICT, Town, raw::Raw, within};
use tokio_tungstenite::tungstenite::Message;

use super::{beside, ping, request};

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

/// Makes the request of a number.
type Each = fn(u32) -> Bytes;

#[tokio::test]
async fn a_flood_of_what_costs_nothing_disturbs_nobody_and_is_answered_in_the_end() {
    let town = Town::with(|config| config.session.free_requests_per_second = 200).await;
    let flood = |first: u32, each: Each| (first..first + 500).map(each).collect::<Vec<_>>().concat();
    let kinds: [(&str, Each); 2] =
        [("pings", ping), ("unknown operations", |id| request(id, Opcode(0xffff), b"?"))];
    beside(&town, async || {
        for carrier in Carrier::ALL {
            for (name, each) in kinds {
                let mut stranger = Raw::connect(&town, carrier).await;
                stranger.send(&flood(1, each)).await;
                let mut user = Raw::log_in(&town, carrier, FAST, "mallory").await;
                user.send(&flood(2, each)).await;
                for request_id in 2..502 {
                    let answered = user.reply(request_id).await;
                    assert_eq!(answered.is_ok(), name == "pings", "{name} over {carrier:?}");
                }
            }
        }
    })
    .await;
    assert!(town.metric("quail_connections_held_total").await > 0);
}

#[tokio::test]
async fn websocket_messages_that_tell_nothing_end_a_connection_when_they_are_too_many() {
    let town = Town::new().await;
    for (name, message) in [
        ("pings", Message::Ping(Bytes::from_static(b"?"))),
        ("pongs", Message::Pong(Bytes::new())),
        ("empty messages", Message::Binary(Bytes::from_static(&[0]))),
    ] {
        let mut raw = Raw::log_in(&town, Carrier::WebSocket, FAST, "mallory").await;
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
        for _ in 0..100 {
            within(socket.send(message.clone())).await.unwrap();
        }
        raw.send(&ping(2)).await;
        assert!(raw.reply(2).await.is_ok(), "as many {name} as a proxy may send");
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!() };
        for _ in 0..101 {
            // The server may have closed already.
            _ = within(socket.send(message.clone())).await;
        }
        assert_eq!(raw.closed().await, Close::ProtocolViolation, "{name}");
    }
}
