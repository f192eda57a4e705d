//! Every row of the protocol's tables through the public client. The rows come from the tables: one without a case fails.

mod codes;
mod events;
mod kinds;
mod limits;
mod operations;

use std::collections::BTreeSet;

use futures_util::future::LocalBoxFuture;
use quail_client::{Client, Events, Peer, Room};
use quail_protocol::{Event, Position, message::Sent};
use quail_tests::{Carrier, Town, within};

/// Where a case plays. Its users are its own.
struct Stage<'a> {
    town: &'a Town,
    carrier: Carrier,
    row: String,
}

/// Shows a row.
type Play = for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, ()>;

/// A row by its name, and what shows it.
type Case = (&'static str, Play);

/// Plays the case of every row over every carrier.
async fn play(town: &Town, rows: impl IntoIterator<Item = String>, cases: &[Case]) {
    let rows: BTreeSet<_> = rows.into_iter().collect();
    let named: BTreeSet<_> = cases.iter().map(|(name, _)| (*name).to_owned()).collect();
    let bare: Vec<_> = rows.difference(&named).collect();
    assert!(bare.is_empty(), "rows without a case: {bare:?}");
    let stray: Vec<_> = named.difference(&rows).collect();
    assert!(stray.is_empty() && named.len() == cases.len(), "cases without a row, or two of one: {stray:?}");
    for carrier in Carrier::ALL {
        for (row, play) in cases {
            let stage = Stage { town, carrier, row: (*row).to_owned() };
            play(&stage).await;
        }
    }
}

impl Stage<'_> {
    /// A user of this case alone.
    fn user(&self, name: &str) -> String {
        format!("{name}-{}-{:?}", self.row, self.carrier)
    }

    async fn connect(&self, name: &str) -> (Client, Events) {
        self.town.connect(self.carrier, &self.user(name)).await
    }

    async fn visit(&self) -> (Client, Events) {
        within(self.town.visitor(self.carrier).connect()).await.expect("a visitor connects")
    }

    /// A room of this case, which Alice made and Bob came into.
    async fn room(&self) -> Shared {
        let (alice, to_alice) = self.connect("alice").await;
        let (bob, to_bob) = self.connect("bob").await;
        let (theirs, bobs) = (alice.room(self.user("room")).unwrap(), bob.room(self.user("room")).unwrap());
        theirs.create(Default::default()).await.unwrap();
        bobs.join(0).await.unwrap();
        Shared { alice, to_alice, bob, to_bob, alices: theirs, bobs }
    }

    /// Alice's way to Bob, and Bob.
    async fn pair(&self) -> Pair {
        let (alice, to_alice) = self.connect("alice").await;
        let (bob, to_bob) = self.connect("bob").await;
        let peer = alice.peer(self.user("bob")).unwrap();
        let back = bob.peer(self.user("alice")).unwrap();
        Pair { alice, to_alice, bob, to_bob, peer, back }
    }
}

/// Two users in a room, which is Alice's.
struct Shared {
    alice: Client,
    to_alice: Events,
    bob: Client,
    to_bob: Events,
    alices: Room,
    bobs: Room,
}

/// Two users who are connected.
struct Pair {
    alice: Client,
    to_alice: Events,
    bob: Client,
    to_bob: Events,
    /// From Alice to Bob.
    peer: Peer,
    /// From Bob to Alice.
    back: Peer,
}

impl Pair {
    async fn say(&self, text: &str) -> Sent {
        within(self.peer.send(text)).await.unwrap()
    }
}

/// What the next event of a kind is; events of other kinds pass.
async fn next<T>(events: &mut Events, pick: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = within(events.recv()).await.expect("an event of that kind");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

fn at(position: Position, seq: u64) -> Position {
    Position { seq: quail_protocol::Seq(seq), ..position }
}
