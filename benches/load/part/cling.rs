//! Clients that come back by themselves when they lost the server, and what each went through; some of them write to each
//! other all the time, some are in rooms.

mod bare;
mod passage;
pub(super) mod user;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet, time::timeout};

pub(crate) use self::passage::Passage;
use self::{bare::Bare, user::User};
use super::chat::{
    self, Chatted,
    hall::Hall,
    sender::{Sends, send_all},
};
use crate::{
    child::{Orders, say},
    clients::{self, Crowd, OPENING, STREAM_WINDOW_BYTES},
    schedule::Schedule,
    weather::{self, Line, Weather},
};

/// Who clings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The users. Those who share a socket have an address of their own.
    pub(crate) crowd: Crowd,
    /// What they come over.
    pub(crate) way: Way,
    /// Whether their way may be cut.
    pub(crate) cuttable: bool,
    /// So many of the last of them are in rooms.
    pub(crate) members: u32,
    /// Members of a room.
    pub(crate) room_size: u32,
    /// What the first of them write.
    pub(crate) writing: Writing,
}

/// What a client comes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// QUIC.
    Quic,
    /// A WebSocket at this address.
    WebSocket(SocketAddr),
    /// A QUIC connection with nothing on it.
    Bare {
        /// How many there are in all: it tells how long they wait when they are sent away, as a Quail asks its clients to.
        all: u32,
        /// After how many seconds of silence they are lost.
        idle: u32,
    },
}

/// What those write who write, in open loop, each to their partner.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Writing {
    /// So many of this process do.
    pub(crate) writers: u32,
    /// How many do in processes before it.
    pub(crate) before: u32,
    /// How many do in all.
    pub(crate) all: u32,
    /// Messages per second of all together.
    pub(crate) per_second: f64,
    /// Bytes of a text.
    pub(crate) bytes: u32,
}

/// What a process is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Write from now on. Not answered.
    Begin,
    /// Whatever was until now is forgotten: who loses the server does so from now on. Answered with
    /// nothing.
    Mark,
    /// Cut all ways, or mend them and hurry. Not answered.
    Cut(bool),
    /// Say who is there. Answered with [`Seen`].
    Look,
    /// Stop writing and say what came of it. Answered with [`Clung`].
    End,
}

/// Who is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Those who are logged in, and in their room if they have one.
    pub(crate) there: u32,
    /// Those who have lost the server since the mark.
    pub(crate) lost: u32,
}

/// What became of the users of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Clung {
    /// What each went through.
    pub(crate) passages: Vec<Passage>,
    /// What those wrote who write; nothing of bare connections.
    pub(crate) chatted: Option<Chatted>,
}

/// Unanswered messages of a writer at most; below the 64 that a session may have.
const IN_FLIGHT: u32 = 32;

/// Nobody measures for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Whoever cannot say goodbye in this time goes without.
const GOODBYE: Duration = Duration::from_secs(10);

/// Connects all, says how many there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    match order.way {
        Way::Bare { all, idle } => cling_bare(&order, all, idle, &mut orders).await,
        Way::Quic | Way::WebSocket(_) => cling(&order, &mut orders).await,
    }
}

async fn cling(order: &Order, orders: &mut Orders) -> anyhow::Result<()> {
    let (trust, line) = (order.crowd.target.trust()?, Line::default());
    let sockets = sockets(&order.crowd, order.cuttable.then_some(&line)).await?;
    let (begin, begun) = watch::channel(None::<Arc<Hall>>);
    let connect = |index| User::come(order, index, &trust, &sockets, line.clone(), begun.clone());
    // In the order of the users.
    let users: Vec<Arc<User>> =
        stream::iter(0..order.crowd.users).map(connect).buffered(OPENING).try_collect().await?;
    say(&users.len())?;
    let mut sending = JoinSet::new();
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Begin => {
                let hall = Arc::new(Hall::begin(order.writing.writers, Duration::ZERO..LONGEST, true)?);
                begin.send_replace(Some(hall.clone()));
                for (index, user) in (0..order.writing.writers).zip(&users) {
                    let partner = user.client.peer(clients::user(order.crowd.first + (index ^ 1)))?;
                    sending.spawn(send_all(hall.clone(), hall.way(index), order.writing.of(index), partner));
                }
            }
            Ask::Mark => {
                users.iter().for_each(|user| user.passage().mark());
                say(&())?;
            }
            Ask::Cut(cut) => {
                line.cut(cut);
                if !cut {
                    users.iter().for_each(|user| user.client.reconnect_now());
                }
            }
            Ask::Look => say(&Seen::of(users.iter().map(|user| *user.passage())))?,
            Ask::End => {
                let hall = begin.borrow().clone();
                let chatted = match hall {
                    None => None,
                    Some(hall) => {
                        hall.stop();
                        while sending.join_next().await.transpose()?.is_some() {}
                        chat::settle(&hall, chat::SETTLING).await;
                        Some(hall.end()?)
                    }
                };
                say(&Clung { passages: users.iter().map(|user| *user.passage()).collect(), chatted })?;
            }
        }
    }
    let mut leaving = JoinSet::new();
    for user in users {
        leaving.spawn(async move { user.client.close().await });
    }
    _ = timeout(GOODBYE, leaving.join_all()).await;
    Ok(())
}

/// A socket for as many users as share one, on a line that may be cut if there is one.
pub(super) async fn sockets(crowd: &Crowd, line: Option<&Line>) -> anyhow::Result<Vec<quinn::Endpoint>> {
    let Some(line) = line else { return crowd.sockets_apart() };
    let weather = Weather::new(0.0, u64::from(crowd.first));
    let mut sockets = vec![];
    for index in (0..crowd.users).step_by(crowd.per_socket as usize) {
        sockets.push(weather::endpoint(weather.clone(), line.clone(), crowd.address(index)).await?);
    }
    Ok(sockets)
}

async fn cling_bare(order: &Order, all: u32, idle: u32, orders: &mut Orders) -> anyhow::Result<()> {
    let line = Line::default();
    let config = order.crowd.target.bare_with(STREAM_WINDOW_BYTES, Duration::from_secs(idle.into()))?;
    let sockets = sockets(&order.crowd, order.cuttable.then_some(&line)).await?;
    let connect = |index| Bare::come(order, index, all, &config, &sockets);
    let connections: Vec<Arc<Bare>> =
        stream::iter(0..order.crowd.users).map(connect).buffered(OPENING).try_collect().await?;
    say(&connections.len())?;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Begin => {}
            Ask::Mark => {
                connections.iter().for_each(|bare| bare.passage().mark());
                say(&())?;
            }
            Ask::Cut(cut) => {
                line.cut(cut);
                if !cut {
                    connections.iter().for_each(|bare| bare.hurry());
                }
            }
            Ask::Look => say(&Seen::of(connections.iter().map(|bare| *bare.passage())))?,
            Ask::End => {
                let passages = connections.iter().map(|bare| *bare.passage()).collect();
                say(&Clung { passages, chatted: None })?;
            }
        }
    }
    Ok(())
}

impl Writing {
    /// What the writer at `index` of this process sends.
    fn of(&self, index: u32) -> Sends {
        let schedule = Schedule::new(u64::from(self.before + index), u64::from(self.all), self.per_second);
        Sends { schedule: Some(schedule), in_flight: IN_FLIGHT, bytes: self.bytes, messages: None }
    }
}

impl Seen {
    fn of(passages: impl Iterator<Item = Passage>) -> Self {
        passages.fold(Self::default(), |seen, passage| Self {
            there: seen.there + u32::from(passage.is_there()),
            lost: seen.lost + u32::from(passage.lost_us.is_some()),
        })
    }

    /// Adds those of another process.
    pub(crate) fn add(&mut self, other: Self) {
        self.there += other.there;
        self.lost += other.lost;
    }
}
