//! A server that goes away with a thousand clients on it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use quail_client::{Client, Events, TokenError};
use quail_protocol::{
    Event,
    message::{Sent, Text},
};
use quail_tests::{Carrier, process::Process};
use tokio::time::Instant;

use crate::process::QUAIL;

const CLIENTS: usize = 1000;

/// Logins that a client may need to get over a restart. The waits before them grow, so that even a server that takes
/// half a minute to come back sees no more of each client.
const TRIES_MAX: usize = 8;

/// One in so many clients comes by WebSocket.
const WEBSOCKETS: usize = 10;

/// Nothing takes longer, or it failed.
const PATIENCE: Duration = Duration::from_secs(120);

struct Guest {
    client: Client,
    events: Events,
    logins: Arc<AtomicUsize>,
    heard: Vec<String>,
}

fn name(number: usize) -> String {
    format!("guest{number}")
}

/// Waits for all of them, some dozens at a time.
async fn all<T>(each: impl Iterator<Item = impl Future<Output = anyhow::Result<T>>>) -> Vec<T> {
    let together = stream::iter(each).buffer_unordered(64).try_collect();
    tokio::time::timeout(PATIENCE, together).await.expect("it happened in time").unwrap()
}

/// The same, all at once.
async fn at_once<T>(each: impl Iterator<Item = impl Future<Output = anyhow::Result<T>>>) -> Vec<T> {
    let together = futures_util::future::try_join_all(each);
    tokio::time::timeout(PATIENCE, together).await.expect("it happened in time").unwrap()
}

async fn connect(server: &Process, endpoint: &quinn::Endpoint, number: usize) -> anyhow::Result<Guest> {
    let carrier = if number.is_multiple_of(WEBSOCKETS) { Carrier::WebSocket } else { Carrier::Quic };
    let (token, logins) = (server.token(&name(number)), Arc::new(AtomicUsize::new(0)));
    let counter = logins.clone();
    let token = move || {
        counter.fetch_add(1, Ordering::AcqRel);
        let token = token.clone();
        async move { Ok::<_, TokenError>(token) }
    };
    let builder = server.client_over(carrier, &name(number)).endpoint(endpoint.clone());
    let builder = builder.token_with(token).call_timeout(PATIENCE);
    // The first connect is tried once, and a machine that is busy with other tests may be too slow for its deadline.
    loop {
        if let Ok((client, events)) = builder.clone().connect().await {
            logins.store(0, Ordering::Release);
            return Ok(Guest { client, events, logins, heard: vec![] });
        }
    }
}

impl Guest {
    /// Sends to the next in the round.
    async fn send(&self, number: usize, text: &str) -> anyhow::Result<Sent> {
        Ok(self.client.peer(name((number + 1) % CLIENTS))?.send(text).await?)
    }

    /// Hears until `count` messages are there.
    async fn hear(&mut self, count: usize) -> anyhow::Result<()> {
        while self.heard.len() < count {
            match self.events.recv().await {
                Some(Event::MessageSent(message)) => {
                    self.heard.push(Text::decode(&message.content.body)?.text);
                }
                Some(Event::Draining(_)) => {}
                other => anyhow::bail!("not a message: {other:?}"),
            }
        }
        Ok(())
    }
}

async fn everybody_comes_back(leave: fn(Process)) {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let server = Process::start(Path::new(QUAIL), &data);
    let addresses = [server.quic, server.websocket];
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut guests = all((0..CLIENTS).map(|number| connect(&server, &endpoint, number))).await;
    guests.sort_by_key(|guest| guest.client.user_id().as_str()["guest".len()..].parse::<usize>().unwrap());
    at_once(guests.iter().enumerate().map(|(number, guest)| guest.send(number, "before"))).await;
    at_once(guests.iter_mut().map(|guest| guest.hear(1))).await;

    // Half of the sends meet a server that goes, the others none.
    let during = stream::iter(guests.iter().enumerate());
    let during = during.map(|(number, guest)| guest.send(number, "during")).buffer_unordered(CLIENTS);
    let restart = async {
        tokio::task::spawn_blocking(move || leave(server)).await.unwrap();
        tokio::task::spawn_blocking(move || Process::start_at(Path::new(QUAIL), &data, addresses, ""))
            .await
            .unwrap()
    };
    let start = Instant::now();
    let both = async { tokio::join!(during.try_collect::<Vec<_>>(), restart) };
    let (sent, server) = tokio::time::timeout(PATIENCE, both).await.expect("it happened in time");
    assert_eq!(sent.unwrap().len(), CLIENTS);
    let after = guests.iter().enumerate().map(|(number, guest)| guest.send(number, "after"));
    at_once(after).await;
    at_once(guests.iter_mut().map(|guest| guest.hear(3))).await;
    let took = start.elapsed();
    for guest in &guests {
        assert_eq!(guest.heard, ["before", "during", "after"], "{}", guest.client.user_id());
    }

    let mut tries: Vec<_> = guests.iter().map(|guest| guest.logins.load(Ordering::Acquire)).collect();
    tries.sort_unstable();
    let (all, most) = (tries.iter().sum::<usize>(), tries[CLIENTS - 1]);
    println!(
        "{CLIENTS} clients came back in {took:.1?}: {:.2} logins each, {} at the median, {most} at most",
        all as f64 / CLIENTS as f64,
        tries[CLIENTS / 2],
    );
    assert!(most <= TRIES_MAX, "{most} tries");
    at_once(guests.iter().map(|guest| async {
        guest.client.close().await;
        Ok(())
    }))
    .await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_come_back_to_a_server_that_was_killed() {
    everybody_comes_back(Process::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_come_back_to_a_server_that_was_stopped() {
    everybody_comes_back(Process::stop).await;
}
