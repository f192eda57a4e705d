//! Datagrams that are no signals, and signals where there is nobody to signal.

use bytes::Bytes;
use quail_protocol::{
    Close, Conversation,
    event::Kind,
    frame::{self, Head},
    id::UserId,
    message::{Signal, SignalBody, SignalKind},
    session::Logout,
};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, login},
};

use super::{beside, ping};

fn signal(bytes: usize) -> Bytes {
    let conversation = Conversation::Peer(UserId::new("nobody").unwrap());
    let body = SignalBody::new(vec![0; bytes]).unwrap();
    frame::encode(&Head::Signal, &Signal { conversation, kind: SignalKind::Typing, body })
}

fn no_signals() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", vec![]),
        ("a length and no more", vec![40]),
        ("a length without end", vec![0xff; 5]),
        ("half a signal", signal(9)[..8].to_vec()),
        ("two signals", [signal(1), signal(1)].concat()),
        ("a signal and a byte", [&signal(1)[..], &[1]].concat()),
        ("a signal that says nothing", vec![1, 3]),
        ("a signal with a byte left over", frame::encode_raw(&Head::Signal, &[1, 1, b'x', 1, 0, 0]).to_vec()),
        ("a request", ping(2).to_vec()),
        ("an event", frame::encode(&Head::Event { kind: Kind(1) }, &()).to_vec()),
    ]
}

#[tokio::test]
async fn a_datagram_that_is_no_signal_ends_the_session_and_disturbs_nobody() {
    let town = Town::new().await;
    beside(&town, async || {
        for (name, bytes) in no_signals() {
            let mut raw = Raw::log_in(&town, Carrier::Quic, FAST, "mallory").await;
            raw.connection().send_datagram(signal(512)).unwrap();
            raw.connection().send_datagram(bytes.into()).unwrap();
            assert_eq!(raw.closed().await, Close::Malformed, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn datagrams_before_the_login_and_after_the_logout_are_discarded() {
    let town = Town::new().await;
    for (name, bytes) in no_signals() {
        let mut raw = Raw::connect(&town, Carrier::Quic).await;
        raw.connection().send_datagram(bytes.clone().into()).unwrap();
        raw.request(1, &login(FAST, "mallory")).await;
        assert!(raw.reply(1).await.is_ok(), "{name}");
        raw.request(2, &Logout {}).await;
        raw.reply(2).await.unwrap();
        raw.connection().send_datagram(bytes.into()).unwrap();
        assert_eq!(raw.closed().await, Close::LoggedOut, "{name}");
    }
}
