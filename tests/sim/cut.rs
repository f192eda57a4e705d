//! A connection that is cut behind every message of an exchange, in both directions, once before and once after each
//! commit: the exchange ends complete, in order, and nothing is done twice.
//!
//! A WebSocket message is the least that can arrive of a lane there; over QUIC it is a datagram.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quail_client::{
    Client, Events, Peer,
    protocol::{
        Conversation, Event, Priority, Seq,
        bounded::Text,
        conversation::Mark,
        id::UserId,
        message::{Message, Text as Body},
        user::Update,
    },
};
use quail_server::store::Write;
use quail_tests::{
    Carrier,
    check::check,
    history::{self, Thread, What},
};
use tokio::time::sleep;

use crate::{
    disk::Disk,
    judge::read_everything,
    network::{CutAt, Direction, Network},
    plan::{Device, Plan},
    server::{Flaw, certificate, serve},
    town::{Town, entry, hash},
    world::{Failure, TCP_CAPACITY, simulation},
};

/// How long a disk takes to sync: much less, and longer, than a client takes to come back.
const SYNCS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(5)];

/// No exchange has so many messages.
const MESSAGES_MAX: u32 = 200;

fn device(number: usize, user: &str, carrier: Carrier) -> Device {
    let name = history::Device { user: UserId::new(user).expect("a user id"), name: "phone".into() };
    Device { number, name, carrier, opens: Duration::ZERO, sends: vec![], marks: vec![] }
}

/// Two users and nothing that goes wrong by itself.
fn plan(carrier: Carrier) -> Plan {
    Plan {
        seed: 7,
        devices: vec![device(0, "alice", carrier), device(1, "bob", Carrier::Quic)],
        loss: 0.0,
        duplicates: 0.0,
        latencies: [Duration::from_millis(5); 2],
        sync_max: SYNCS[0],
        idle_timeout: Duration::from_secs(3),
        call_timeout: Duration::from_secs(60),
        grace: Duration::from_secs(30),
        entries_max: None,
        lane_items: None,
        rooms: Default::default(),
        one_session: false,
        watchers: vec![],
        length: Duration::ZERO,
        faults: vec![],
    }
}

/// What one end does in the exchange.
struct Party {
    town: Arc<Town>,
    device: Device,
    client: Client,
    events: Events,
    peer: Peer,
}

impl Party {
    async fn connect(town: &Arc<Town>, number: usize, peer: &str) -> Result<Self, Failure> {
        let device = town.plan.devices[number].clone();
        let (builder, _endpoint) = town.client(&device, 0).await?;
        let (client, events) = loop {
            if let Ok(connected) = builder.clone().connect().await {
                break connected;
            }
            sleep(Duration::from_millis(100)).await;
        };
        town.record(Some(&device.name), What::LoggedIn { session: client.session(), resumed: false });
        let peer = client.peer(peer)?;
        Ok(Self { town: town.clone(), device, client, events, peer })
    }

    async fn send(&self, text: &str, priority: Priority) -> Result<(), Failure> {
        let message = self.peer.message(text).priority(priority);
        let (id, thread) = (message.id(), Thread::of(&self.device.name.user, self.peer.user_id()));
        let hash = hash(&Body::encode(text)?);
        self.record(What::Send { id, thread: thread.clone(), priority, hash });
        let sent = message.send().await?;
        self.record(What::Acked { id, thread, position: sent.position, prev: sent.prev });
        Ok(())
    }

    async fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Event::MessageSent(message) = self.events.recv().await.ok_or("the client ended")? {
                let (thread, entry) = entry(&message);
                self.record(What::Received { thread, entry });
                return Ok(message);
            }
        }
    }

    async fn rename(&self, name: &str) -> Result<(), Failure> {
        let update = Update { name: Some(Text::new(name)?), avatar: None, extension: None };
        let updated = self.client.call(update).await?;
        assert_eq!(updated.profile.name.as_str(), name);
        Ok(())
    }

    async fn mark(&self, message: &Message) -> Result<(), Failure> {
        let (epoch, seq) = (message.position.epoch, message.position.seq);
        let conversation = Conversation::Peer(self.peer.user_id().clone());
        let marked = self.client.call(Mark { conversation, epoch, delivered: seq, read: Seq(1) }).await?;
        assert_eq!((marked.delivered, marked.read), (seq, Seq(1)));
        Ok(())
    }

    fn record(&self, what: What) {
        self.town.record(Some(&self.device.name), what);
    }
}

/// Alice's part: calls one after the other, calls together, and what she is told meanwhile.
async fn alice(town: Arc<Town>) -> Result<(), Failure> {
    let mut alice = Party::connect(&town, 0, "bob").await?;
    alice.send("hello", Priority::High).await?;
    alice.rename("Alice").await?;
    let first = alice.receive().await?;
    alice.mark(&first).await?;
    let together = tokio::join!(
        biased;
        alice.send("one", Priority::Normal),
        alice.send("two", Priority::Low),
        alice.send("three", Priority::Normal),
        alice.rename("Alice A."),
    );
    let (one, two, three, renamed) = together;
    [one, two, three, renamed].into_iter().collect::<Result<(), _>>()?;
    let second = alice.receive().await?;
    let third = alice.receive().await?;
    alice.mark(if second.position > third.position { &second } else { &third }).await?;
    alice.send("bye", Priority::Lowest).await?;
    town.diary().answered[0] = true;
    std::future::pending().await
}

/// Bob answers when he is spoken to.
async fn bob(town: Arc<Town>) -> Result<(), Failure> {
    let mut bob = Party::connect(&town, 1, "alice").await?;
    let mut heard = 0;
    while heard < 5 {
        bob.receive().await?;
        heard += 1;
        match heard {
            1 => bob.send("hello yourself", Priority::Normal).await?,
            4 => {
                bob.send("I see", Priority::High).await?;
                bob.send("indeed", Priority::Lowest).await?;
            }
            _ => {}
        }
    }
    town.diary().answered[1] = true;
    std::future::pending().await
}

/// Runs the exchange. False if it had no place for the cut.
fn exchange(carrier: Carrier, sync: Duration, cut: CutAt) -> Result<bool, Failure> {
    let mut plan = plan(carrier);
    plan.sync_max = sync;
    let network = Network::new(plan.seed, 0.0, 0.0);
    network.cut_at(0, cut);
    let disk = Disk::exact(sync);
    let town = Arc::new(Town::new(plan, network.clone(), certificate().fingerprint));
    let mut sim = simulation(town.plan.seed, town.plan.latencies[0]..=town.plan.latencies[0], TCP_CAPACITY);
    sim.host("server", {
        let (town, disk) = (town.clone(), disk.clone());
        move || serve(town.clone(), disk.clone(), Flaw::NONE, Arc::default(), Arc::default())
    });
    sim.client("near", alice(town.clone()));
    sim.client("far", bob(town.clone()));
    let settled = |town: &Town| town.diary().answered.iter().all(|answered| *answered);
    while !settled(&town) {
        sim.step()?;
    }
    town.record_at(sim.elapsed(), None, What::Healed);
    sim.client("judge", read_everything(town.clone()));
    while !town.diary().history.iter().any(|record| matches!(record.what, What::Complete { .. })) {
        sim.step()?;
    }
    let history = std::mem::take(&mut town.diary().history);
    let broken = check(&history);
    assert!(broken.is_empty(), "{broken:#?}\n{history:#?}");
    nothing_twice(&disk);
    Ok(network.was_cut())
}

/// Each call went to the store once, whichever connections it arrived on.
fn nothing_twice(disk: &Disk) {
    let mut times = BTreeMap::<String, usize>::new();
    for write in disk.written() {
        let call = match write {
            // A first login, which is no call of a session.
            Write::Profile(change) if change.name.is_none() => continue,
            Write::Append(append) => format!("send {:?}", append.client_id),
            Write::Mark(change) => format!("mark {:?}", change.marks),
            Write::Profile(change) => format!("name {:?}", change.name),
            Write::Recall(change) => format!("recall {:?}", change.position),
            Write::Room(change) => format!("room {:?}", change.rows),
            Write::Forget(forget) => format!("forget {:?}", forget.key),
        };
        *times.entry(call).or_default() += 1;
    }
    assert_eq!(times.len(), 12, "{times:?}");
    times.into_iter().for_each(|(call, times)| assert_eq!(times, 1, "{call}"));
}

fn cut_behind_everything(carrier: Carrier) {
    let mut cuts = 0;
    for direction in [Direction::Up, Direction::Down] {
        for arrives in [false, true] {
            for sync in SYNCS {
                for behind in 1..MESSAGES_MAX {
                    let cut = CutAt { direction, behind, arrives };
                    let place = exchange(carrier, sync, cut)
                        .unwrap_or_else(|error| panic!("{carrier:?} {cut:?}, sync {sync:?}: {error}"));
                    if !place {
                        assert!(behind > 8, "{carrier:?} {cut:?}: the exchange is over");
                        break;
                    }
                    cuts += 1;
                }
            }
        }
    }
    println!("{carrier:?}: {cuts} cuts");
}

#[test]
fn an_exchange_over_websocket_survives_a_cut_behind_every_message() {
    cut_behind_everything(Carrier::WebSocket);
}

#[test]
fn an_exchange_over_quic_survives_a_cut_behind_every_datagram() {
    cut_behind_everything(Carrier::Quic);
}
