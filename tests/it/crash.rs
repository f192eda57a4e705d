//! What was acknowledged is there after the server was killed at any moment.
//!
//! The acks are logged here, in the process that is not killed. `CRASH_ROUNDS=50 cargo test -p quail-tests --test
//! it crash` kills more often than the default.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use quail_client::{CallError, Cause, Client, Reconnect};
use quail_protocol::{
    Conversation, Position, Priority, Seq,
    id::{ClientMessageId, UserId},
    limits::HISTORY_ENTRIES_MAX,
    message::{Ack, Content, Direction, History, Message, MessageKind, Send, Text},
    session::Ping,
};
use quail_tests::{process::Process, within};
use tokio::task::JoinSet;

const ROUNDS: usize = 8;
const SENDERS: usize = 4;
const IN_FLIGHT: usize = 4;
const ACKS_MIN: usize = 100;

/// What this process knows of the sends of one sender.
#[derive(Default)]
struct Log {
    acked: HashMap<ClientMessageId, (Position, String)>,
    unanswered: HashMap<ClientMessageId, String>,
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quail-under-test"))
}

fn text_of(sender: usize, round: usize, number: usize) -> String {
    // Now and then a long one, so that a batch spans many pages.
    let padding = if number.is_multiple_of(17) { 20_000 } else { number % 300 };
    format!("{sender}/{round}/{number} {}", "x".repeat(padding))
}

fn send(sender: usize, id: ClientMessageId, text: &str) -> Send {
    Send {
        conversation: Conversation::Peer(UserId::new(format!("sink-{sender}")).unwrap()),
        id,
        priority: Priority::ALL[id.0[15] as usize % 4],
        content: Content::new(MessageKind::Text, Text::encode(text).unwrap()),
    }
}

/// Sends until the connection ends.
async fn keep_sending(
    client: Client,
    sender: usize,
    lane: usize,
    round: usize,
    log: Arc<Mutex<Log>>,
    acks: Arc<AtomicUsize>,
) {
    for number in (lane..).step_by(IN_FLIGHT) {
        let time = client.server_time().0;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&((round * 1_000_000 + number) as u64).to_be_bytes());
        random[9] = number as u8;
        let id = ClientMessageId::at(time, random);
        let text = text_of(sender, round, number);
        log.lock().unwrap().unanswered.insert(id, text.clone());
        let Ok(sent) = client.call(send(sender, id, &text)).await else { return };
        assert_eq!(sent.ack, Ack::Durable);
        let mut log = log.lock().unwrap();
        log.unanswered.remove(&id);
        log.acked.insert(id, (sent.position, text));
        acks.fetch_add(1, Ordering::AcqRel);
    }
}

async fn read_all(client: &Client, sender: usize) -> Vec<Message> {
    let conversation = Conversation::Peer(UserId::new(format!("sink-{sender}")).unwrap());
    let (mut messages, mut from) = (vec![], Seq(1));
    loop {
        let limit = HISTORY_ENTRIES_MAX as u16;
        let query = History {
            conversation: conversation.clone(),
            from,
            to: Seq(u64::MAX),
            limit,
            direction: Direction::Forwards,
        };
        let page = within(client.call(query)).await.unwrap();
        messages.extend(page.messages.into_vec());
        let Some(next) = page.next else { return messages };
        from = next;
    }
}

/// Everything acknowledged is there once, at its place, as it was sent; what was not answered is there once or not.
fn check(log: &Log, messages: &[Message]) {
    let mut places = BTreeMap::<ClientMessageId, Vec<&Message>>::new();
    for (message, seq) in messages.iter().zip(1..) {
        assert_eq!(message.position.seq, Seq(seq), "numbers are dense");
        places.entry(message.client_id).or_default().push(message);
    }
    let text = |message: &Message| Text::decode(&message.content.body).unwrap().text;
    for (id, (position, sent)) in &log.acked {
        let found = places.remove(id).unwrap_or_default();
        assert_eq!(found.len(), 1, "{id} was acknowledged at {position:?}");
        assert_eq!((found[0].position, &text(found[0])), (*position, sent), "{id}");
    }
    for (id, found) in places {
        assert_eq!(found.len(), 1, "{id}");
        assert_eq!(log.unanswered.get(&id), Some(&text(found[0])), "{id} was never sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_message_outlives_a_kill() {
    let rounds = std::env::var("CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let logs: Vec<_> = (0..SENDERS).map(|_| Arc::new(Mutex::new(Log::default()))).collect();
    let (mut all_acks, mut all_unanswered) = (0, 0);
    for round in 0..=rounds {
        let server = Process::start(binary(), &data);
        for (sender, log) in logs.iter().enumerate() {
            let (client, _events) =
                within(server.client(&format!("sender-{sender}")).connect()).await.unwrap();
            let messages = read_all(&client, sender).await;
            check(&log.lock().unwrap(), &messages);
            within(client.close()).await;
        }
        if round == rounds {
            break;
        }
        let acks = Arc::new(AtomicUsize::new(0));
        let unanswered = || logs.iter().map(|log| log.lock().unwrap().unanswered.len()).sum::<usize>();
        let unanswered_before = unanswered();
        let mut sending = JoinSet::new();
        for (sender, log) in logs.iter().enumerate() {
            let (client, _events) =
                within(server.client(&format!("sender-{sender}")).connect()).await.unwrap();
            for lane in 0..IN_FLIGHT {
                sending.spawn(keep_sending(client.clone(), sender, lane, round, log.clone(), acks.clone()));
            }
        }
        // Where in a batch the kill falls is left to the machine; how many acks come before differs by round.
        let enough = ACKS_MIN + round * 37 % 400;
        let reached = async {
            while acks.load(Ordering::Acquire) < enough {
                tokio::task::yield_now().await;
            }
        };
        within(reached).await;
        server.kill();
        // A client would only learn of the death by silence. Whatever it was not told by now is unanswered.
        sending.shutdown().await;
        let cut_off = unanswered() - unanswered_before;
        assert!(cut_off > 0, "round {round} cut no send off");
        all_acks += acks.load(Ordering::Acquire);
        all_unanswered += cut_off;
    }
    println!("{rounds} kills, {all_acks} acks, {all_unanswered} sends unanswered");
}

#[tokio::test]
async fn each_commit_is_synced_before_its_ack() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let server = Process::start(binary(), &directory.path().join("data"));
    let process_id = server.id().to_string();
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-p", &process_id, "-o"])
        .arg(&trace)
        .spawn()
        .expect("strace is installed");
    let (alice, _events) = within(server.client("alice").connect()).await.unwrap();
    let syncs = || {
        let traced = std::fs::read_to_string(&trace).unwrap();
        traced.lines().filter(|line| line.ends_with("= 0")).count()
    };
    let bob = alice.peer("bob").unwrap();
    // Until the tracer has attached itself, commits go unseen.
    let attached = async {
        while !std::fs::exists(&trace).unwrap() || syncs() == 0 {
            bob.send("are you there?").await.unwrap();
        }
    };
    within(attached).await;
    for i in 0..100 {
        let before = syncs();
        within(bob.send(i.to_string())).await.unwrap();
        assert!(syncs() > before, "send {i} was acknowledged without a sync");
    }
    drop(server);
    strace.wait().expect("strace ends with the server");
}

#[tokio::test]
async fn clients_of_a_server_that_was_killed_learn_it_from_its_successor_and_not_by_silence() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Process::start(binary(), &data);
    let ports = [server.quic, server.websocket];
    let (client, _events) =
        within(server.client("alice").reconnect(Reconnect::off()).connect()).await.unwrap();
    server.kill();
    let _successor = Process::start_at(binary(), &data, ports, "");
    let ended = loop {
        if let Err(error) = within(client.call(Ping {})).await {
            break error;
        }
    };
    // A client that only sees silence says `TimedOut`.
    assert!(matches!(ended, CallError::Disconnected(Cause::Interrupted)), "{ended:?}");
}
