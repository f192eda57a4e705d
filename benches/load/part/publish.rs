//! One client that publishes to topics in turn, in open loop.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    body,
    child::{Orders, say},
    cpu,
    flight::Flight,
    part::subscribe::Seen,
    schedule::Schedule,
    topics::{Access, Came, Client, Lost},
};

/// Who publishes what where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// How to come to the server.
    pub(crate) access: Access,
    /// Where.
    pub(crate) topics: Vec<String>,
    /// Messages per second to all of them together, whatever became of those before.
    pub(crate) per_second: f64,
    /// Bytes of a text.
    pub(crate) bytes: usize,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Published {
    /// Messages handed to the client, for each topic.
    pub(crate) sent: Vec<u64>,
    /// Those that the server said it has, in the order of its answers.
    pub(crate) acknowledged: Vec<Seen>,
    /// Why others were not taken, and how many.
    pub(crate) failed: BTreeMap<String, u64>,
    /// When and why the connection was lost.
    pub(crate) lost: Vec<Lost>,
}

/// Unanswered messages at most, so that nothing grows for ever; never reached by a server that answers.
const IN_FLIGHT: usize = 10_000;

/// Connects and makes the topics, says so, publishes from the next order on, stops at the one after that and says what became
/// of it.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let (client, mut incoming) = Client::publisher(&order.access, &order.topics).await?;
    say(&())?;
    orders.first::<()>().await?;
    let (begun, begun_at) = (Instant::now(), cpu::since_boot());
    let (schedule, topics) = (Schedule::new(0, 1, order.per_second), order.topics.len());
    let mut published =
        Published { sent: vec![0; topics], acknowledged: vec![], failed: BTreeMap::new(), lost: vec![] };
    let mut flight = Flight::<Answered>::new();
    let mut stopped = false;
    for turn in 0.. {
        let intended = schedule.intended(turn as u64);
        let topic = turn % topics;
        // Until the next one is sent, or nothing is missing any more.
        loop {
            let (full, done) = (flight.len() >= IN_FLIGHT, stopped && flight.len() == 0);
            if done {
                break;
            }
            tokio::select! {
                biased;
                stop = orders.next::<()>(), if !stopped => {
                    stop?;
                    stopped = true;
                }
                Some(answered) = flight.answer() => published.answered(answered),
                Some(came) = incoming.recv() => published.came(came),
                () = sleep_until(begun + intended), if !full && !stopped => break,
            }
        }
        if stopped {
            break;
        }
        let seen = Seen {
            topic: topic as u32,
            number: published.sent[topic],
            intended: begun_at + intended,
            at: Duration::ZERO,
        };
        published.sent[topic] += 1;
        let text = body::write(seen.in_one(), seen.intended, order.bytes);
        let publishing = client.publish(topic, text);
        let sent = async move { (seen, publishing.await, cpu::since_boot()) };
        if let Some(answered) = flight.begin(sent).await {
            published.answered(answered);
        }
    }
    say(&published)?;
    _ = timeout(Duration::from_secs(5), client.close()).await;
    Ok(())
}

/// A message, what became of it, and when that was known.
type Answered = (Seen, Result<(), String>, Duration);

impl Published {
    fn answered(&mut self, (seen, answer, at): Answered) {
        match answer {
            Ok(()) => self.acknowledged.push(Seen { at, ..seen }),
            Err(why) => *self.failed.entry(why).or_default() += 1,
        }
    }

    fn came(&mut self, came: Came) {
        if let Came::Lost(lost) = came {
            self.lost.push(lost);
        }
    }
}
