//! A client that publishes to topics and listens to them, whatever carries it. Rooms are the topics of Quail.

mod mqtt;
mod quail;

use std::{pin::Pin, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{broker, clients::Visitor};

/// How a client comes to its server, and as whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Access {
    /// With the client of Quail.
    Quail {
        /// Who, and over what.
        visitor: Visitor,
        /// Streams over which the server spreads the rooms of a lane; of no effect over a WebSocket.
        streams_per_lane: u8,
    },
    /// By MQTT, QoS 1, in a session that the broker keeps.
    Mqtt {
        /// The broker.
        broker: broker::Target,
        /// A name of the client that no other has.
        name: String,
        /// It asks whether the broker is there when nothing was said for so long, and gives it up after as long again.
        ping_after: Duration,
    },
}

/// What a client lives through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A message.
    Text {
        /// When the app had it, since the machine started.
        at: Duration,
        /// What stands in it.
        text: String,
    },
    /// The connection was lost, which the client noticed.
    Lost(Lost),
    /// So many messages will not come, the server said.
    LeftOut(u64),
}

/// When and why a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    /// Since the machine started.
    pub(crate) at: Duration,
    /// In words.
    pub(crate) why: String,
}

/// What comes in, in this order.
pub(crate) type Incoming = mpsc::UnboundedReceiver<Came>;

/// A connected client.
pub(crate) enum Client {
    /// Of Quail.
    Quail(quail::Client),
    /// Of a broker.
    Mqtt(mqtt::Client),
}

/// What becomes of a message that is published.
pub(crate) type Publishing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Client {
    /// Connects as one who publishes, and makes the topics. It connects again by itself.
    pub(crate) async fn publisher(access: &Access, topics: &[String]) -> anyhow::Result<(Self, Incoming)> {
        Self::connect(access, topics, true).await
    }

    /// The same as one who listens to topics that others made.
    pub(crate) async fn subscriber(access: &Access, topics: &[String]) -> anyhow::Result<(Self, Incoming)> {
        Self::connect(access, topics, false).await
    }

    async fn connect(
        access: &Access,
        topics: &[String],
        publishes: bool,
    ) -> anyhow::Result<(Self, Incoming)> {
        Ok(match access {
            Access::Quail { visitor, streams_per_lane } => {
                let builder = visitor.builder()?.streams_per_lane(*streams_per_lane);
                let (client, incoming) = quail::Client::connect(builder, topics, publishes).await?;
                (Self::Quail(client), incoming)
            }
            Access::Mqtt { broker, name, ping_after } => {
                let who = (name.clone(), *ping_after);
                let (client, incoming) = mqtt::Client::connect(broker, who, topics, publishes).await?;
                (Self::Mqtt(client), incoming)
            }
        })
    }

    /// Publishes to the topic at an index; ends when the server has said that it has the message, or that it has not.
    pub(crate) fn publish(&self, topic: usize, text: String) -> Publishing {
        match self {
            Self::Quail(client) => Box::pin(client.publish(topic, text)),
            Self::Mqtt(client) => Box::pin(client.publish(topic, text)),
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        match self {
            Self::Quail(client) => client.close().await,
            Self::Mqtt(client) => client.close().await,
        }
    }
}
