//! Visitors who become users, and those who do not.

use quail_protocol::{
    Conversation,
    conversation::{Conversations, Sync},
    message::History,
    session::Visit,
};

use super::{
    comeback::{Next, comeback, connection, dial, message},
    *,
};
use crate::{
    builder::CarrierKind, client::Becoming, dialer::Dialer, error::ConnectError, greeting::Greeting,
    trust::Trust,
};

/// A visitor's side of a connection.
fn visit(comeback: Option<Comeback>) -> Stage {
    let (server, incoming) = mpsc::unbounded_channel();
    let (did_sender, did) = mpsc::unbounded_channel();
    let full = Arc::default();
    let link = Link::new(Script { incoming, did: did_sender, full: Arc::clone(&full) });
    let (queue, events) = events::queue(8, None);
    let visitor = UserId::new("visitor:1").unwrap();
    let mut tracker = Tracker::new(visitor.clone());
    tracker.visiting(Timestamp(0));
    let (driver, controls) = Driver::new(link, &greeted(), tracker, queue, comeback, Instant::now());
    tokio::spawn(driver.run());
    let Login { app, client, .. } = login();
    let dialer = Dialer {
        address: "nowhere:1".into(),
        trust: Trust::default(),
        carrier: CarrierKind::Quic,
        endpoint: None,
        tcp: Default::default(),
        connect_timeout: Duration::from_secs(1),
        greeting: Greeting::Visit(Visit { revision: 1, app, client, stream_window_bytes: 0 }),
    };
    let becoming = Becoming { dialer, login: login() };
    let ids = MessageIds::new([0; 32]);
    let client = Client::new(visitor, ids, Duration::from_secs(15), controls, None, Some(Arc::new(becoming)));
    Stage { client, events, server, did, full }
}

/// Begins to log in as alice.
fn log_in(visitor: &Client) -> Pin<Box<dyn Future<Output = Result<Client, ConnectError>> + '_>> {
    let mut login = Box::pin(visitor.log_in("alice", || async { Ok("t".to_owned()) }));
    assert!((&mut login).now_or_never().is_none());
    login
}

fn wrote<O: Operation>(request_id: u32) -> Option<Did> {
    Some(Did::Wrote(Lane::Control, vec![(request_id, O::INFO.opcode)]))
}

fn answer<B: serde::Serialize>(server: &mpsc::UnboundedSender<(Lane, Bytes)>, request_id: u32, body: &B) {
    let head = Head::Reply { request_id, outcome: Outcome::Ok };
    server.send((Lane::Control, frame::encode(&head, body))).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_visitor_asks_for_no_conversations_before_they_are_a_user_and_then_for_those_the_login_did_not_bring()
 {
    let Stage { client, events: _events, mut did, server, .. } = visit(None);
    let login = log_in(&client);
    assert_eq!(did.recv().await, wrote::<Login>(2), "nothing that a visitor is refused");
    let next = Some(Conversation::Peer(UserId::new("bob").unwrap()));
    let conversations = Conversations { next, ..Conversations::default() };
    answer(&server, 2, &LoggedIn { conversations, ..logged_in() });
    login.await.unwrap();
    assert_eq!(did.recv().await, wrote::<Sync>(3));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_overtakes_the_answer_to_a_visitors_login_leaves_no_hole_unseen() {
    let Stage { client, mut events, mut did, server, .. } = visit(None);
    let login = log_in(&client);
    assert_eq!(did.recv().await, wrote::<Login>(2));
    server.send((Lane::Normal, message(1).to_frame())).unwrap();
    assert!(matches!(events.recv().await, Some(Event::MessageSent(_))));
    answer(&server, 2, &logged_in());
    login.await.unwrap();
    server.send((Lane::Normal, message(3).to_frame())).unwrap();
    assert_eq!(did.recv().await, wrote::<History>(3), "the second");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_nobody_waits_for_any_more_makes_no_user_of_a_visitor() {
    let (next, Next { did: mut next_did, server: _next_server }) = connection(7);
    let (dial, _) = dial(vec![next]);
    let Stage { client, mut did, server, full, .. } = visit(comeback(dial));
    full.lock().unwrap().push(Lane::Control);
    let ping = client.call(Ping {});
    tokio::pin!(ping);
    assert!((&mut ping).now_or_never().is_none());
    tokio::task::yield_now().await;
    drop(log_in(&client));
    full.lock().unwrap().clear();
    server.send((Lane::Normal, draining(1).to_frame())).unwrap();
    assert_eq!(did.recv().await, wrote::<Ping>(2), "and no login behind it");
    answer(&server, 2, &Pong { time: Timestamp(0) });
    ping.await.unwrap();

    let login = log_in(&client);
    assert_eq!(did.recv().await, wrote::<Login>(3));
    drop(login);
    answer(&server, 3, &logged_in());
    assert_eq!(did.recv().await, Some(Did::Closed(Close::LoggedOut)), "the user's session");
    let mut states = client.states();
    while states.changed().await != Some(State::Connected) {}
    assert_eq!(client.session(), SessionId([7; 16]), "as a visitor");
    let login = log_in(&client);
    assert_eq!(next_did.recv().await, wrote::<Login>(2));
    drop(login);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_not_written_when_the_connection_was_lost_is_written_on_the_next() {
    let (next, Next { did: mut next_did, server: next_server }) = connection(7);
    let (dial, _) = dial(vec![next]);
    let Stage { client, server, full, .. } = visit(comeback(dial));
    full.lock().unwrap().push(Lane::Control);
    let ping = client.call(Ping {});
    tokio::pin!(ping);
    assert!((&mut ping).now_or_never().is_none());
    tokio::task::yield_now().await;
    let login = log_in(&client);
    tokio::task::yield_now().await;
    drop(server);
    let numbers = vec![(2, Ping::INFO.opcode), (3, Login::INFO.opcode)];
    assert_eq!(next_did.recv().await, Some(Did::Wrote(Lane::Control, numbers)));
    answer(&next_server, 3, &logged_in());
    assert_eq!(login.await.unwrap().user_id().as_str(), "alice");
}
