//! A loop that writes what one connection says to all others of its room: QUIC with a Quail's settings and nothing more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use bytes::Bytes;
use quail_protocol::frame::{self, Head, Outcome};
use quinn::{Endpoint, Incoming, RecvStream, SendStream};

use super::bare_serve;
use crate::clients::STREAM_WINDOW_BYTES;

/// The streams of one room. One loop at a time writes to all of them.
type Room = Arc<tokio::sync::Mutex<Vec<SendStream>>>;

type Rooms = Arc<Mutex<HashMap<[u8; 2], Room>>>;

/// As a session's: full windows on five lanes, and some.
const SEND_WINDOW: u64 = 5 * STREAM_WINDOW_BYTES as u64 + 64 * 1024;

/// Serves as [`bare_serve`] does.
pub(crate) async fn run() -> anyhow::Result<()> {
    bare_serve::serve(accept).await
}

async fn accept(endpoint: Endpoint) {
    let rooms = Rooms::default();
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(attend(incoming, rooms.clone()));
    }
}

fn reply() -> Bytes {
    frame::encode(&Head::Reply { request_id: 0, outcome: Outcome::Ok }, &())
}

/// Lets a connection in; its stream begins with a room and whether it speaks.
async fn attend(incoming: Incoming, rooms: Rooms) -> anyhow::Result<()> {
    let connection = incoming.accept()?.await?;
    connection.set_send_window(SEND_WINDOW);
    let (mut send, mut receive) = connection.accept_bi().await?;
    let mut hello = [0; 3];
    receive.read_exact(&mut hello).await?;
    let [high, low, speaks] = hello;
    send.write_chunk(reply()).await?;
    let room = rooms.lock().unwrap_or_else(PoisonError::into_inner).entry([high, low]).or_default().clone();
    if speaks == 1 {
        return speak(send, receive, room).await;
    }
    room.lock().await.push(send);
    // The stream is written to as long as the connection is there.
    connection.closed().await;
    Ok(())
}

/// Writes every batch that is said to everybody.
async fn speak(mut send: SendStream, mut receive: RecvStream, room: Room) -> anyhow::Result<()> {
    loop {
        let mut length = [0; 4];
        receive.read_exact(&mut length).await.context("the speaker is gone")?;
        let mut batch = vec![0; u32::from_be_bytes(length) as usize];
        receive.read_exact(&mut batch).await?;
        let batch = Bytes::from(batch);
        for stream in &mut *room.lock().await {
            // A listener that is gone is missed by the scenario.
            _ = stream.write_chunk(batch.clone()).await;
        }
        send.write_chunk(reply()).await?;
    }
}
