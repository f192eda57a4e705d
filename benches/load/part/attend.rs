//! Members of rooms: light sessions over bare QUIC, in one process by the thousand, that hold every delivery against what
//! was said; and some that speak.

mod listener;
pub(crate) mod raw;
pub(crate) mod saying;
mod speaker;
mod tally;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::bail;
use futures_util::{StreamExt, TryStreamExt, stream};
use quail_protocol::{
    Operation,
    frame::{self, Head},
    session::Ping,
};
use quinn::SendStream;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

pub(crate) use self::tally::Counted;
use self::{
    listener::Listener,
    raw::{FIRST_REQUEST_ID, Raw},
    speaker::Speaker,
};
use crate::{
    child::{Orders, say},
    clients::{Crowd, OPENING, STREAM_WINDOW_BYTES},
    latency::Latencies,
};

/// Who attends what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Those who listen.
    pub(crate) crowd: Crowd,
    /// Those who speak, as numbers of users behind all who listen: the first is speaker 0.
    pub(crate) speakers: Range<u32>,
    /// The number of speaker 0's user.
    pub(crate) first_speaker: u32,
    /// Listeners and speakers are in rooms in turn.
    pub(crate) rooms: u32,
    /// The server is the bare loop.
    pub(crate) bare: bool,
}

/// What a process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Forget the round before and speak. Answered with [`Spoke`] when all is said.
    Speak(Round),
    /// Wait until so much of each room has been heard. Answered with [`Heard`].
    Settle(Vec<u64>),
}

/// What is said in a round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Milliseconds for which is spoken.
    pub(crate) milliseconds: u64,
    /// Messages of one speaker that go together.
    pub(crate) per_flush: u32,
    /// Bytes of a text.
    pub(crate) bytes: u32,
    /// When.
    pub(crate) pace: Pace,
}

/// When a speaker says something.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// So many flushes per second and room, whatever becomes of them.
    PerSecond(f64),
    /// As soon as no listener of this process lags more than so many messages behind.
    Ahead(u64),
}

/// What the speakers of a process said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spoke {
    /// Messages that were sent.
    pub(crate) sent: u64,
    /// Of them, those that were taken, by room.
    pub(crate) accepted: Vec<u64>,
    /// Of them, those that were not, by the reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// From the intended time of a flush to the moment it was written: what the load itself was late.
    pub(crate) late: Latencies,
}

/// What the listeners of a process heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// By all together.
    pub(crate) counted: Counted,
    /// From the intended time of a message to a listener that has it decoded.
    pub(crate) latencies: Latencies,
}

/// What is on its way at the end has so long to arrive.
const SETTLING: Duration = Duration::from_secs(20);

/// How often is looked whether it has.
const LOOKING: Duration = Duration::from_millis(5);

/// Half of what the server takes for the end of a session.
pub(crate) const QUIET: Duration = Duration::from_secs(15);

/// What the tasks of a process share.
struct Hall {
    latencies: Mutex<Latencies>,
    /// A listener has heard more.
    heard: Notify,
}

impl Hall {
    fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects all, says how many there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let hall = Arc::new(Hall { latencies: Mutex::new(Latencies::new()?), heard: Notify::new() });
    let (listeners, mut speakers) = connect(&order, &hall).await?;
    say(&(listeners.len() + speakers.len()))?;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Speak(round) => {
                *hall.latencies() = Latencies::new()?;
                listeners.iter().for_each(|(_, listener)| listener.begin());
                say(&speak(&order, &mut speakers, (&listeners, &hall), round).await?)?;
            }
            Ask::Settle(expected) => {
                let settled = |(room, listener): &(u32, Arc<Listener>)| {
                    expected.get(*room as usize).is_none_or(|expected| listener.has_heard() >= *expected)
                };
                let wait = async {
                    let mut often = interval(LOOKING);
                    while !listeners.iter().all(settled) {
                        often.tick().await;
                    }
                };
                // What is missing then is counted as lost.
                _ = timeout(SETTLING, wait).await;
                let mut counted = Counted::default();
                for (room, listener) in &listeners {
                    counted.add(&listener.counted(expected.get(*room as usize).copied().unwrap_or_default()));
                }
                say(&Heard { counted, latencies: hall.latencies().clone() })?;
            }
        }
    }
    Ok(())
}

type Listeners = Vec<(u32, Arc<Listener>)>;

async fn connect(order: &Order, hall: &Arc<Hall>) -> anyhow::Result<(Listeners, Vec<Speaker>)> {
    let Order { crowd, speakers, first_speaker, rooms, bare } = order;
    let config = crowd.target.bare()?;
    let mut sockets = crowd.sockets()?;
    if !speakers.is_empty() {
        sockets.push(crate::clients::socket()?);
    }
    let connect = async |user: u32, room: u32, speaks: bool| {
        let socket = if speaks {
            sockets.last()
        } else {
            sockets.get(((user - crowd.first) / crowd.per_socket) as usize)
        };
        let Some(socket) = socket else { bail!("no socket for user {user}") };
        let connecting = socket.connect_with(config.clone(), crowd.target.quic, "127.0.0.1")?;
        let connection = connecting.await?;
        if *bare {
            Raw::bare(connection, room, speaks).await
        } else {
            Raw::member(connection, user, room, STREAM_WINDOW_BYTES).await
        }
    };
    let mut listeners = vec![];
    let users = stream::iter(crowd.first..crowd.first + crowd.users);
    let mut connected = users
        .map(|user| {
            let (connect, room) = (&connect, user % rooms);
            async move { anyhow::Ok((room, connect(user, room, false).await?)) }
        })
        .buffer_unordered(OPENING);
    let mut controls = vec![];
    while let Some((room, mut raw)) = connected.try_next().await? {
        controls.extend(raw.control.take());
        let listener = Arc::new(Listener::default());
        tokio::spawn(listener.clone().listen(raw, hall.clone()));
        listeners.push((room, listener));
    }
    drop(connected);
    tokio::spawn(keep(controls));
    let mut speaking = vec![];
    for number in speakers.clone() {
        let user = first_speaker + number;
        let raw = connect(user, number % rooms, true).await?;
        speaking.push(Speaker::new(raw, number, number % rooms, *bare)?);
    }
    Ok((listeners, speaking))
}

/// Says of sessions that they are there, as a client does that only listens.
async fn keep(mut controls: Vec<SendStream>) -> anyhow::Result<()> {
    if controls.is_empty() {
        return Ok(());
    }
    let mut turns = interval(QUIET / controls.len() as u32);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for request_id in FIRST_REQUEST_ID.. {
        let ping = frame::encode(&Head::Request { request_id, opcode: Ping::INFO.opcode }, &Ping {});
        for control in &mut controls {
            turns.tick().await;
            control.write_chunk(ping.clone()).await?;
        }
    }
    Ok(())
}

/// Lets all speak at once.
async fn speak(
    order: &Order,
    speakers: &mut Vec<Speaker>,
    (listeners, hall): (&Listeners, &Arc<Hall>),
    round: Round,
) -> anyhow::Result<Spoke> {
    let mut spoke = Spoke {
        sent: 0,
        accepted: vec![0; order.rooms as usize],
        refused: BTreeMap::new(),
        late: Latencies::new()?,
    };
    let mut speaking = JoinSet::new();
    let in_a_room = (speakers.len() as u64).div_ceil(u64::from(order.rooms));
    for speaker in speakers.drain(..) {
        let slowest = listeners
            .iter()
            .filter(|(room, _)| *room == speaker.room)
            .map(|(_, listener)| listener.clone())
            .collect();
        let turn = u64::from(speaker.number / order.rooms);
        speaking.spawn(speaker.speak(round, (turn, in_a_room), slowest, hall.clone()));
    }
    while let Some(spoken) = speaking.join_next().await {
        let (speaker, said) = spoken??;
        spoke.sent += said.sent;
        spoke.accepted[speaker.room as usize] += said.accepted;
        for (reason, count) in said.refused {
            *spoke.refused.entry(reason).or_default() += count;
        }
        spoke.late.merge(&said.late);
        speakers.push(speaker);
    }
    Ok(spoke)
}
