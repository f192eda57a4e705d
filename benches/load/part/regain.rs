//! Readers who are cut off while others write to them, and what they have when they are back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use quail_client::{Client, Events};
use quail_protocol::Event;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    chat::{
        self, Chatted,
        hall::Hall,
        sender::{Sends, send_all},
    },
    cling::{Way, sockets, user},
};
use crate::{
    child::{Orders, say},
    clients::{self, Crowd, OPENING},
    cpu,
    weather::Line,
};

/// Who writes to whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Those who may be cut off.
    pub(crate) readers: Crowd,
    /// As many, each of whom writes to one of them.
    pub(crate) writers: Crowd,
    /// What all come over.
    pub(crate) way: Way,
    /// Bytes of a text.
    pub(crate) bytes: u32,
}

/// What a process is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Each writer sends so many messages. Answered when all of them were answered.
    Write(u64),
    /// Cut all readers off, or let them come back in a hurry. Not answered.
    Cut(bool),
    /// Wait, for so many milliseconds at most, until the readers have all of it. Answered with [`Regained`].
    Settle(u64),
}

/// What the readers have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Regained {
    /// Of what was written the last time.
    pub(crate) chatted: Chatted,
    /// When the last message of it came to each reader, in microseconds since this machine started; 0 if none did.
    pub(crate) complete_us: Vec<u64>,
}

/// Unanswered messages of a writer at most.
const IN_FLIGHT: u32 = 8;

/// A stretch of writing ends when all is written.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Whoever cannot say goodbye in this time goes without.
const GOODBYE: Duration = Duration::from_secs(10);

/// What is written now, if anything was yet.
type Writing = watch::Receiver<Option<Arc<Hall>>>;

/// Connects all, says how many readers there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let line = Line::default();
    let readers = connect(&order.readers, order.way, Some(&line)).await?;
    let writers = connect(&order.writers, order.way, None).await?;
    let (write, writing) = watch::channel(None::<Arc<Hall>>);
    let (mut clients, mut newest) = (vec![], vec![]);
    for (index, (client, events)) in (0..).zip(readers) {
        let last = Arc::new(AtomicU64::new(0));
        newest.push(last.clone());
        clients.push(client);
        tokio::spawn(listen(events, index, writing.clone(), last));
    }
    let mut senders = vec![];
    for (client, mut events) in writers {
        senders.push(client);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
    }
    say(&clients.len())?;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Write(messages) => {
                newest.iter().for_each(|last| last.store(0, Relaxed));
                let hall = Arc::new(Hall::begin(order.writers.users, Duration::ZERO..LONGEST, false)?);
                write.send_replace(Some(hall.clone()));
                let mut sending = JoinSet::new();
                for (index, writer) in (0..).zip(&senders) {
                    let reader = writer.peer(clients::user(order.readers.first + index))?;
                    let (in_flight, bytes) = (IN_FLIGHT, order.bytes);
                    let sends = Sends { schedule: None, in_flight, bytes, messages: Some(messages) };
                    sending.spawn(send_all(hall.clone(), hall.way(index), sends, reader));
                }
                while sending.join_next().await.transpose()?.is_some() {}
                say(&())?;
            }
            Ask::Cut(cut) => {
                line.cut(cut);
                if !cut {
                    clients.iter().for_each(Client::reconnect_now);
                }
            }
            Ask::Settle(milliseconds) => {
                let hall = write.borrow().clone();
                let Some(hall) = hall else { anyhow::bail!("nothing was written") };
                chat::settle(&hall, Duration::from_millis(milliseconds)).await;
                let complete_us = newest.iter().map(|last| last.load(Relaxed)).collect();
                say(&Regained { chatted: hall.end()?, complete_us })?;
            }
        }
    }
    let mut leaving = JoinSet::new();
    for client in clients.into_iter().chain(senders) {
        leaving.spawn(async move { client.close().await });
    }
    _ = timeout(GOODBYE, leaving.join_all()).await;
    Ok(())
}

/// Connects a crowd, in the order of its users.
async fn connect(crowd: &Crowd, way: Way, line: Option<&Line>) -> anyhow::Result<Vec<(Client, Events)>> {
    let (trust, sockets) = (crowd.target.trust()?, sockets(crowd, line).await?);
    let line = line.cloned().unwrap_or_default();
    let connect = async |index| {
        let builder = user::builder(crowd, way, index, &trust, &sockets, line.clone())?;
        anyhow::Ok(builder.connect().await?)
    };
    stream::iter(0..crowd.users).map(connect).buffered(OPENING).try_collect().await
}

/// Takes what comes to the reader at `index`.
async fn listen(mut events: Events, index: u32, writing: Writing, last: Arc<AtomicU64>) {
    while let Some(event) = events.recv().await {
        if let Some(hall) = &*writing.borrow() {
            hall.hear(&hall.way(index), &event);
            if matches!(event, Event::MessageSent(_)) {
                last.store(cpu::since_boot().as_micros() as u64, Relaxed);
            }
        }
    }
}
