//! The driver against a scripted carrier, on simulated time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use quail_protocol::{
    Close, Code, Event, Operation, Position, Priority, Reject, Timestamp,
    bounded::Text,
    event::{EventBody, Kind},
    frame::{self, Decoder, Outcome},
    id::{AppId, DeviceId, UserId},
    session::{Draining, LoggedIn, Login, Platform, Pong, ResumeToken},
};
use tokio::time::advance;

use super::*;
use crate::{
    carrier::{Carrier, Lost},
    client::Client,
    clock::MessageIds,
    events::{self, Events},
};

mod comeback;
mod rooms;
mod visitors;

/// What the carrier did, in order.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    Wrote(Lane, Vec<(u32, quail_protocol::Opcode)>),
    Closed(Close),
}

struct Script {
    incoming: mpsc::UnboundedReceiver<(Lane, Bytes)>,
    did: mpsc::UnboundedSender<Did>,
    full: Arc<Mutex<Vec<Lane>>>,
}

impl Carrier for Script {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Lane, usize, Bytes), Lost>> {
        let piece =
            |piece: Option<_>| piece.map(|(lane, bytes)| (lane, 0, bytes)).ok_or(Lost(Cause::Interrupted));
        self.incoming.poll_recv(cx).map(piece)
    }

    fn poll_send(&mut self, _: &mut Context<'_>, lane: Lane, bytes: &mut Bytes) -> Poll<Result<(), Lost>> {
        if self.full.lock().unwrap().contains(&lane) {
            return Poll::Pending;
        }
        let mut decoder = Decoder::new(1 << 20);
        decoder.extend(&std::mem::take(bytes));
        let frames = std::iter::from_fn(|| decoder.next_frame().unwrap());
        let requests = frames.map(|frame| match frame.head {
            Head::Request { request_id, opcode } => (request_id, opcode),
            other => panic!("{other:?}"),
        });
        self.did.send(Did::Wrote(lane, requests.collect())).ok();
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn close(&mut self, close: Close) {
        self.did.send(Did::Closed(close)).ok();
    }

    fn poll_closed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

struct Stage {
    client: Client,
    events: Events,
    server: mpsc::UnboundedSender<(Lane, Bytes)>,
    did: mpsc::UnboundedReceiver<Did>,
    full: Arc<Mutex<Vec<Lane>>>,
}

fn logged_in() -> LoggedIn {
    LoggedIn {
        session: SessionId([0; 16]),
        resumed: false,
        resume_token: ResumeToken([7; 16]),
        revision: 1,
        time: Timestamp(0),
        token_expires: Timestamp(0),
        limits: Limits {
            frame_bytes: 1 << 16,
            requests_in_flight: 8,
            text_bytes: 1 << 15,
            texts_per_second: 10,
            queries_per_second: 10,
            changes_per_second: 10,
            ping_after_ms: 10_000,
            idle_timeout_ms: 30_000,
            grace_ms: 30_000,
            ..Limits::default()
        },
        feed: Position::default(),
        conversations: Default::default(),
    }
}

fn greeted() -> Greeted {
    logged_in().into()
}

fn stage(event_capacity: usize) -> Stage {
    stage_with(event_capacity, None)
}

fn stage_with(event_capacity: usize, comeback: Option<Comeback>) -> Stage {
    let (server, incoming) = mpsc::unbounded_channel();
    let (did_sender, did) = mpsc::unbounded_channel();
    let full = Arc::default();
    let link = Link::new(Script { incoming, did: did_sender, full: Arc::clone(&full) });
    let login = greeted();
    let (queue, events) = events::queue(event_capacity, None);
    let now = Instant::now();
    let me = UserId::new("alice").unwrap();
    let mut tracker = Tracker::new(me.clone());
    tracker.reenter_rooms();
    let (driver, controls) = Driver::new(link, &login, tracker, queue, comeback, now);
    tokio::spawn(driver.run());
    let ids = MessageIds::new([0; 32]);
    let client = Client::new(me, ids, Duration::from_secs(15), controls, None, None);
    Stage { client, events, server, did, full }
}

fn login() -> Login {
    Login {
        revision: 1,
        app: AppId::new("demo").unwrap(),
        user: UserId::new("alice").unwrap(),
        token: Text::new("t").unwrap(),
        name: None,
        avatar: None,
        device: DeviceId::new("d").unwrap(),
        platform: Platform::Linux,
        client: Text::default(),
        stream_window_bytes: 0,
        streams_per_lane: 1,
        conversations: 0,
        resume: None,
    }
}

fn draining(retry_after_ms: u32) -> Draining {
    Draining { retry_after_ms }
}

fn disconnected(cause: Cause) -> Option<State> {
    Some(State::Disconnected { cause })
}

#[tokio::test(start_paused = true)]
async fn silence_is_answered_with_one_ping_and_then_with_giving_up() {
    let Stage { client, mut did, server: _server, .. } = stage(8);
    let start = Instant::now();
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(2, Ping::INFO.opcode)])));
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(client.states().changed().await, disconnected(Cause::TimedOut));
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(did.recv().await, Some(Did::Closed(Close::LoggedOut)));
}

#[tokio::test(start_paused = true)]
async fn answered_pings_keep_the_session() {
    let Stage { client, mut did, server, .. } = stage(8);
    let start = Instant::now();
    for request_id in 2..12 {
        assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(request_id, Ping::INFO.opcode)])));
        let head = Head::Reply { request_id, outcome: Outcome::Ok };
        server.send((Lane::Control, frame::encode(&head, &Pong { time: Timestamp(0) }))).unwrap();
    }
    assert_eq!(start.elapsed().as_secs(), 100);
    assert_eq!(client.states().current(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_app_is_not_taken_for_a_silent_server() {
    let Stage { client, mut events, mut did, server, .. } = stage(1);
    for i in 0..3 {
        server.send((Lane::Normal, draining(i).to_frame())).unwrap();
    }
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(2, Ping::INFO.opcode)])));
    advance(Duration::from_secs(100)).await;
    let mut call = Box::pin(client.call(Ping {}));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(3, Ping::INFO.opcode)])));
    assert_eq!(client.states().current(), State::Connected);
    for i in 0..3 {
        assert_eq!(events.recv().await, Some(Event::Draining(draining(i))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_most_urgent_lane_goes_first_and_a_full_one_stops_no_other() {
    let Stage { client, mut did, full, server, .. } = stage(8);
    let bob = client.peer("bob").unwrap();
    let send = |priority| Box::pin(bob.message("x").priority(priority).send());
    full.lock().unwrap().push(Lane::Normal);
    let mut calls = [Priority::Lowest, Priority::Low, Priority::Normal, Priority::High].map(send);
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    let opcode = quail_protocol::message::Send::INFO.opcode;
    // Normal has its number, since its batch was made, but could not be written.
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::High, vec![(2, opcode)])));
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Low, vec![(4, opcode)])));
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Lowest, vec![(5, opcode)])));
    full.lock().unwrap().clear();
    server.send((Lane::Control, draining(1).to_frame())).unwrap();
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Normal, vec![(3, opcode)])));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_the_protocol_is_left() {
    let event = Head::Event { kind: Draining::KIND };
    let reply = Head::Reply { request_id: 99, outcome: Outcome::Ok };
    let request = Head::Request { request_id: 1, opcode: Ping::INFO.opcode };
    for bytes in [
        frame::encode_raw(&event, &[0xff]),
        frame::encode_raw(&reply, &[]),
        frame::encode_raw(&request, &[]),
        Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f]),
        Bytes::from_static(&[0x01, 0x09]),
    ] {
        let Stage { client, mut did, mut events, server, .. } = stage(8);
        server.send((Lane::Low, bytes)).unwrap();
        assert_eq!(events.recv().await, None);
        assert_eq!(did.recv().await, Some(Did::Closed(Close::ProtocolViolation)));
        assert_eq!(client.states().current(), State::Disconnected { cause: Cause::Malformed });
    }
}

#[tokio::test(start_paused = true)]
async fn replies_reach_their_calls_whatever_their_order() {
    let Stage { client, mut did, server, .. } = stage(8);
    let calls = async { tokio::join!(client.call(Ping {}), client.call(Ping {}), client.call(Ping {})) };
    let serve = async {
        assert!(matches!(did.recv().await, Some(Did::Wrote(Lane::Control, requests)) if requests.len() == 3));
        let reject = Outcome::Reject(Reject::from(Code::RateLimited));
        for (request_id, outcome, body) in
            [(4, reject, &[][..]), (2, Outcome::Ok, &[5]), (3, Outcome::Ok, &[0xff])]
        {
            let reply = frame::encode_raw(&Head::Reply { request_id, outcome }, body);
            server.send((Lane::Control, reply)).unwrap();
        }
    };
    let (replies, ()) = tokio::join!(calls, serve);
    let refused = CallError::Reject(Reject::from(Code::RateLimited));
    assert_eq!(replies, (Ok(Pong { time: Timestamp(5) }), Err(CallError::Malformed), Err(refused)));
}

#[tokio::test(start_paused = true)]
async fn a_logout_without_answer_ends_all_the_same() {
    let Stage { client, mut did, server: _server, .. } = stage(8);
    let start = Instant::now();
    let (call, ()) = tokio::join!(client.call(Ping {}), client.close());
    assert_eq!(call, Err(CallError::Disconnected(Cause::LoggedOut)));
    assert_eq!(start.elapsed(), LOGOUT_DEADLINE);
    let requests = vec![(2, Logout::INFO.opcode), (3, Ping::INFO.opcode)];
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, requests)));
    assert_eq!(did.recv().await, Some(Did::Closed(Close::LoggedOut)));
}

#[tokio::test(start_paused = true)]
async fn events_of_later_builds_are_handed_on_and_not_understood() {
    let Stage { client: _client, mut events, server, .. } = stage(8);
    let kind = Kind(0xfffe);
    server.send((Lane::High, frame::encode_raw(&Head::Event { kind }, b"new"))).unwrap();
    assert_eq!(events.recv().await, Some(Event::Unknown { kind, body: Bytes::from_static(b"new") }));
}

#[tokio::test(start_paused = true)]
async fn events_that_overtake_the_answer_to_the_login_are_kept() {
    let (server, incoming) = mpsc::unbounded_channel();
    let (did_sender, mut did) = mpsc::unbounded_channel();
    let mut link = Link::new(Script { incoming, did: did_sender, full: Arc::default() });
    server.send((Lane::Normal, draining(1).to_frame())).unwrap();
    let head = Head::Reply { request_id: 1, outcome: Outcome::Ok };
    server.send((Lane::Control, frame::encode(&head, &logged_in()))).unwrap();
    let answer = link.greet(&login()).await.unwrap();
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(1, Login::INFO.opcode)])));
    let (queue, mut events) = events::queue(1, None);
    let (driver, _controls) = Driver::new(
        link,
        &answer.into(),
        Tracker::new(UserId::new("alice").unwrap()),
        queue,
        None,
        Instant::now(),
    );
    tokio::spawn(driver.run());
    assert_eq!(events.recv().await, Some(Event::Draining(draining(1))));
}

#[tokio::test(start_paused = true)]
async fn a_login_without_answer_is_given_up_after_the_greeting_deadline() {
    let (_server, incoming) = mpsc::unbounded_channel();
    let (did, _did) = mpsc::unbounded_channel();
    let mut link = Link::new(Script { incoming, did, full: Arc::default() });
    let start = Instant::now();
    assert_eq!(link.greet(&login()).await, Err(Cause::TimedOut));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_takes_long_holds_no_other_call_up() {
    let Stage { client, mut did, server, .. } = stage(8);
    let mut late = Box::pin(client.call(Ping {}));
    assert!((&mut late).now_or_never().is_none());
    assert!(matches!(did.recv().await, Some(Did::Wrote(Lane::Control, _))));
    for request_id in 3..100 {
        let answer = async {
            assert!(matches!(did.recv().await, Some(Did::Wrote(Lane::Control, _))), "{request_id}");
            let head = Head::Reply { request_id, outcome: Outcome::Ok };
            server.send((Lane::Control, frame::encode(&head, &Pong { time: Timestamp(0) }))).unwrap();
        };
        let (answered, ()) = tokio::join!(client.call(Ping {}), answer);
        assert!(answered.is_ok(), "{request_id}: {answered:?}");
    }
}
