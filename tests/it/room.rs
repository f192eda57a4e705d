//! Rooms, through the client.

mod again;
mod life;
mod model;
mod moderation;
mod receivers;
mod restart;
mod rights;
mod standing;
mod stored;
mod streams;
mod switch;
mod talk;
mod values;
mod visitors;

use std::{net::SocketAddr, num::NonZeroU64, path::Path, time::Duration};

use futures_util::future::join_all;
use quail_client::{CallError, Client, Events, Priority, Reconnect, Room};
use quail_protocol::{
    Code, Conversation, Event, Seq,
    bounded::Text,
    message::{Ack, Barrage, BehindCause, Gap, Message},
    room::{
        EntryStatus, LeaveCause, Lifetime, LifetimeKind, Member, MembersJoined, MembersLeft, Role,
        RoomHistory, Settings, UpdateInfo,
    },
};
use quail_server::config::Config;
use quail_tests::{Carrier, FAST, Town, process::Process, raw::Raw, within};

use crate::process::QUAIL;

fn refused<T: std::fmt::Debug>(result: Result<T, impl Into<CallError>>) -> Code {
    match result.map_err(Into::into) {
        Err(CallError::Reject(reject)) => reject.code,
        other => panic!("not refused: {other:?}"),
    }
}

fn open() -> Settings {
    Settings::default()
}

fn kept() -> Settings {
    Settings { lifetime: Lifetime { kind: LifetimeKind::Kept, ms: 0 }, ..open() }
}

/// A room whose messages are kept.
fn stored() -> Settings {
    Settings { history: RoomHistory::Stored, ..kept() }
}

fn room(client: &Client, id: &str) -> Room {
    client.room(id).unwrap()
}

/// The next event that `pick` wants; others pass.
async fn next<T>(events: &mut Events, pick: impl Fn(Event) -> Option<T>) -> T {
    loop {
        if let Some(picked) = pick(within(events.recv()).await.expect("an event of that kind")) {
            return picked;
        }
    }
}

async fn joined(events: &mut Events) -> MembersJoined {
    next(events, |event| if let Event::MembersJoined(joined) = event { Some(joined) } else { None }).await
}

async fn left(events: &mut Events) -> MembersLeft {
    next(events, |event| if let Event::MembersLeft(left) = event { Some(left) } else { None }).await
}

async fn message(events: &mut Events) -> Message {
    next(events, |event| if let Event::MessageSent(message) = event { Some(message) } else { None }).await
}

fn text(message: &Message) -> String {
    quail_protocol::message::Text::decode(&message.content.body).unwrap().text
}

fn users(members: &[Member]) -> Vec<String> {
    members.iter().map(|member| member.user.to_string()).collect()
}

fn info(name: &str) -> quail_protocol::room::RoomInfo {
    quail_protocol::room::RoomInfo { name: Text::new(name).unwrap(), ..Default::default() }
}
