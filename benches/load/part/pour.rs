//! One client that sends messages of one priority to one user or room, at a rate or as fast as it may.

use std::time::Duration;

use quail_client::{Outgoing, Peer, Priority, Room};
use quail_protocol::message::Sent;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{
    body,
    child::{Orders, say},
    clients::Visitor,
    cpu,
    flight::Flight,
    latency::Latencies,
    schedule::Schedule,
};

/// Who sends what to whom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The sender.
    pub(crate) visitor: Visitor,
    /// The receiver; a room if `in_room`, which is made if it is not there.
    pub(crate) to: String,
    /// Whether it is a room.
    pub(crate) in_room: bool,
    /// Of every message.
    pub(crate) priority: Priority,
    /// Messages per second, whatever became of those before.
    pub(crate) per_second: f64,
    /// Unanswered messages at most; the rate gives way to it.
    pub(crate) in_flight: usize,
    /// Bytes of a text.
    pub(crate) bytes: usize,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Poured {
    /// Messages handed to the client.
    pub(crate) sent: u64,
    /// Those that the server took.
    pub(crate) accepted: u64,
    /// The highest number that one of them got, by the priority that it got.
    pub(crate) newest: [u64; Priority::COUNT],
    /// From the intended time of a message to its acknowledgement, which does not pass the link.
    pub(crate) to_ack: Latencies,
    /// Why one was not taken.
    pub(crate) first_failure: Option<String>,
}

/// Where messages go.
enum To {
    Peer(Peer),
    Room(Room),
}

impl To {
    fn message(&self, text: String) -> Outgoing {
        match self {
            Self::Peer(peer) => peer.message(text),
            Self::Room(room) => room.message(text),
        }
    }
}

/// When a message was meant to go, and what became of it.
type Answered = (Duration, Result<Sent, String>);

/// Connects, says so, sends from the next order on, stops at the one after that and says what became of it.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let (client, events) = order.visitor.builder()?.connect().await?;
    // In a room a sender is told what others say, and would stop where nobody takes it.
    drop(events);
    let to = if order.in_room {
        let room = client.room(&order.to)?;
        room.enter(Default::default(), 0).await?;
        To::Room(room)
    } else {
        To::Peer(client.peer(&order.to)?)
    };
    say(&())?;
    orders.first::<()>().await?;
    let (begun, begun_at) = (Instant::now(), cpu::since_boot());
    let schedule = Schedule::new(0, 1, order.per_second);
    let mut flight = Flight::<Answered>::new();
    let mut poured = Poured {
        sent: 0,
        accepted: 0,
        newest: [0; Priority::COUNT],
        to_ack: Latencies::new()?,
        first_failure: None,
    };
    loop {
        let intended = schedule.intended(poured.sent);
        let full = flight.len() >= order.in_flight;
        tokio::select! {
            biased;
            stop = orders.next::<()>() => {
                stop?;
                break;
            }
            Some(answered) = flight.answer() => poured.answered(answered),
            () = sleep_until(begun + intended), if !full => {
                let text = body::write(poured.sent, begun_at + intended, order.bytes);
                let message = to.message(text).priority(order.priority);
                let sent = async move {
                    (begun_at + intended, message.send().await.map_err(|unsent| unsent.error.to_string()))
                };
                poured.sent += 1;
                if let Some(answered) = flight.begin(sent).await {
                    poured.answered(answered);
                }
            }
        }
    }
    while let Some(answered) = flight.answer().await {
        poured.answered(answered);
    }
    say(&poured)?;
    // The scenario may still listen; whoever leaves now disturbs nobody.
    tokio::time::timeout(Duration::from_secs(5), client.close()).await.ok();
    Ok(())
}

impl Poured {
    fn answered(&mut self, (intended, answered): Answered) {
        match answered {
            Ok(sent) => {
                self.accepted += 1;
                let newest = &mut self.newest[sent.priority.index()];
                *newest = sent.position.seq.0.max(*newest);
                self.to_ack.record(cpu::since_boot().saturating_sub(intended));
            }
            Err(why) => {
                self.first_failure.get_or_insert(why);
            }
        }
    }
}
