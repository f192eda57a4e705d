//! Lost connections and missed messages.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use quail_protocol::{
    Conversation, Epoch, Position, Rev, Seq,
    bounded::List,
    id::{ClientMessageId, MessageId},
    message::{Content, History, Message, MessageKind, Page, Send},
    session::{Answer, LoggedOut, Missed, Resume, Resumed},
};

use super::*;
use crate::{
    dialer::{Dial, Dialed},
    error::ConnectError,
    reconnect::Reconnect,
};

/// Gives the results in turn, and then nothing but failure. Counts.
pub(super) fn dial(results: Vec<Dialed>) -> (Dial, Arc<AtomicUsize>) {
    let (results, tries) = (Mutex::new(VecDeque::from(results)), Arc::new(AtomicUsize::new(0)));
    let count = tries.clone();
    let dial = move |_: Option<ResumeToken>| -> Pin<Box<dyn Future<Output = Dialed> + std::marker::Send>> {
        count.fetch_add(1, Ordering::AcqRel);
        let next = results.lock().unwrap().pop_front();
        let result = next.unwrap_or(Err(ConnectError::Failed(Cause::ServerUnavailable)));
        Box::pin(async { result })
    };
    (Box::new(dial), tries)
}

pub(super) struct Next {
    pub(super) server: mpsc::UnboundedSender<(Lane, Bytes)>,
    pub(super) did: mpsc::UnboundedReceiver<Did>,
}

/// A connection that a dial can give, with a new session.
pub(super) fn connection(session: u8) -> (Dialed, Next) {
    connection_with(Greeted { session: SessionId([session; 16]), ..greeted() })
}

fn connection_with(login: Greeted) -> (Dialed, Next) {
    let (server, incoming) = mpsc::unbounded_channel();
    let (sender, did) = mpsc::unbounded_channel();
    let link = Link::new(Script { incoming, did: sender, full: Arc::default() });
    (Ok((link, login)), Next { server, did })
}

pub(super) fn comeback(dial: Dial) -> Option<Comeback> {
    Some(Comeback::new(dial, Reconnect::default(), [1; 32], Some(ResumeToken([7; 16]))))
}

pub(super) fn message(seq: u64) -> Message {
    Message {
        id: MessageId([0; 16]),
        client_id: ClientMessageId([seq as u8; 16]),
        conversation: Conversation::Peer(UserId::new("alice").unwrap()),
        sender: UserId::new("bob").unwrap(),
        member: None,
        position: Position { epoch: Epoch(1), seq: Seq(seq) },
        prev: Seq(seq - 1),
        ordinal: 0,
        rev: Rev(0),
        recall: None,
        priority: Priority::Normal,
        time: Timestamp(0),
        content: Content::new(MessageKind::Text, Default::default()),
    }
}

fn page(request_id: u32, numbers: impl Iterator<Item = u64>, head: u64) -> Bytes {
    let messages = List::new(numbers.map(message).collect()).unwrap();
    let page = Page { head: message(head).position, first: Seq(1), rev: Rev(0), messages, next: None };
    frame::encode(&Head::Reply { request_id, outcome: Outcome::Ok }, &page)
}

async fn heard(events: &mut Events) -> u64 {
    match events.recv().await {
        Some(Event::MessageSent(message)) => message.position.seq.0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_reply_is_asked_again_in_its_order_before_what_is_new() {
    let (next, Next { server: next_server, did: mut next_did }) = connection(7);
    let (dial, tries) = dial(vec![Err(ConnectError::Failed(Cause::ServerUnavailable)), next]);
    let Stage { client, mut did, server, .. } = stage_with(8, comeback(dial));
    let bob = client.peer("bob").unwrap();
    let mut states = client.states();
    let mut change = Box::pin(client.call(Logout {}));
    let mut query = Box::pin(client.call(Ping {}));
    let mut sends = [Priority::High, Priority::High, Priority::Low]
        .map(|priority| Box::pin(bob.message("x").priority(priority).send()));
    assert!((&mut change).now_or_never().is_none());
    assert!((&mut query).now_or_never().is_none());
    for send in &mut sends {
        assert!(send.now_or_never().is_none());
    }
    let mut left = Box::pin(client.call(Ping {}));
    assert!((&mut left).now_or_never().is_none());
    for _ in 0..3 {
        assert!(matches!(did.recv().await, Some(Did::Wrote(..))));
    }
    drop((server, left));
    assert_eq!(states.changed().await, Some(State::Reconnecting { cause: Cause::Interrupted }));
    assert_eq!(change.await, Err(CallError::Unknown));
    let mut fresh = Box::pin(bob.message("y").priority(Priority::High).send());
    assert!((&mut fresh).now_or_never().is_none());
    let (ping, send) = (Ping::INFO.opcode, Send::INFO.opcode);
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::Control, vec![(2, ping)])));
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::High, vec![(3, send), (4, send)])));
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::Low, vec![(5, send)])));
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::High, vec![(6, send)])));
    assert_eq!(states.current(), State::Connected);
    assert_eq!((client.session(), tries.load(Ordering::Acquire)), (SessionId([7; 16]), 2));
    let head = Head::Reply { request_id: 2, outcome: Outcome::Ok };
    next_server.send((Lane::Control, frame::encode(&head, &Pong { time: Timestamp(5) }))).unwrap();
    assert_eq!(query.await, Ok(Pong { time: Timestamp(5) }));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_goes_on_is_asked_everything_once_more_under_the_old_numbers() {
    let (next, Next { server: next_server, did: mut next_did }) =
        connection_with(Greeted { resumed: true, ..greeted() });
    let (dial, _) = dial(vec![next]);
    let Stage { client, mut did, server, .. } = stage_with(8, comeback(dial));
    let mut change = Box::pin(client.call(Logout {}));
    let bob = client.peer("bob").unwrap();
    let mut send = Box::pin(bob.send("x"));
    assert!((&mut change).now_or_never().is_none() && (&mut send).now_or_never().is_none());
    for _ in 0..2 {
        assert!(matches!(did.recv().await, Some(Did::Wrote(..))));
    }
    drop(server);
    let mut fresh = Box::pin(client.call(Ping {}));
    assert!((&mut fresh).now_or_never().is_none());
    let wrote = |lane, numbered: &[(u32, quail_protocol::Opcode)]| Some(Did::Wrote(lane, numbered.to_vec()));
    let (ping, logout) = ((4, Ping::INFO.opcode), (2, Logout::INFO.opcode));
    assert_eq!(next_did.recv().await, wrote(Lane::Control, &[logout, ping]));
    assert_eq!(next_did.recv().await, wrote(Lane::Normal, &[(3, Send::INFO.opcode)]));
    // What was asked on two connections may be answered on both.
    let head = Head::Reply { request_id: 2, outcome: Outcome::Ok };
    for _ in 0..2 {
        next_server.send((Lane::Control, frame::encode(&head, &LoggedOut {}))).unwrap();
    }
    assert_eq!(change.await, Ok(LoggedOut {}));
    let head = Head::Reply { request_id: 4, outcome: Outcome::Ok };
    next_server.send((Lane::Control, frame::encode(&head, &Pong { time: Timestamp(5) }))).unwrap();
    assert_eq!(fresh.await, Ok(Pong { time: Timestamp(5) }));
}

#[tokio::test(start_paused = true)]
async fn tries_go_on_without_end_calls_keep_their_timeout_and_a_hurry_ends_the_wait() {
    let (dial, tries) = dial(vec![]);
    let Stage { client, server, .. } = stage_with(8, comeback(dial));
    let start = Instant::now();
    drop(server);
    assert_eq!(client.peer("bob").unwrap().send("x").await.unwrap_err().error, CallError::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 15);
    advance(Duration::from_secs(3600)).await;
    tokio::time::timeout(Duration::from_secs(3600), client.call(Ping {})).await.unwrap().unwrap_err();
    let before = tries.load(Ordering::Acquire);
    assert!((5..60).contains(&before), "{before}");
    let now = Instant::now();
    client.reconnect_now();
    while tries.load(Ordering::Acquire) == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(now.elapsed(), Duration::ZERO);
    client.close().await;
    assert_eq!(client.states().current(), State::Disconnected { cause: Cause::LoggedOut });
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_ends_everything() {
    let refused = |code| Cause::LoginRefused(Reject::from(code));
    for (first, last) in [
        (Cause::Interrupted, Cause::VersionRefused),
        (refused(Code::TooManySessions), refused(Code::TokenExpired)),
        (Cause::Closed(Close::Overloaded), Cause::Closed(Close::LoginRefused)),
    ] {
        let failed = |cause| Err(ConnectError::Failed(cause));
        let (dial, tries) = dial(vec![failed(first), failed(last), connection(9).0]);
        let Stage { client, mut events, server, .. } = stage_with(8, comeback(dial));
        drop(server);
        assert_eq!(client.call(Ping {}).await, Err(CallError::Disconnected(last)));
        assert_eq!(client.states().current(), State::Disconnected { cause: last });
        assert_eq!((events.recv().await, tries.load(Ordering::Acquire)), (None, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_says_how_long_to_stay_away() {
    let (next, Next { did: _did, server: _server }) = connection(7);
    let (dial, _) = dial(vec![next]);
    let Stage { client, mut events, server, .. } = stage_with(8, comeback(dial));
    server.send((Lane::Control, draining(60_000).to_frame())).unwrap();
    assert!(events.recv().await.is_some());
    let (start, mut states) = (Instant::now(), client.states());
    drop(server);
    while states.current() != State::Connected || start.elapsed().is_zero() {
        states.changed().await;
    }
    assert!((60..=61).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_fetched_when_the_rate_allows_and_calls_go_on_meanwhile() {
    let Stage { client, mut events, mut did, server, .. } = stage(8);
    let history = History::INFO.opcode;
    server.send((Lane::Normal, message(1).to_frame())).unwrap();
    server.send((Lane::Normal, message(4).to_frame())).unwrap();
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(2, history)])));
    let reject = Reject { retry_after_ms: Some(700), ..Code::RateLimited.into() };
    let limited = Head::Reply { request_id: 2, outcome: Outcome::Reject(reject) };
    server.send((Lane::Control, frame::encode_raw(&limited, &[]))).unwrap();
    let start = Instant::now();
    let mut call = Box::pin(client.call(Ping {}));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(3, Ping::INFO.opcode)])));
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(4, history)])));
    assert_eq!(start.elapsed().as_millis(), 700);
    server.send((Lane::Low, page(4, 2..=3, 4))).unwrap();
    for seq in 1..=4 {
        assert_eq!(heard(&mut events).await, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_waits_for_a_slow_app_over_a_reconnect() {
    let (next, Next { server: next_server, did: mut next_did }) = connection(7);
    let (dial, _) = dial(vec![next]);
    let Stage { client: _client, mut events, mut did, server, .. } = stage_with(1, comeback(dial));
    server.send((Lane::Normal, message(1).to_frame())).unwrap();
    server.send((Lane::Normal, message(40).to_frame())).unwrap();
    assert!(matches!(did.recv().await, Some(Did::Wrote(Lane::Control, _))));
    server.send((Lane::Low, page(2, 2..=39, 40))).unwrap();
    drop(server);
    for seq in 1..=40 {
        assert_eq!(heard(&mut events).await, seq);
    }
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::Control, vec![(2, Resume::INFO.opcode)])));
    let answer = Answer { missed: Missed::Replay, head: message(42).position, first: Seq(1), rev: Rev(0) };
    let answers = Resumed { answers: List::new(vec![answer]).unwrap() };
    let head = Head::Reply { request_id: 2, outcome: Outcome::Ok };
    next_server.send((Lane::Control, frame::encode(&head, &answers))).unwrap();
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::Control, vec![(3, History::INFO.opcode)])));
    next_server.send((Lane::Control, page(3, 41..=42, 42))).unwrap();
    assert_eq!((heard(&mut events).await, heard(&mut events).await), (41, 42));
}
