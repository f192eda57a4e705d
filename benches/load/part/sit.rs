//! Clients that connect and say nothing more.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use quail_client::{Client, Events, State};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use serde::{Deserialize, Serialize};

use crate::{
    child::{Orders, say},
    clients::{Crowd, OPENING},
};

/// Who sits where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The users.
    pub(crate) crowd: Crowd,
    /// If they are bare connections, how many streams each opens.
    pub(crate) bare_streams: Option<u32>,
}

/// Connects all, answers with their number, sits until asked anything, and answers with how many are still there.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let Order { crowd, bare_streams } = orders.first().await?;
    match bare_streams {
        None => sit(&crowd, &mut orders).await,
        Some(streams) => sit_bare(&crowd, streams, &mut orders).await,
    }
}

async fn sit(crowd: &Crowd, orders: &mut Orders) -> anyhow::Result<()> {
    let (trust, sockets) = (crowd.target.trust()?, crowd.sockets()?);
    let connect =
        async |index| anyhow::Ok(crowd.client(index, &trust, &sockets)?.event_capacity(1).connect().await?);
    let sessions: Vec<(Client, Events)> =
        stream::iter(0..crowd.users).map(connect).buffer_unordered(OPENING).try_collect().await?;
    say(&sessions.len())?;
    _ = orders.next::<()>().await?;
    let there = |client: &Client| client.states().current() == State::Connected;
    say(&sessions.iter().filter(|(client, _)| there(client)).count())
}

type Sitting = (Connection, Vec<(SendStream, RecvStream)>);

async fn sit_bare(crowd: &Crowd, streams: u32, orders: &mut Orders) -> anyhow::Result<()> {
    let (config, sockets) = (Arc::new(crowd.target.bare()?), crowd.sockets()?);
    let connect = async |index: u32| -> anyhow::Result<Sitting> {
        let socket = &sockets[(index / crowd.per_socket) as usize];
        let connecting = socket.connect_with((*config).clone(), crowd.target.quic, "127.0.0.1")?;
        let connection = connecting.await?;
        let mut opened = vec![];
        for _ in 0..streams {
            let (mut send, receive) = connection.open_bi().await?;
            // A stream that nothing was written to is not known to the other end.
            send.write_all(b"0").await?;
            opened.push((send, receive));
        }
        Ok((connection, opened))
    };
    let sitting: Vec<Sitting> =
        stream::iter(0..crowd.users).map(connect).buffer_unordered(OPENING).try_collect().await?;
    say(&sitting.len())?;
    _ = orders.next::<()>().await?;
    say(&sitting.iter().filter(|(connection, _)| connection.close_reason().is_none()).count())?;
    sitting.iter().for_each(|(connection, _)| connection.close(VarInt::from_u32(0), b""));
    for socket in &sockets {
        socket.wait_idle().await;
    }
    Ok(())
}
