//! Members of rooms: light sessions over bare QUIC or clients of a broker, in one process by the thousand, that hold every
//! delivery against what was said; and some that speak.

mod line;
mod listener;
pub(crate) mod raw;
pub(crate) mod saying;
mod speaker;
mod tally;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
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
use self::{line::Entrance, listener::Listener, raw::FIRST_REQUEST_ID, speaker::Speaker};
use crate::{
    broker,
    child::{Orders, say},
    clients::{Crowd, OPENING, Target},
    latency::Latencies,
};

/// The server that they come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum House {
    /// A Quail.
    Quail(Target),
    /// The bare loop.
    Bare(Target),
    /// A broker, to which a room is a topic.
    Broker(broker::Target),
}

/// Who attends what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Those who listen.
    pub(crate) crowd: Crowd<House>,
    /// Those who speak, as numbers of users behind all who listen: the first is speaker 0.
    pub(crate) speakers: Range<u32>,
    /// The number of speaker 0's user.
    pub(crate) first_speaker: u32,
    /// Listeners and speakers are in rooms in turn.
    pub(crate) rooms: u32,
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
    /// Of them, those that were taken, by room; all, if the server does not say.
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
    /// Bytes that carried it to them, by the protocol: without what TLS or QUIC add.
    pub(crate) received: u64,
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
    /// Bytes that listeners received in the round.
    received: AtomicU64,
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
    let latencies = Mutex::new(Latencies::new()?);
    let hall = Arc::new(Hall { latencies, received: AtomicU64::new(0), heard: Notify::new() });
    let (listeners, mut speakers) = connect(&order, &hall).await?;
    say(&(listeners.len() + speakers.len()))?;
    let mut turns = interval(QUIET);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ask = tokio::select! {
            ask = orders.next() => ask?,
            // Whoever speaks is silent while another server has its turn.
            _ = turns.tick() => {
                for speaker in &mut speakers {
                    speaker.stay().await?;
                }
                continue;
            }
        };
        let Some(ask) = ask else { return Ok(()) };
        match ask {
            Ask::Speak(round) => {
                *hall.latencies() = Latencies::new()?;
                hall.received.store(0, Ordering::Relaxed);
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
                let (latencies, received) = (hall.latencies().clone(), hall.received.load(Ordering::Relaxed));
                say(&Heard { counted, latencies, received })?;
            }
        }
    }
}

type Listeners = Vec<(u32, Arc<Listener>)>;

async fn connect(order: &Order, hall: &Arc<Hall>) -> anyhow::Result<(Listeners, Vec<Speaker>)> {
    let Order { crowd, speakers, first_speaker, rooms } = order;
    let entrance = Entrance::new(crowd)?;
    let mut listeners = vec![];
    let users = stream::iter(crowd.first..crowd.first + crowd.users);
    let mut connected = users
        .map(|user| {
            let (entrance, room) = (&entrance, user % rooms);
            async move { anyhow::Ok((room, entrance.listener(user, room).await?)) }
        })
        .buffer_unordered(OPENING);
    let mut controls = vec![];
    while let Some((room, mut line)) = connected.try_next().await? {
        controls.extend(line.take_control());
        let listener = Arc::new(Listener::default());
        tokio::spawn(listener.clone().listen(line, hall.clone()));
        listeners.push((room, listener));
    }
    drop(connected);
    tokio::spawn(keep(controls));
    let mut speaking = vec![];
    for number in speakers.clone() {
        let (user, room) = (first_speaker + number, number % rooms);
        let line = entrance.speaker(user, room).await?;
        speaking.push(Speaker::new(line, number, room, matches!(crowd.target, House::Bare(_)))?);
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
        let ping = ping(request_id);
        for control in &mut controls {
            turns.tick().await;
            control.write_chunk(ping.clone()).await?;
        }
    }
    Ok(())
}

fn ping(request_id: u32) -> Bytes {
    frame::encode(&Head::Request { request_id, opcode: Ping::INFO.opcode }, &Ping {})
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
    // In turn over all rooms, or all of them would speak at the same instant.
    let all = (speakers.len() as u64).next_multiple_of(u64::from(order.rooms));
    let pace = match round.pace {
        Pace::PerSecond(rate) => Pace::PerSecond(rate * f64::from(order.rooms)),
        ahead @ Pace::Ahead(_) => ahead,
    };
    let round = Round { pace, ..round };
    for speaker in speakers.drain(..) {
        let slowest = listeners
            .iter()
            .filter(|(room, _)| *room == speaker.room)
            .map(|(_, listener)| listener.clone())
            .collect();
        let turn = u64::from(speaker.number);
        speaking.spawn(speaker.speak(round, (turn, all), slowest, hall.clone()));
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
