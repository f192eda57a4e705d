//! One client that takes what comes, and the times at which one sender's messages reach it.

use std::time::Duration;

use anyhow::Context;
use quail_protocol::{Event, message::Text};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{
    body,
    child::{Orders, say},
    clients::Visitor,
    cpu,
    latency::Latencies,
};

/// Who listens to whom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The receiver.
    pub(crate) visitor: Visitor,
    /// Whose messages are timed.
    pub(crate) urgent: String,
    /// The room to be in, if they are said in one.
    pub(crate) room: Option<String>,
}

/// What was to come.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// Messages meant to go from then on are timed.
    pub(crate) from: Duration,
    /// Messages meant to go from then on are not.
    pub(crate) until: Duration,
    /// Messages that were sent by whom is timed.
    pub(crate) urgent: u64,
    /// How long to wait for those that are missing.
    pub(crate) patience: Duration,
}

/// What came.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// From the intended time to the app, of the timed messages.
    pub(crate) latencies: Latencies,
    /// Messages of whom is timed that did not come.
    pub(crate) missing: u64,
    /// Messages of others.
    pub(crate) others: u64,
    /// Messages of a room that were dropped on the way, as the client was told.
    pub(crate) dropped: u64,
    /// Times that a client was told that it missed messages and could not fetch them.
    pub(crate) behind: u64,
}

/// Connects, says so, and listens until it is told the end.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let (client, mut events) = order.visitor.builder()?.connect().await?;
    if let Some(room) = &order.room {
        client.room(room)?.join(0).await?;
    }
    say(&())?;
    let mut came: Vec<(Duration, Duration)> = vec![];
    let (mut others, mut dropped, mut behind) = (0, 0, 0);
    let mut end: Option<End> = None;
    let deadline = sleep_until(Instant::now() + Duration::from_secs(3600));
    tokio::pin!(deadline);
    while end.as_ref().is_none_or(|end| (came.len() as u64) < end.urgent) {
        tokio::select! {
            event = events.recv() => {
                let now = cpu::since_boot();
                match event.context("the connection is lost")? {
                    Event::MessageSent(message) if message.sender.as_str() == order.urgent => {
                        let text = Text::decode(&message.content.body)?;
                        let (_, intended) = body::read(&text.text).context("a strange text")?;
                        came.push((intended, now));
                    }
                    Event::MessageSent(_) => others += 1,
                    Event::MessageGap(gap) => dropped += u64::from(gap.count),
                    Event::Behind(_) => behind += 1,
                    _ => {}
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
    let end = end.context("nobody said the end for an hour")?;
    let mut latencies = Latencies::new()?;
    for (intended, now) in came.iter().filter(|(intended, _)| (end.from..end.until).contains(intended)) {
        latencies.record(now.saturating_sub(*intended));
    }
    let missing = end.urgent.saturating_sub(came.len() as u64);
    say(&Heard { latencies, missing, others, dropped, behind })?;
    tokio::time::timeout(Duration::from_secs(5), client.close()).await.ok();
    Ok(())
}
