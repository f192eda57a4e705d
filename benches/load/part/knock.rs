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
    /// Bare connections without a login.
    pub(crate) bare: bool,
}

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
    let Order { crowd, bare } = orders.first().await?;
    let door = Door::new(crowd, bare)?;
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
    bare: Option<quinn::ClientConfig>,
}

impl Door {
    fn new(crowd: Crowd, bare: bool) -> anyhow::Result<Self> {
        let bare = bare.then(|| crowd.target.bare()).transpose()?;
        Ok(Self { trust: crowd.target.trust()?, sockets: crowd.sockets()?, bare, crowd })
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
        match &self.bare {
            Some(config) => {
                let socket = &self.sockets[(index / self.crowd.per_socket) as usize];
                let connecting = socket.connect_with(config.clone(), self.crowd.target.quic, "127.0.0.1")?;
                let connection = connecting.await?;
                took.record(before.elapsed());
                connection.close(VarInt::from_u32(0), b"");
            }
            None => {
                let (client, events) =
                    self.crowd.client(index, &self.trust, &self.sockets)?.connect().await?;
                took.record(before.elapsed());
                drop(events);
                client.close().await;
            }
        }
        Ok(())
    }
}
