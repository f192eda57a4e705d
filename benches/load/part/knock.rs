//! Clients that come and go, a fixed number at a time.

use std::time::{Duration, Instant};

use anyhow::Context;
use quinn::VarInt;
use serde::{Deserialize, Serialize};

use crate::{
    child::{Orders, say},
    clients::Crowd,
    latency::Latencies,
};

/// Who knocks where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The users: each comes and goes over and over.
    pub(crate) crowd: Crowd,
    /// What each does.
    pub(crate) visit: Visit,
}

/// What a client does between coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Visit {
    /// Logs in with the client of Quail.
    Session,
    /// Nothing, over a bare connection.
    Handshake,
    /// Over a bare connection, as many streams and questions as a session has that logs in and out.
    Exchange,
}

/// Bytes of the questions of a session: login, conversations, logout.
const QUESTIONS: [usize; 3] = [400, 12, 5];

/// A session opens its lanes behind the first question.
const MORE_STREAMS: usize = 4;

/// Knock for this long, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// How long.
    pub(crate) milliseconds: u64,
}

/// What became of a round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Knocked {
    /// Those who were let in.
    pub(crate) entered: u64,
    /// Those who were not.
    pub(crate) failed: u64,
    /// What the first of them was told.
    pub(crate) first_failure: Option<String>,
    /// From the first packet to the end of the handshake, and of the login if there is one.
    pub(crate) took: Latencies,
}

/// Knocks round by round, each answered with what became of it.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let Order { crowd, visit } = orders.first().await?;
    let door = Door::new(crowd, visit)?;
    while let Some(Round { milliseconds }) = orders.next().await? {
        let until = Instant::now() + Duration::from_millis(milliseconds);
        let all = (0..door.crowd.users).map(|index| door.keep_knocking(index, until));
        let knocked = futures_util::future::try_join_all(all).await?;
        let all = knocked.into_iter().reduce(|mut all, one| {
            all.entered += one.entered;
            all.failed += one.failed;
            all.first_failure = all.first_failure.or(one.first_failure);
            all.took.merge(&one.took);
            all
        });
        say(&all.context("nobody knocks")?)?;
    }
    Ok(())
}

struct Door {
    crowd: Crowd,
    trust: quail_client::Trust,
    sockets: Vec<quinn::Endpoint>,
    visit: Visit,
    bare: quinn::ClientConfig,
}

impl Door {
    fn new(crowd: Crowd, visit: Visit) -> anyhow::Result<Self> {
        let (trust, sockets, bare) = (crowd.target.trust()?, crowd.sockets()?, crowd.target.bare()?);
        Ok(Self { trust, sockets, visit, bare, crowd })
    }

    async fn keep_knocking(&self, index: u32, until: Instant) -> anyhow::Result<Knocked> {
        let mut knocked = Knocked { entered: 0, failed: 0, first_failure: None, took: Latencies::new()? };
        while Instant::now() < until {
            let before = Instant::now();
            match self.knock(index, before, &mut knocked.took).await {
                Ok(()) => knocked.entered += 1,
                Err(error) => {
                    knocked.failed += 1;
                    knocked.first_failure.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        }
        Ok(knocked)
    }

    /// Comes in and goes again.
    async fn knock(&self, index: u32, before: Instant, took: &mut Latencies) -> anyhow::Result<()> {
        if self.visit == Visit::Session {
            let client = self.crowd.client(index, &self.trust, &self.sockets)?;
            let (client, events) = client.connect().await?;
            took.record(before.elapsed());
            drop(events);
            client.close().await;
            return Ok(());
        }
        let socket = &self.sockets[(index / self.crowd.per_socket) as usize];
        let connecting = socket.connect_with(self.bare.clone(), self.crowd.target.quic, "127.0.0.1")?;
        let connection = connecting.await?;
        if self.visit == Visit::Exchange {
            exchange(&connection).await?;
        }
        took.record(before.elapsed());
        connection.close(VarInt::from_u32(0), b"");
        Ok(())
    }
}

async fn exchange(connection: &quinn::Connection) -> anyhow::Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let mut others = vec![];
    for bytes in QUESTIONS {
        send.write_all(&vec![0; bytes]).await?;
        receive.read_chunk(16 * 1024, true).await?.context("an answer")?;
        while others.len() < MORE_STREAMS {
            let (mut send, receive) = connection.open_bi().await?;
            send.write_all(b"0").await?;
            others.push((send, receive));
        }
    }
    Ok(())
}
