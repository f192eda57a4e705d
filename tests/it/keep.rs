//! An app that is started again with the same storage.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::Path,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use quail_client::{
    Client, ConnectError, Events, Outgoing,
    storage::{Entry, File, Memory, Storage},
};
use quail_protocol::{
    Priority,
    message::{Message, Text},
};
use quail_tests::{Carrier, Town, next_message, within};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

const MESSAGES: u32 = 400;

/// A storage that tells when the client has seen all conversations.
struct Watched {
    inner: Box<dyn Storage>,
    synced: watch::Sender<bool>,
}

impl Storage for Watched {
    fn load(&mut self) -> io::Result<Vec<Entry>> {
        self.inner.load()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.inner.put(key, value)?;
        if key == b"synced" {
            self.synced.send_replace(true);
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> io::Result<()> {
        self.inner.remove(key)
    }
}

/// Opens the same storage at each start.
type Shelf = Box<dyn Fn() -> Box<dyn Storage>>;

fn shelves(directory: &Path) -> [Shelf; 2] {
    let (memory, path) = (Memory::default(), directory.join("bob.quail"));
    [
        Box::new(move || Box::new(memory.clone())),
        Box::new(move || Box::new(File::open(&path).expect("a storage that is free"))),
    ]
}

/// An app of `user` that starts.
async fn start(town: &Town, carrier: Carrier, user: &str, shelf: &Shelf) -> (Client, Events) {
    let storage = Watched { inner: shelf(), synced: watch::Sender::default() };
    within(town.client(carrier, user).storage(storage).connect()).await.unwrap()
}

/// The first run of an app, up to when it knows what there is.
async fn first_run(town: &Town, carrier: Carrier, user: &str, shelf: &Shelf) {
    let (synced, mut seen) = watch::channel(false);
    let storage = Watched { inner: shelf(), synced };
    let (client, events) = within(town.client(carrier, user).storage(storage).connect()).await.unwrap();
    within(seen.wait_for(|synced| *synced)).await.unwrap();
    within(client.close()).await;
    drop(events);
}

fn number(message: &Message) -> u32 {
    Text::decode(&message.content.body).unwrap().text.parse().unwrap()
}

fn priority(number: u32) -> Priority {
    match number % 7 {
        0 => Priority::High,
        3 | 4 => Priority::Low,
        _ => Priority::Normal,
    }
}

async fn send_numbers(client: Client) {
    let bob = client.peer("bob").unwrap();
    for first in (0..MESSAGES).step_by(20) {
        let sends = (first..first + 20).map(|i| bob.message(i.to_string()).priority(priority(i)).send());
        futures_util::future::try_join_all(sends).await.unwrap();
    }
}

/// What an app has seen over its runs.
#[derive(Default)]
struct Seen {
    numbers: BTreeSet<u32>,
    last: [Option<u32>; Priority::COUNT],
    /// What it had in hand when it was killed.
    in_hand: HashSet<u32>,
}

impl Seen {
    fn saw(&mut self, number: u32) {
        if self.numbers.insert(number) {
            let last = self.last[priority(number).index()].replace(number);
            assert!(last < Some(number), "{number} after {last:?}");
        } else {
            assert!(self.in_hand.remove(&number), "{number} came again");
        }
    }
}

async fn is_restarted(town: &Town, carrier: Carrier, shelf: &Shelf, kills: bool, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    first_run(town, carrier, "bob", shelf).await;
    let (alice, _to_alice) = town.connect(carrier, "alice").await;
    let sending = tokio::spawn(send_numbers(alice.clone()));
    let (mut seen, mut runs) = (Seen::default(), 0);
    while seen.numbers.len() < MESSAGES as usize {
        runs += 1;
        let (bob, mut to_bob) = start(town, carrier, "bob", shelf).await;
        let mut in_hand = None;
        for _ in 0..random.random_range(0..60) {
            if seen.numbers.len() == MESSAGES as usize {
                break;
            }
            let message = next_message(&mut to_bob).await;
            seen.saw(number(&message));
            in_hand = Some(number(&message));
        }
        if kills && random.random_bool(0.7) {
            seen.in_hand.extend(in_hand);
        } else {
            within(bob.close()).await;
            if random.random_bool(0.5) {
                while let Some(message) = within(to_bob.recv()).await {
                    let quail_protocol::Event::MessageSent(message) = message else { panic!("{message:?}") };
                    seen.saw(number(&message));
                }
            }
        }
        drop((bob, to_bob));
    }
    within(sending).await.unwrap();
    assert!(runs > 2, "{runs}");
    // What was in hand at the last kill may come once more, and nothing else.
    let (_bob, mut to_bob) = start(town, carrier, "bob", shelf).await;
    alice
        .peer("bob")
        .unwrap()
        .message(MESSAGES.to_string())
        .priority(priority(MESSAGES))
        .send()
        .await
        .unwrap();
    while !seen.numbers.contains(&MESSAGES) {
        seen.saw(number(&next_message(&mut to_bob).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_ends_cleanly_sees_each_message_once() {
    for (seed, carrier) in (1..).zip(Carrier::ALL) {
        let directory = tempfile::tempdir().unwrap();
        for shelf in shelves(directory.path()) {
            let town = Town::new().await;
            is_restarted(&town, carrier, &shelf, false, seed).await;
            town.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_killed_sees_again_only_what_it_had_in_hand() {
    for (seed, carrier) in (1..).zip(Carrier::ALL) {
        let directory = tempfile::tempdir().unwrap();
        for shelf in shelves(directory.path()) {
            let town = Town::new().await;
            is_restarted(&town, carrier, &shelf, true, seed).await;
            town.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_messages_of_a_killed_app_arrive_once_when_they_are_sent_again() {
    for carrier in Carrier::ALL {
        let directory = tempfile::tempdir().unwrap();
        for shelf in shelves(directory.path()) {
            let town = Town::new().await;
            let (_bob, mut to_bob) = town.connect(carrier, "bob").await;
            let (alice, to_alice) = start(&town, carrier, "alice", &shelf).await;
            let bob = alice.peer("bob").unwrap();
            let mut sends: FuturesUnordered<_> =
                (0..200).map(|i| bob.message(i.to_string()).priority(priority(i)).send()).collect();
            for _ in 0..50 {
                within(sends.next()).await.unwrap().unwrap();
            }
            let mut answered = 50;
            while let Some(Some(sent)) = sends.next().now_or_never() {
                sent.unwrap();
                answered += 1;
            }
            drop((sends, bob, alice, to_alice));

            let (alice, _to_alice) = start(&town, carrier, "alice", &shelf).await;
            let unsent = alice.unsent();
            assert_eq!(unsent.len(), 200 - answered);
            let sent = futures_util::future::try_join_all(unsent.into_iter().map(Outgoing::send));
            within(sent).await.unwrap();
            assert!(alice.unsent().is_empty());
            let mut heard = BTreeSet::new();
            for _ in 0..200 {
                assert!(heard.insert(number(&next_message(&mut to_bob).await)), "once");
            }
            alice.peer("bob").unwrap().send("200").await.unwrap();
            assert_eq!(number(&next_message(&mut to_bob).await), 200, "nothing else came");
            town.stop().await;
        }
    }
}

#[tokio::test]
async fn a_message_that_is_given_up_is_forgotten() {
    let (town, shelf) = (Town::new().await, &shelves(Path::new(""))[0]);
    let (alice, to_alice) = start(&town, Carrier::Quic, "alice", shelf).await;
    let bob = alice.peer("bob").unwrap();
    let refused = within(bob.send("")).await.unwrap_err();
    let begun = [bob.message("1"), bob.message("2")];
    let ids = begun.each_ref().map(Outgoing::id);
    for message in begun {
        assert!(message.send().now_or_never().is_none());
    }
    drop((alice, bob, to_alice, refused));
    let (alice, _to_alice) = start(&town, Carrier::Quic, "alice", shelf).await;
    let unsent = alice.unsent();
    assert_eq!(
        unsent.iter().map(Outgoing::id).collect::<Vec<_>>(),
        ids,
        "what was refused is not among them"
    );
    for message in unsent {
        message.forget();
    }
    assert!(alice.unsent().is_empty());
}

#[tokio::test]
async fn what_strangers_sent_while_the_app_was_away_is_told_and_what_was_there_before_is_not() {
    for carrier in Carrier::ALL {
        let directory = tempfile::tempdir().unwrap();
        for shelf in shelves(directory.path()) {
            let town = Town::new().await;
            let (alice, _to_alice) = town.connect(carrier, "alice").await;
            alice.peer("bob").unwrap().send("1000").await.unwrap();
            first_run(&town, carrier, "bob", &shelf).await;
            let strangers = ["carol", "dave"];
            for name in strangers {
                let (stranger, _events) = town.connect(carrier, name).await;
                let bob = stranger.peer("bob").unwrap();
                for i in 0..8 {
                    bob.message(i.to_string()).priority(priority(i)).send().await.unwrap();
                }
            }
            alice.peer("bob").unwrap().send("1001").await.unwrap();
            let (bob, mut to_bob) = start(&town, carrier, "bob", &shelf).await;
            let mut heard = vec![];
            for _ in 0..17 {
                let message = next_message(&mut to_bob).await;
                heard.push((message.sender.as_str().to_owned(), number(&message)));
            }
            for name in strangers {
                let of_stranger = heard.iter().filter(|(sender, _)| sender == name);
                assert!(of_stranger.map(|(_, number)| *number).eq(0..8), "{heard:?}");
            }
            assert!(heard.contains(&("alice".into(), 1001)));
            let listed = within(bob.conversations(None)).await.unwrap();
            assert_eq!((listed.conversations.len(), listed.next), (3, None));
            town.stop().await;
        }
    }
}

#[tokio::test]
async fn the_storage_of_another_is_refused() {
    let (town, memory) = (Town::new().await, Memory::default());
    let of = |user| town.client(Carrier::Quic, user).storage(memory.clone());
    let (alice, to_alice) = within(of("alice").device("phone").connect()).await.unwrap();
    within(alice.close()).await;
    drop((alice, to_alice));
    for other in [of("bob").device("phone"), of("bob"), of("alice").device("laptop")] {
        let refused = within(other.connect()).await.unwrap_err();
        assert!(matches!(refused, ConnectError::ForeignStorage { .. }), "{refused}");
    }
    within(of("alice").connect()).await.unwrap();
    let shared = of("alice");
    let first = within(shared.clone().connect()).await.unwrap();
    let refused = within(shared.clone().connect()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Storage(_)), "{refused}");
    drop(first);
    within(shared.connect()).await.unwrap();
}
