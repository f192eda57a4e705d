//! Sessions that outlive their connections.

use std::time::Duration;

use bytes::Bytes;
use quail_protocol::{
    Close, Code, Conversation, Epoch, Position, Priority, Rev, Seq,
    bounded::List,
    frame::{self, Frame, Head},
    id::{ClientMessageId, DeviceId, RoomId, UserId},
    limits::REPLIES_KEPT_MAX,
    message::{Body, Content, MessageKind, Send, Sent, Text},
    session::{
        Cursor, LoggedIn, Logout, Missed, Ping, RenewToken, Resume, ResumeToken, Resumed, TokenRenewed,
    },
};
use quail_server::{apps::MultiLogin, config::Engine};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, Said, login},
    token::{Token, now},
    within,
};

/// Logs in, to go on with a session if there is a key to one.
async fn log_in(town: &Town, carrier: Carrier, resume: Option<ResumeToken>) -> (Raw, LoggedIn) {
    let mut raw = Raw::connect(town, carrier).await;
    raw.request(1, &quail_protocol::session::Login { resume, ..login(FAST, "alice") }).await;
    let body = raw.reply(1).await.unwrap();
    (raw, frame::decode(&body).unwrap())
}

fn bob() -> Conversation {
    Conversation::Peer(UserId::new("bob").unwrap())
}

fn text(number: u8) -> Send {
    Send {
        conversation: bob(),
        id: ClientMessageId::at(now() * 1000, [number; 10]),
        priority: Priority::Normal,
        content: Content::new(MessageKind::Text, Text::encode(format!("{number}")).unwrap()),
    }
}

async fn sent(raw: &mut Raw, request_id: u32) -> Sent {
    frame::decode(&raw.reply(request_id).await.unwrap()).unwrap()
}

/// A connection that breaks without a word, and the server's notice of it.
async fn broken(town: &Town, raw: Raw) {
    raw.lose().await;
    within(async {
        while !open_connections(&town.metrics().await).eq("0") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn open_connections(metrics: &str) -> String {
    let counts = metrics.lines().filter(|line| line.starts_with("quail_connections{"));
    let sum: u64 = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    sum.to_string()
}

#[tokio::test]
async fn a_session_goes_on_over_any_carrier_and_what_was_served_is_answered_again() {
    let town = Town::new().await;
    for (round, (first, second)) in [
        (Carrier::Quic, Carrier::WebSocket),
        (Carrier::WebSocket, Carrier::Quic),
        (Carrier::Quic, Carrier::Quic),
    ]
    .into_iter()
    .enumerate()
    {
        let text = |number| text(10 * round as u8 + number);
        let (mut raw, begun) = log_in(&town, first, None).await;
        assert!(!begun.resumed);
        raw.request(2, &text(2)).await;
        let once = sent(&mut raw, 2).await;
        broken(&town, raw).await;
        assert_eq!(town.metric("quail_sessions").await, 1, "it is kept");

        let (mut raw, resumed) = log_in(&town, second, Some(begun.resume_token)).await;
        assert!(resumed.resumed);
        assert_eq!((resumed.session, resumed.resume_token), (begun.session, begun.resume_token));
        // Another message under a number that was answered: the number decides.
        raw.request(2, &text(200)).await;
        assert_eq!(sent(&mut raw, 2).await, once);
        raw.request(4, &text(4)).await;
        assert_eq!(sent(&mut raw, 4).await.position.seq, once.position.seq.next());
        raw.request(3, &text(3)).await;
        assert_eq!(sent(&mut raw, 3).await.position.seq, once.position.seq.next().next());
        // On one connection a number comes once.
        raw.request(2, &text(2)).await;
        assert_eq!(raw.closed().await, Close::ProtocolViolation);
    }
    town.stop().await;
}

#[tokio::test]
async fn a_refusal_is_not_remembered_and_a_query_is_served_again() {
    let town = Town::new().await;
    let (mut raw, begun) = log_in(&town, Carrier::Quic, None).await;
    let empty =
        Send { content: Content::new(MessageKind::Text, Body::new(Bytes::new()).unwrap()), ..text(2) };
    raw.request(2, &empty).await;
    assert_eq!(raw.refusal(2).await, Code::Malformed);
    raw.request(3, &Ping {}).await;
    raw.reply(3).await.unwrap();
    broken(&town, raw).await;
    let (mut raw, resumed) = log_in(&town, Carrier::Quic, Some(begun.resume_token)).await;
    assert!(resumed.resumed);
    raw.request(2, &text(2)).await;
    sent(&mut raw, 2).await;
    raw.request(3, &Ping {}).await;
    raw.reply(3).await.unwrap();
}

#[tokio::test]
async fn more_replies_than_are_kept_are_said_to_be_forgotten() {
    let town = Town::new().await;
    let (mut raw, begun) = log_in(&town, Carrier::Quic, None).await;
    let last = 2 + REPLIES_KEPT_MAX as u32;
    for request_id in 2..=last {
        let token = bounded(Token::new(FAST, "alice").sign());
        raw.request(request_id, &RenewToken { token }).await;
        raw.reply(request_id).await.unwrap();
    }
    broken(&town, raw).await;
    let (mut raw, _) = log_in(&town, Carrier::Quic, Some(begun.resume_token)).await;
    for request_id in 2..=last {
        raw.request(request_id, &RenewToken { token: bounded("nonsense".into()) }).await;
        let answer = raw.reply(request_id).await.map_err(|reject| reject.code);
        assert_eq!(answer.err(), (request_id == 2).then_some(Code::ReplyForgotten), "{request_id}");
    }
}

#[tokio::test]
async fn a_renewed_token_stays_in_force_when_its_session_goes_on() {
    let town = Town::new().await;
    let (mut raw, begun) = log_in(&town, Carrier::Quic, None).await;
    let later = Token::new(FAST, "alice").with(|token| token.claims.exp = Some(now() + 7200));
    let renew = RenewToken { token: bounded(later.sign()) };
    raw.request(2, &renew).await;
    let renewed: TokenRenewed = frame::decode(&raw.reply(2).await.unwrap()).unwrap();
    assert!(renewed.token_expires > begun.token_expires);
    broken(&town, raw).await;
    // With the token of the first login.
    let (mut raw, resumed) = log_in(&town, Carrier::Quic, Some(begun.resume_token)).await;
    assert!(resumed.resumed);
    assert_eq!(resumed.token_expires, renewed.token_expires);
    raw.request(2, &renew).await;
    assert_eq!(frame::decode::<TokenRenewed>(&raw.reply(2).await.unwrap()).unwrap(), renewed);
}

fn bounded<const MAX: usize>(text: String) -> quail_protocol::bounded::Text<MAX> {
    quail_protocol::bounded::Text::new(text).unwrap()
}

#[tokio::test]
async fn the_connection_before_is_superseded_if_it_still_stands() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (mut first, begun) = log_in(&town, carrier, None).await;
        let (mut second, resumed) = log_in(&town, carrier, Some(begun.resume_token)).await;
        assert!(resumed.resumed);
        assert_eq!(first.closed().await, Close::Superseded);
        second.request(2, &text(2)).await;
        sent(&mut second, 2).await;
        // The end of the first has taken nothing from the second.
        let bob = town.connect(Carrier::Quic, "bob").await.0;
        bob.peer("alice").unwrap().send("still there?").await.unwrap();
        assert!(matches!(second.next().await, Said::Frame(Frame { head: Head::Event { .. }, .. })));
        second.request(3, &Logout {}).await;
        second.reply(3).await.unwrap();
        second.closed().await;
        bob.close().await;
    }
}

#[tokio::test]
async fn a_session_that_ended_does_not_go_on() {
    let town = Town::with(|config| config.session.grace = Duration::ZERO).await;
    let (raw, begun) = log_in(&town, Carrier::Quic, None).await;
    broken(&town, raw).await;
    within(async {
        while town.metric("quail_sessions").await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (_raw, next) = log_in(&town, Carrier::Quic, Some(begun.resume_token)).await;
    assert!(!next.resumed, "the grace is over");
    town.stop().await;

    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (mut raw, begun) = log_in(&town, carrier, None).await;
        raw.request(2, &Logout {}).await;
        raw.reply(2).await.unwrap();
        raw.closed().await;
        let (_raw, next) = log_in(&town, carrier, Some(begun.resume_token)).await;
        assert!(!next.resumed, "it was logged out");

        let mut other = login(FAST, "alice");
        (other.device, other.resume) = (DeviceId::new("other").unwrap(), Some(next.resume_token));
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &other).await;
        let body = raw.reply(1).await.unwrap();
        assert!(!frame::decode::<LoggedIn>(&body).unwrap().resumed, "it is another device's");
    }
}

#[tokio::test]
async fn a_session_that_gave_way_while_it_had_no_connection_is_told_so() {
    let town = Town::with(|config| {
        config.apps.get_mut(FAST).unwrap().multi_login = MultiLogin::One;
    })
    .await;
    let (raw, begun) = log_in(&town, Carrier::Quic, None).await;
    broken(&town, raw).await;
    let mut other = login(FAST, "alice");
    other.device = DeviceId::new("other").unwrap();
    let mut second = Raw::connect(&town, Carrier::Quic).await;
    second.request(1, &other).await;
    second.reply(1).await.unwrap();

    let mut raw = Raw::connect(&town, Carrier::Quic).await;
    let again = quail_protocol::session::Login { resume: Some(begun.resume_token), ..login(FAST, "alice") };
    raw.request(1, &again).await;
    assert_eq!(raw.refusal(1).await, Code::LoggedInElsewhere);
    second.request(2, &Ping {}).await;
    second.reply(2).await.unwrap();
    // Whoever logs in anew means it.
    let (_raw, next) = log_in(&town, Carrier::Quic, None).await;
    assert!(!next.resumed);
    assert_eq!(second.closed().await, Close::KickedOut);
}

#[tokio::test]
async fn cursors_are_answered_in_their_order() {
    let town = Town::new().await;
    let (mut raw, _) = log_in(&town, Carrier::Quic, None).await;
    let mut position = Position::default();
    for number in 2..5 {
        raw.request(number, &text(number as u8)).await;
        position = sent(&mut raw, number).await.position;
    }
    let cursor =
        |conversation, position| Cursor { conversation, position, ahead: List::default(), rev: Rev(0) };
    let seq = |seq| Position { seq: Seq(seq), ..position };
    let stranger = Conversation::Peer(UserId::new("stranger").unwrap());
    let cursors = vec![
        cursor(bob(), position),
        cursor(Conversation::Room(RoomId::new("hall").unwrap()), position),
        cursor(bob(), seq(1)),
        cursor(bob(), Position { epoch: Epoch(position.epoch.0 + 1), ..position }),
        cursor(stranger, seq(0)),
    ];
    raw.request(5, &Resume { cursors: List::new(cursors).unwrap() }).await;
    let resumed: Resumed = frame::decode(&raw.reply(5).await.unwrap()).unwrap();
    use Missed::*;
    let missed: Vec<_> = resumed.answers.iter().map(|answer| answer.missed).collect();
    assert_eq!(missed, [CaughtUp, NotMember, Replay, EpochChanged, CaughtUp]);
    assert_eq!(resumed.answers[2].head, position);
}

#[tokio::test]
async fn a_store_that_forgets_begins_another_epoch_with_each_run() {
    let mut epochs = vec![];
    for _ in 0..2 {
        let town = Town::with(|config| config.store.engine = Engine::Memory).await;
        let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
        let sent = alice.peer("bob").unwrap().send("the first").await.unwrap();
        assert_eq!(sent.position.seq, Seq(1));
        epochs.push(sent.position.epoch);
    }
    assert!(epochs[0] < epochs[1], "its numbers are others: {epochs:?}");
}
