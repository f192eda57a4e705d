//! A server that goes away and comes back, and a client that gets over it by itself.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quail_client::{Builder, CallError, Cause, Client, Events, Reconnect, State, States, TokenError};
use quail_protocol::{
    Event, Priority,
    message::{Ack, Text},
    session::Ping,
};
use quail_tests::{Carrier, FAST, Town, next_message, process::Process, within};
use tokio::{net::TcpStream, sync::watch};

use crate::process::{ANYWHERE, Process as Command, QUAIL, quail};

const MESSAGES: u32 = 200;

/// A killed server says nothing: its clients and its successor find out by silence.
const QUICK: &str = "[session]\nidle_timeout = \"3s\"\nwrite_timeout = \"2s\"\n";

fn start(data: &Path, addresses: [SocketAddr; 2]) -> Process {
    Process::start_at(Path::new(QUAIL), data, addresses, QUICK)
}

fn anywhere() -> [SocketAddr; 2] {
    [SocketAddr::from(([127, 0, 0, 1], 0)); 2]
}

fn addresses(server: &Process) -> [SocketAddr; 2] {
    [server.quic, server.websocket]
}

fn soon() -> Reconnect {
    Reconnect::within([Duration::from_millis(100)])
}

/// Counts the logins that are tried.
fn counted(builder: Builder, token: String, tries: &Arc<AtomicUsize>) -> Builder {
    let tries = tries.clone();
    builder.reconnect(soon()).token_with(move || {
        tries.fetch_add(1, Ordering::AcqRel);
        let token = token.clone();
        async move { Ok::<_, TokenError>(token) }
    })
}

async fn number(events: &mut Events) -> u32 {
    loop {
        match within(events.recv()).await {
            Some(Event::MessageSent(message)) => {
                return Text::decode(&message.content.body).unwrap().text.parse().unwrap();
            }
            Some(Event::Draining(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn until(states: &mut States, wanted: impl Fn(State) -> bool) -> State {
    loop {
        let state = states.current();
        if wanted(state) {
            return state;
        }
        within(states.changed()).await.expect("another state");
    }
}

/// Sends the numbers one by one, and lets the server be replaced at the marks.
async fn send_numbers(client: Client, progress: watch::Sender<u32>) {
    let bob = client.peer("bob").unwrap();
    for i in 0..MESSAGES {
        let sent = within(bob.send(i.to_string())).await.expect("every send succeeds in the end");
        assert_eq!((sent.ack, sent.position.seq.0), (Ack::Durable, u64::from(i) + 1));
        progress.send_replace(i);
    }
}

async fn survives(end: fn(Process), carriers: [Carrier; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = start(&data, anywhere());
    let address = addresses(&server);
    let (alice_tries, bob_tries) = (Arc::default(), Arc::default());
    let alice = counted(server.client_over(carriers[0], "alice"), server.token("alice"), &alice_tries);
    let bob = counted(server.client_over(carriers[1], "bob"), server.token("bob"), &bob_tries);
    let (alice, _to_alice) = within(alice.connect()).await.unwrap();
    let (bob, mut to_bob) = within(bob.connect()).await.unwrap();
    let (alice_session, bob_session) = (alice.session(), bob.session());
    let (progress, mut reached) = watch::channel(0);
    let sending = tokio::spawn(send_numbers(alice.clone(), progress));
    let collecting = tokio::spawn(async move {
        let mut heard = vec![];
        while heard.len() < MESSAGES as usize {
            heard.push(number(&mut to_bob).await);
        }
        (heard, to_bob)
    });
    for mark in [50, 120] {
        within(reached.wait_for(|sent| *sent >= mark)).await.unwrap();
        let data = data.clone();
        let replace = move || {
            end(server);
            start(&data, address)
        };
        server = tokio::task::spawn_blocking(replace).await.unwrap();
    }
    within(sending).await.unwrap();
    let (heard, mut to_bob) = within(collecting).await.unwrap();
    assert_eq!(heard, (0..MESSAGES).collect::<Vec<_>>());
    assert!(alice.session() != alice_session && bob.session() != bob_session, "a reconnect is a login");
    for tries in [alice_tries, bob_tries] {
        let tries: usize = tries.load(Ordering::Acquire);
        assert!((2..=30).contains(&tries), "{tries} logins");
    }
    alice.peer("bob").unwrap().send("7").await.unwrap();
    assert_eq!(number(&mut to_bob).await, 7, "nothing came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_costs_no_message_and_repeats_none() {
    survives(Process::kill, [Carrier::Quic, Carrier::Quic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_replaced_costs_no_message_and_repeats_none() {
    survives(Process::stop, [Carrier::Quic, Carrier::Quic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket_a_killed_server_costs_nothing_either() {
    survives(Process::kill, [Carrier::WebSocket, Carrier::WebSocket]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_server_costs_nothing_between_carriers() {
    survives(Process::stop, [Carrier::WebSocket, Carrier::Quic]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_under_way_at_the_end_of_a_server_keep_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = start(&data, anywhere());
    let address = addresses(&server);
    let (alice, _to_alice) = within(server.client("alice").reconnect(soon()).connect()).await.unwrap();
    let (_bob, mut to_bob) = within(server.client("bob").reconnect(soon()).connect()).await.unwrap();
    let bob = alice.peer("bob").unwrap();
    bob.send("0").await.unwrap();
    assert_eq!(number(&mut to_bob).await, 0);
    let sends = (1..1000).map(|i| bob.message(i.to_string()).send());
    let all = tokio::spawn(futures_util::future::join_all(sends));
    for i in 1..50 {
        assert_eq!(number(&mut to_bob).await, i);
    }
    let replace = move || {
        server.kill();
        start(&data, address)
    };
    let _server = tokio::task::spawn_blocking(replace).await.unwrap();
    for i in 50..1000 {
        assert_eq!(number(&mut to_bob).await, i);
    }
    assert!(within(all).await.unwrap().iter().all(Result::is_ok));
}

#[tokio::test]
async fn without_reconnect_the_end_is_the_end() {
    for carrier in Carrier::ALL {
        let town = Town::new().await;
        let client = town.client(carrier, "alice").reconnect(Reconnect::off());
        let (alice, mut events) = within(client.connect()).await.unwrap();
        town.stop().await;
        let mut states = alice.states();
        let state = until(&mut states, |state| state != State::Connected).await;
        assert!(matches!(state, State::Disconnected { cause: Cause::Closed(_) }), "{state:?}");
        assert!(matches!(alice.call(Ping {}).await, Err(CallError::Disconnected(_))));
        while within(events.recv()).await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_in_a_hurry_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = start(&data, anywhere());
    let address = addresses(&server);
    let patient = server.client("alice").reconnect(Reconnect::within([Duration::from_secs(24 * 3600)]));
    let (alice, _events) = within(patient.connect()).await.unwrap();
    let replace = move || {
        server.stop();
        start(&data, address)
    };
    let _server = tokio::task::spawn_blocking(replace).await.unwrap();
    let mut states = alice.states();
    until(&mut states, |state| matches!(state, State::Reconnecting { .. })).await;
    alice.reconnect_now();
    until(&mut states, |state| state == State::Connected).await;
    within(alice.call(Ping {})).await.unwrap();
}

#[tokio::test]
async fn a_client_that_waits_can_be_closed() {
    let town = Town::new().await;
    let (alice, mut events) = town.connect(Carrier::Quic, "alice").await;
    let mut states = alice.states();
    town.stop().await;
    until(&mut states, |state| matches!(state, State::Reconnecting { .. })).await;
    within(alice.close()).await;
    assert_eq!(states.current(), State::Disconnected { cause: Cause::LoggedOut });
    while within(events.recv()).await.is_some() {}
}

#[tokio::test]
async fn a_reader_that_fell_behind_gets_every_message_once_in_order() {
    let town = Town::with(|config| config.session.outbox.lane_items = 4).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let stalled = town.client(Carrier::Quic, "bob").event_capacity(1);
    let (bob, mut to_bob) = within(stalled.connect()).await.unwrap();
    let to = alice.peer("bob").unwrap();
    let padding = " ".repeat(20_000);
    for i in 0..100 {
        let priority = if i % 5 == 0 { Priority::High } else { Priority::Normal };
        to.message(format!("{i}{padding}")).priority(priority).send().await.unwrap();
    }
    let mut heard = [vec![], vec![]];
    for _ in 0..100 {
        let message = next_message(&mut to_bob).await;
        let text = Text::decode(&message.content.body).unwrap().text;
        heard[usize::from(message.priority == Priority::High)].push(text.trim().parse::<u32>().unwrap());
    }
    let (high, normal): (Vec<u32>, Vec<u32>) = (0..100).partition(|i| i % 5 == 0);
    assert_eq!(heard, [normal, high]);
    to.send("live again").await.unwrap();
    assert_eq!(Text::decode(&next_message(&mut to_bob).await.content.body).unwrap().text, "live again");
    within(bob.call(Ping {})).await.unwrap();
}

#[test]
fn a_chat_outlives_its_server() {
    let directory = tempfile::tempdir().unwrap();
    let server = Command::serve(directory.path());
    let address = server.announced("QUIC").trim_end_matches("/udp").to_owned();
    let mut command = quail(directory.path(), ["chat", "--as", "bob", "--to", "alice"]);
    let mut chat = Command::start(command.stdin(Stdio::piped()));
    chat.until("* connected as bob");
    server.signal("TERM");
    assert!(server.end().status.success());
    chat.until("* reconnecting");
    chat.say("are you back?");
    let mut arguments = ANYWHERE;
    arguments[1] = &address;
    let _server = Command::start(&mut quail(directory.path(), arguments));
    chat.until("* connected");
    chat.until("sent as 1");
    chat.say("/quit");
    assert!(chat.end().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_while_a_client_was_away_is_told_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = start(&data, anywhere());
    let address = addresses(&server);
    let away = Reconnect::within([Duration::from_secs(24 * 3600)]);
    let (alice, _to_alice) = within(server.client("alice").reconnect(soon()).connect()).await.unwrap();
    let (bob, mut to_bob) = within(server.client("bob").reconnect(away).connect()).await.unwrap();
    let to = alice.peer("bob").unwrap();
    to.send("0").await.unwrap();
    assert_eq!(number(&mut to_bob).await, 0);
    let replace = move || {
        server.stop();
        start(&data, address)
    };
    let _server = tokio::task::spawn_blocking(replace).await.unwrap();
    for i in 1..=150 {
        within(to.send(i.to_string())).await.unwrap();
    }
    until(&mut bob.states(), |state| matches!(state, State::Reconnecting { .. })).await;
    bob.reconnect_now();
    for i in 1..=150 {
        assert_eq!(number(&mut to_bob).await, i);
    }
}

#[tokio::test]
async fn a_try_that_was_refused_for_now_does_not_log_out() {
    let town = Town::with(|config| {
        config.session.grace = Duration::ZERO;
        config.apps.get_mut(FAST).unwrap().sessions_per_user = 1;
    })
    .await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let laid = lines.clone();
    let client =
        town.client(Carrier::WebSocket, "alice").reconnect(Reconnect::within([Duration::from_secs(3600)]));
    let client = client.tcp_with(move |address| {
        let laid = laid.clone();
        async move {
            let mut tcp = TcpStream::connect(address).await?;
            let (near, mut far) = tokio::io::duplex(64 * 1024);
            let line = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut tcp).await });
            laid.lock().unwrap().push(line.abort_handle());
            Ok(near)
        }
    });
    let (client, _events) = client.connect().await.unwrap();
    let mut states = client.states();
    lines.lock().unwrap()[0].abort();
    until(&mut states, |state| matches!(state, State::Reconnecting { .. })).await;
    within(async {
        while town.metric("quail_sessions").await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (other, _events) = town.connect(Carrier::Quic, "alice").await;
    client.reconnect_now();
    let refused = |state| matches!(state, State::Reconnecting { cause: Cause::LoginRefused(_) });
    until(&mut states, refused).await;
    let ended = |metrics: &str, reason| {
        metrics.contains(&format!("quail_closes_total{{reason=\"client {reason}\"}}"))
    };
    let metrics = within(async {
        loop {
            let metrics = town.metrics().await;
            if ended(&metrics, "Abandoned") || ended(&metrics, "LoggedOut") {
                return metrics;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!ended(&metrics, "LoggedOut"), "{metrics}");
    drop(other);
}
