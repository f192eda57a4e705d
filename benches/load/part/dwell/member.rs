//! One who dwells.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quail_client::{Client, Events, Reconnect, Room, Trust};
use quail_protocol::{
    Event, Seq,
    message::{Message, Text},
    room::{RoomStateChanged, Standing, StandingCause, StandingDetail},
};

use super::{Heard, Lived, Order};
use crate::{
    body,
    chain::{Chain, Ends},
    clients, cpu,
    latency::Latencies,
    weather::{self, Line, Weather},
};

/// What it knows.
struct Known {
    chain: Chain,
    latencies: Latencies,
    lived: Lived,
    standing: Standing,
    /// It is out, or was never in: where it comes in next, everything begins.
    was_out: bool,
    /// What came of the room before the answer that says where it begins: lanes overtake each other.
    early: Vec<(Box<Message>, u64)>,
}

/// See the module.
pub(super) struct Member {
    client: Client,
    room: Room,
    line: Line,
    known: Mutex<Known>,
}

impl Member {
    /// Comes into the room, and listens from then on.
    pub(super) async fn come(
        order: &Order,
        index: u32,
        trust: Trust,
        weather: Arc<Weather>,
    ) -> anyhow::Result<Arc<Self>> {
        let user = clients::user(order.crowd.first + index);
        let line = Line::default();
        let endpoint = weather::endpoint(weather, line.clone(), Ipv4Addr::LOCALHOST).await?;
        let builder = Client::builder(order.crowd.target.quic.to_string())
            .app(clients::APP)
            .token(clients::token(&user)?)
            .user(user)
            .trust(trust)
            .endpoint(endpoint)
            .connect_timeout(Duration::from_secs(20))
            .reconnect(Reconnect::default());
        let (client, events) = builder.connect().await?;
        let room = client.room(&order.room)?;
        let known = Known {
            chain: Chain::behind(Seq(0)),
            latencies: Latencies::new()?,
            lived: Lived::default(),
            standing: Standing::Disconnected,
            was_out: true,
            early: vec![],
        };
        let member = Arc::new(Self { client, room, line, known: Mutex::new(known) });
        tokio::spawn(member.clone().listen(events));
        member.room.join(0).await?;
        Ok(member)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if it is in the room, as far as its client knows.
    pub(super) fn is_in(&self) -> bool {
        self.known().standing == Standing::Connected
    }

    pub(super) fn has_come_to(&self, ends: &Ends) -> bool {
        self.known().chain.has_come_to(ends)
    }

    /// Adds what it heard and lived through.
    pub(super) fn tell(&self, ends: &Ends, heard: &mut Heard) {
        let known = self.known();
        heard.counted.add(&known.chain.end(ends));
        heard.latencies.merge(&known.latencies);
        heard.lived.add(&known.lived);
    }

    /// Leaves, and comes again after a while.
    pub(super) async fn leave_for(&self, pause: Duration) {
        self.known().lived.left += 1;
        let left = self.room.leave().await;
        tokio::time::sleep(pause).await;
        let came = self.room.join(0).await;
        self.known().lived.refused += u64::from(left.is_err()) + u64::from(came.is_err());
    }

    /// Loses all packets for a while.
    pub(super) async fn lose_for(&self, pause: Duration) {
        self.known().lived.cut += 1;
        self.line.cut(true);
        tokio::time::sleep(pause).await;
        self.line.cut(false);
        self.client.reconnect_now();
    }

    pub(super) async fn close(self: Arc<Self>) {
        self.client.close().await;
    }

    async fn listen(self: Arc<Self>, mut events: Events) {
        while let Some(event) = events.recv().await {
            self.known().hear(event);
        }
    }
}

impl Known {
    fn hear(&mut self, event: Event) {
        match event {
            Event::MessageSent(message) => {
                let read = Text::decode(&message.content.body).ok().and_then(|text| body::read(&text.text));
                let Some((nth, intended)) = read else { return self.chain.strange() };
                self.latencies.record(cpu::since_boot().saturating_sub(intended));
                if self.was_out {
                    self.early.push((Box::new(message), nth));
                } else {
                    self.chain.message(&message, nth);
                }
            }
            Event::MessageGap(gap) => {
                self.lived.gaps += 1;
                self.chain.gap(&gap);
            }
            Event::Behind(behind) => {
                self.lived.behind += 1;
                self.chain.begin_behind(behind.head.seq);
            }
            Event::RoomStateChanged(changed) => self.stands(changed),
            _ => {}
        }
    }

    fn stands(&mut self, changed: RoomStateChanged) {
        let RoomStateChanged { state, cause, detail, .. } = changed;
        match (state, cause) {
            (Standing::Connected, StandingCause::Rejoined) => self.lived.rejoined += 1,
            (Standing::Connected, _) if self.was_out => {}
            (Standing::Connected, _) => self.lived.went_on += 1,
            (Standing::Connecting, StandingCause::Interrupted) => self.lived.interrupted += 1,
            (Standing::Disconnected, StandingCause::Left) => self.was_out = true,
            (Standing::Disconnected, _) => {
                self.was_out = true;
                self.lived.put_out += 1;
            }
            _ => {}
        }
        if state == Standing::Connected
            && std::mem::take(&mut self.was_out)
            && let StandingDetail::Entered { state, .. } = detail
        {
            self.chain.begin_behind(state.head.seq);
            for (message, nth) in std::mem::take(&mut self.early) {
                self.chain.message(&message, nth);
            }
        }
        self.standing = state;
    }
}
