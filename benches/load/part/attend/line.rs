//! A connection to whichever server it is.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use quail_protocol::{
    Event,
    frame::{Frame, Head, Outcome},
    message::Text,
};
use quinn::{ClientConfig, Endpoint, SendStream};

use super::{House, raw::Raw};
use crate::{
    body,
    broker::{
        Told,
        client::{Client, Connector},
    },
    clients::{self, Crowd, STREAM_WINDOW_BYTES, Target},
};

/// How the members of a process come to their server.
pub(super) enum Entrance {
    /// To a Quail or the bare loop.
    Quic { config: Box<ClientConfig>, address: SocketAddr, bare: bool, sockets: Sockets },
    /// To a broker.
    Broker(Connector),
}

/// Sockets that several share, and one for those who speak.
pub(super) struct Sockets {
    first: u32,
    per_socket: u32,
    listening: Vec<Endpoint>,
    speaking: Endpoint,
}

/// See the module.
pub(super) enum Line {
    /// A session of a Quail, or a stream of the bare loop.
    Quic(Box<Raw>),
    /// A client of a broker.
    Broker(Client),
}

/// One thing that a server says.
#[derive(Debug)]
pub(super) enum Word {
    /// A message of the room: which, and when it was meant to go.
    Message(u64, Duration),
    /// So many messages are not told.
    LeftOut(u64),
    /// What the member said is taken.
    Taken,
    /// What it said is not, and why.
    Refused(String),
    /// Something else.
    Other,
}

/// What brokers call a room.
pub(super) fn topic(room: u32) -> String {
    format!("room-{room}")
}

impl Entrance {
    /// For this crowd.
    pub(super) fn new(crowd: &Crowd<House>) -> anyhow::Result<Self> {
        let quic = |target: &Target, bare| {
            let sockets = Sockets {
                first: crowd.first,
                per_socket: crowd.per_socket,
                listening: crowd.sockets()?,
                speaking: clients::socket()?,
            };
            anyhow::Ok(Self::Quic { config: Box::new(target.bare()?), address: target.quic, bare, sockets })
        };
        match &crowd.target {
            House::Quail(target) => quic(target, false),
            House::Bare(target) => quic(target, true),
            House::Broker(target) => Ok(Self::Broker(Connector::new(target.clone())?)),
        }
    }

    /// One who listens in a room.
    pub(super) async fn listener(&self, user: u32, room: u32) -> anyhow::Result<Line> {
        let mut line = self.enter(user, room, false).await?;
        if let Line::Broker(client) = &mut line {
            client.subscribe(&topic(room)).await?;
        }
        Ok(line)
    }

    /// One who speaks in a room.
    pub(super) async fn speaker(&self, user: u32, room: u32) -> anyhow::Result<Line> {
        self.enter(user, room, true).await
    }

    async fn enter(&self, user: u32, room: u32, speaks: bool) -> anyhow::Result<Line> {
        let (config, address, bare, sockets) = match self {
            Self::Quic { config, address, bare, sockets } => (config, address, bare, sockets),
            Self::Broker(connector) => {
                return Ok(Line::Broker(connector.connect(&clients::user(user)).await?));
            }
        };
        let socket = if speaks {
            &sockets.speaking
        } else {
            let index = (user - sockets.first) / sockets.per_socket;
            sockets.listening.get(index as usize).with_context(|| format!("no socket for user {user}"))?
        };
        let connection = socket.connect_with((**config).clone(), *address, "127.0.0.1")?.await?;
        let raw = if *bare {
            Raw::bare(connection, room, speaks).await?
        } else {
            Raw::member(connection, user, room, STREAM_WINDOW_BYTES).await?
        };
        Ok(Line::Quic(Box::new(raw)))
    }
}

impl Line {
    /// Where a session says that it is there; nobody else needs to.
    pub(super) fn take_control(&mut self) -> Option<SendStream> {
        match self {
            Self::Quic(raw) => raw.control.take(),
            Self::Broker(_) => None,
        }
    }

    /// The same without taking it.
    pub(super) fn control(&mut self) -> Option<&mut SendStream> {
        match self {
            Self::Quic(raw) => raw.control.as_mut(),
            Self::Broker(_) => None,
        }
    }

    /// Bytes of messages and whatever comes with them, so far.
    pub(super) fn received(&self) -> u64 {
        match self {
            Self::Quic(raw) => raw.frames.received,
            Self::Broker(client) => client.received,
        }
    }

    /// Whether the server says of what it is told that it has it.
    pub(super) fn is_acknowledged(&self) -> bool {
        match self {
            Self::Quic(_) => true,
            Self::Broker(client) => client.is_acknowledged(),
        }
    }

    /// Sends messages that were put together.
    pub(super) async fn send(&mut self, messages: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Quic(raw) => Ok(raw.send.write_chunk(messages).await?),
            Self::Broker(client) => client.send(messages).await,
        }
    }

    /// Waits until the server has dealt with all that was sent, if it does not say so of each.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Quic(_) => Ok(()),
            Self::Broker(client) => client.settle().await,
        }
    }

    /// What the server says next.
    pub(super) async fn next(&mut self) -> anyhow::Result<Word> {
        loop {
            if let Some(word) = self.ready()? {
                return Ok(word);
            }
            ensure!(self.more().await?, "the server ended a connection");
        }
    }

    /// Something that the server has said already.
    pub(super) fn ready(&mut self) -> anyhow::Result<Option<Word>> {
        match self {
            Self::Quic(raw) => raw.frames.ready()?.map(of_frame).transpose(),
            Self::Broker(client) => client.ready()?.map(of_broker).transpose(),
        }
    }

    /// Waits for more bytes, once what was ready is answered. False if there are no more.
    pub(super) async fn more(&mut self) -> anyhow::Result<bool> {
        match self {
            Self::Quic(raw) => raw.frames.more().await,
            Self::Broker(client) => {
                client.answer().await?;
                client.more().await
            }
        }
    }
}

fn of_frame(frame: Frame) -> anyhow::Result<Word> {
    Ok(match frame.head {
        Head::Event { kind } => match Event::decode(kind, frame.body)? {
            Event::MessageSent(message) => of_text(&Text::decode(&message.content.body)?.text)?,
            Event::MessageGap(gap) => Word::LeftOut(gap.count.into()),
            _ => Word::Other,
        },
        Head::Reply { outcome: Outcome::Ok, .. } => Word::Taken,
        Head::Reply { outcome: Outcome::Reject(reject), .. } => Word::Refused(format!("{:?}", reject.code)),
        _ => Word::Other,
    })
}

fn of_broker(told: Told) -> anyhow::Result<Word> {
    Ok(match told {
        Told::Message { body, .. } => of_text(std::str::from_utf8(&body)?)?,
        Told::Acknowledged(_) => Word::Taken,
        _ => Word::Other,
    })
}

fn of_text(text: &str) -> anyhow::Result<Word> {
    let (number, intended) = body::read(text).context("a strange text")?;
    Ok(Word::Message(number, intended))
}
