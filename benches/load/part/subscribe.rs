//! One client that listens to topics.

use std::{collections::HashSet, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    body,
    child::{Orders, say},
    topics::{Access, Came, Client, Lost},
};

/// Who listens to what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// How to come to the server.
    pub(crate) access: Access,
    /// The topics, which are there.
    pub(crate) topics: Vec<String>,
}

/// What was to come.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// Messages that the server has taken, of all topics.
    pub(crate) messages: u64,
    /// How long to wait for those that are missing.
    pub(crate) patience: Duration,
}

/// A message as one of both ends saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The index of its topic.
    pub(crate) topic: u32,
    /// Which it is in its topic.
    pub(crate) number: u64,
    /// When it was meant to go, since the machine started.
    pub(crate) intended: Duration,
    /// When it was acknowledged or had arrived, since the machine started.
    pub(crate) at: Duration,
}

/// What came.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    /// All messages as they arrived.
    pub(crate) arrivals: Vec<Seen>,
    /// Messages that are none of ours.
    pub(crate) strange: u64,
    /// Messages that will not come, as the client was told.
    pub(crate) left_out: u64,
    /// When and why the connection was lost.
    pub(crate) lost: Vec<Lost>,
}

/// Bits of the number in what stands in a text; before them stands the topic.
const NUMBER_BITS: u32 = 32;

impl Seen {
    /// Topic and number, as they stand in a text.
    pub(crate) fn in_one(self) -> u64 {
        u64::from(self.topic) << NUMBER_BITS | self.number
    }

    /// The one that such a text is.
    fn read(text: &str, at: Duration) -> Option<Self> {
        let (in_one, intended) = body::read(text)?;
        let topic = u32::try_from(in_one >> NUMBER_BITS).ok()?;
        Some(Self { topic, number: in_one & ((1 << NUMBER_BITS) - 1), intended, at })
    }
}

/// Connects, says so, listens until it is told the end, and says what came.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let (client, mut incoming) = Client::subscriber(&order.access, &order.topics).await?;
    say(&())?;
    let mut all = Subscribed::default();
    let mut different = HashSet::new();
    let mut end: Option<End> = None;
    let deadline = sleep_until(Instant::now() + Duration::from_secs(3600));
    tokio::pin!(deadline);
    while end.as_ref().is_none_or(|end| different.len() as u64 + all.left_out < end.messages) {
        tokio::select! {
            came = incoming.recv() => {
                if let Some(seen) = all.came(came.context("the connection is lost for good")?) {
                    different.insert(seen.in_one());
                }
            }
            order = orders.next::<End>(), if end.is_none() => {
                let order = order?.context("nobody says when to end")?;
                deadline.as_mut().reset(Instant::now() + order.patience);
                end = Some(order);
            }
            () = &mut deadline => break,
        }
    }
    say(&all)?;
    _ = timeout(Duration::from_secs(5), client.close()).await;
    Ok(())
}

impl Subscribed {
    /// Keeps it; the message, if it is one of ours.
    fn came(&mut self, came: Came) -> Option<Seen> {
        match came {
            Came::Text { at, text } => {
                let Some(seen) = Seen::read(&text, at) else {
                    self.strange += 1;
                    return None;
                };
                self.arrivals.push(seen);
                return Some(seen);
            }
            Came::Lost(lost) => self.lost.push(lost),
            Came::LeftOut(count) => self.left_out += count,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_text() {
        for (topic, number) in [(0, 0), (0, 7), (49, 12_345), (9999, (1 << 32) - 1)] {
            let (intended, at) = (Duration::from_secs(3), Duration::from_secs(4));
            let seen = Seen { topic, number, intended, at };
            assert_eq!(Seen::read(&body::write(seen.in_one(), intended, 200), at), Some(seen));
        }
        assert_eq!(Seen::read("hi", Duration::ZERO), None);
    }
}
