//! A client of Quail that clings.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use quail_client::{Builder, CarrierKind, Client, Events, Reconnect, State, States, Trust};
use quail_protocol::{
    Event,
    room::{Settings, Standing},
};
use quinn::Endpoint;
use tokio::sync::watch;

use super::{Order, Passage, Way};
use crate::{clients::Crowd, cpu, part::chat::hall::Hall, tunnel::Tunnel, weather::Line};

/// How long a carrier may take, as the client has it by default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Their rooms have this name and a number.
const ROOM_NAME: &str = "storm";

/// See the module.
pub(super) struct User {
    /// Its handle.
    pub(super) client: Client,
    passage: Mutex<Passage>,
}

/// A client that comes back as that of an app does, over this way, whose TCP is on a line that may be cut.
pub(crate) fn builder(
    crowd: &Crowd,
    way: Way,
    index: u32,
    trust: &Trust,
    sockets: &[Endpoint],
    line: Line,
) -> anyhow::Result<Builder> {
    let builder =
        crowd.client(index, trust, sockets)?.connect_timeout(CONNECT_TIMEOUT).reconnect(Reconnect::default());
    let Way::WebSocket(address) = way else { return Ok(builder) };
    let from = crowd.address(index);
    Ok(builder
        .carrier(CarrierKind::WebSocket { url: format!("ws://{address}/ws") })
        .tcp_with(move |to| Tunnel::open(from, line.clone(), to)))
}

impl User {
    /// Connects the user at `index`, and comes into their room if they have one.
    pub(super) async fn come(
        order: &Order,
        index: u32,
        trust: &Trust,
        sockets: &[Endpoint],
        line: Line,
        begun: watch::Receiver<Option<Arc<Hall>>>,
    ) -> anyhow::Result<Arc<Self>> {
        let Order { crowd, way, members, room_size, .. } = order;
        let (client, events) = builder(crowd, *way, index, trust, sockets, line)?.connect().await?;
        let is_member = index >= crowd.users.saturating_sub(*members);
        let user = Arc::new(Self { passage: Mutex::new(Passage::new(is_member)), client });
        tokio::spawn(user.clone().watch(user.client.states()));
        tokio::spawn(user.clone().hear(events, index, begun));
        if is_member {
            let room = (crowd.first + index) / (*room_size).max(1);
            let room = user.client.room(format!("{ROOM_NAME}-{room}"))?;
            room.enter(Settings::default(), 0).await.context("into a room")?;
        }
        Ok(user)
    }

    pub(super) fn passage(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn watch(self: Arc<Self>, mut states: States) {
        while let Some(state) = states.changed().await {
            let (mut passage, now) = (self.passage(), cpu::since_boot());
            match state {
                State::Connected => passage.connected(now),
                State::Disconnected { .. } => {
                    passage.trouble(now);
                    passage.gave_up = true;
                }
                _ => passage.trouble(now),
            }
        }
    }

    async fn hear(
        self: Arc<Self>,
        mut events: Events,
        index: u32,
        begun: watch::Receiver<Option<Arc<Hall>>>,
    ) {
        while let Some(event) = events.recv().await {
            if let Event::RoomStateChanged(changed) = &event {
                self.passage().room(changed.state == Standing::Connected, cpu::since_boot());
            } else if let Some(hall) = &*begun.borrow() {
                hall.hear(&hall.way(index ^ 1), &event);
            }
        }
    }
}
