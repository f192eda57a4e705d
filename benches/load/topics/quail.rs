//! The client of Quail, and rooms as topics.

use anyhow::Context;
use quail_client::{Builder, Events, Reconnect, Room, State, States};
use quail_protocol::{Event, message::Text};
use tokio::sync::mpsc::{self, UnboundedSender};

use super::{Came, Incoming, Lost};
use crate::cpu;

/// See the module.
pub(crate) struct Client {
    client: quail_client::Client,
    rooms: Vec<Room>,
}

impl Client {
    /// Connects, and is in all rooms; those that are not there it makes if it `makes`.
    pub(super) async fn connect(
        builder: Builder,
        topics: &[String],
        makes: bool,
    ) -> anyhow::Result<(Self, Incoming)> {
        let (client, events) = builder.reconnect(Reconnect::default()).connect().await?;
        let (say, incoming) = mpsc::unbounded_channel();
        tokio::spawn(hear(events, client.states(), say));
        let mut rooms = vec![];
        for topic in topics {
            let room = client.room(topic)?;
            let entered = if makes { room.enter(Default::default(), 0).await } else { room.join(0).await };
            entered.with_context(|| topic.clone())?;
            rooms.push(room);
        }
        Ok((Self { client, rooms }, incoming))
    }

    /// See [`super::Client::publish`].
    pub(super) fn publish(
        &self,
        topic: usize,
        text: String,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let message = self.rooms.get(topic).map(|room| room.message(text));
        async move {
            let message = message.ok_or("there is no such topic")?;
            message.send().await.map(drop).map_err(|unsent| unsent.error.to_string())
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        self.client.close().await;
    }
}

/// Passes on what there is to pass on, as long as somebody takes it.
async fn hear(mut events: Events, mut states: States, say: UnboundedSender<Came>) {
    states.current();
    loop {
        let came = tokio::select! {
            event = events.recv() => match event {
                Some(event) => came(event),
                None => return,
            },
            Some(state) = states.changed() => lost(state),
        };
        if came.is_some_and(|came| say.send(came).is_err()) {
            return;
        }
    }
}

fn came(event: Event) -> Option<Came> {
    match event {
        Event::MessageSent(message) => {
            let at = cpu::since_boot();
            // A strange text is none of ours, which whoever counts finds out.
            let text = Text::decode(&message.content.body).map(|text| text.text).unwrap_or_default();
            Some(Came::Text { at, text })
        }
        Event::MessageGap(gap) => Some(Came::LeftOut(gap.count.into())),
        _ => None,
    }
}

fn lost(state: State) -> Option<Came> {
    let (State::Reconnecting { cause } | State::Disconnected { cause }) = state else { return None };
    Some(Came::Lost(Lost { at: cpu::since_boot(), why: cause.to_string() }))
}
