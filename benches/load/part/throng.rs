//! Light sessions, over bare QUIC or a WebSocket, that speak in open loop and listen, in rooms or to one other, and hold everything that
//! they are told against what was answered. They can be as many, and send as much, as a server cannot take.

pub(crate) mod program;
pub(crate) mod seconds;
pub(crate) mod session;
pub(crate) mod trail;
mod voice;
mod wire;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use quail_protocol::Priority;
use quinn::{ClientConfig, Endpoint};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

use self::{
    program::Program, seconds::Seconds, session::Session, trail::ByPriority, voice::Voiced, wire::Socket,
};
use crate::{
    child::{Orders, say},
    clients::{self, OPENING, STREAM_WINDOW_BYTES, Target},
    cpu,
    part::attend::{Counted, raw::Raw},
};

/// Who comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Their server.
    pub(crate) target: Target,
    /// How many share a socket.
    pub(crate) per_socket: u32,
    /// The sessions. The first of a room that comes owns it, and they come in this order if there are voices among them.
    pub(crate) seats: Vec<Seat>,
    /// The server is the bare loop.
    pub(crate) bare: bool,
    /// The TCP address of the server, if they come over a WebSocket.
    pub(crate) websocket: Option<SocketAddr>,
    /// Bytes of a text.
    pub(crate) bytes: u32,
    /// Unanswered messages of a session at most.
    pub(crate) in_flight: u32,
}

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// The number of its user.
    pub(crate) user: u32,
    /// The number of its room, or of its pair.
    pub(crate) conversation: u32,
    /// The other one of its pair, if it is not in a room.
    pub(crate) partner: Option<u32>,
    /// What it says.
    pub(crate) voice: Option<Voice>,
}

/// What a session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Voice {
    /// How urgent its messages are.
    pub(crate) priority: Priority,
    /// Its turn among all that say urgent things, or among all others.
    pub(crate) turn: u32,
    /// How many those are.
    pub(crate) of: u32,
}

impl Voice {
    /// Whether it says what nothing may delay.
    pub(crate) fn is_urgent(&self) -> bool {
        self.priority == Priority::High
    }
}

/// What a process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Speak. Answered with [`Spoke`] when all is said and answered.
    Speak(Program),
    /// Wait until everything was heard that was placed since the start, by conversation. Answered with [`Heard`].
    Settle(Vec<ByPriority>),
}

/// What became of everything that the sessions of a process said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spoke {
    /// Since the start, by conversation.
    pub(crate) placed: BTreeMap<u32, ByPriority>,
}

/// What the sessions of a process heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// Since the start, by all together.
    pub(crate) counted: Counted,
    /// Times that they were told to read the history instead.
    pub(crate) behind: u64,
    /// Messages that only the history had.
    pub(crate) fetched: u64,
    /// Sessions that ended, by the reason. What they missed behind that is counted nowhere.
    pub(crate) closed: BTreeMap<String, u64>,
    /// What happened in each second since the program began.
    pub(crate) seconds: Seconds,
}

/// What is on its way at the end has so long to be answered, and to arrive.
const SETTLING: Duration = Duration::from_secs(20);

/// How often is looked whether it has.
const LOOKING: Duration = Duration::from_millis(10);

/// What the tasks of a process share.
struct Hall {
    order: Order,
    /// When the program begins, and what happened since.
    running: Mutex<(Duration, Seconds)>,
}

impl Hall {
    fn running(&self) -> MutexGuard<'_, (Duration, Seconds)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something that happens now.
    fn note<T>(&self, what: impl FnOnce(&mut seconds::Second) -> T) -> T {
        let mut running = self.running();
        let elapsed = cpu::since_boot().saturating_sub(running.0);
        what(running.1.at(elapsed))
    }
}

/// Connects all, says how many there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let hall = Arc::new(Hall { order, running: Mutex::default() });
    let (sessions, mut voices) = connect(&hall).await?;
    say(&sessions.len())?;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Speak(program) => {
                *hall.running() = (program.begin, Seconds::default());
                voices = speak(voices, program).await?;
                say(&answered(&sessions).await)?;
            }
            Ask::Settle(placed) => say(&settle(&hall, &sessions, &placed).await?)?,
        }
    }
    Ok(())
}

async fn connect(hall: &Arc<Hall>) -> anyhow::Result<(Vec<Arc<Session>>, Vec<Voiced>)> {
    let Order { target, per_socket, seats, .. } = &hall.order;
    let config = target.bare()?;
    // Users of other processes have other numbers.
    let numbers = seats.chunks(*per_socket as usize).filter_map(|seats| Some(seats.first()?.user));
    let sockets: Vec<(u32, Endpoint)> =
        numbers.map(|number| Ok((number, clients::socket_apart(number)?))).collect::<anyhow::Result<_>>()?;
    // Who comes first owns a room.
    let opening = if seats.iter().any(|seat| seat.voice.is_some()) { 1 } else { OPENING };
    let connecting = stream::iter(seats.iter().zip(0..)).map(|(seat, index)| {
        let (config, socket) = (config.clone(), sockets.get((index / per_socket) as usize));
        async move {
            let (apart, socket) = socket.context("a socket for everyone")?;
            if let Some(server) = hall.order.websocket {
                let socket = Socket::open(server, *seat, *apart).await?;
                return anyhow::Ok(Session::begin_over(socket, *seat, hall));
            }
            let raw = reach(hall, *seat, config, socket).await?;
            Ok(Session::begin(raw, *seat, hall))
        }
    });
    let (mut sessions, mut voices) = (vec![], vec![]);
    let mut connected = connecting.buffered(opening);
    while let Some((session, voice)) = connected.try_next().await? {
        sessions.push(session);
        voices.extend(voice);
    }
    Ok((sessions, voices))
}

async fn reach(hall: &Hall, seat: Seat, config: ClientConfig, socket: &Endpoint) -> anyhow::Result<Raw> {
    let connection = socket.connect_with(config, hall.order.target.quic, "127.0.0.1")?.await?;
    if hall.order.bare {
        return Raw::bare(connection, seat.conversation, seat.voice.is_some()).await;
    }
    let mut raw = Raw::session(connection, seat.user, STREAM_WINDOW_BYTES).await?;
    if seat.partner.is_none() {
        raw.enter(seat.conversation).await?;
    }
    Ok(raw)
}

/// Lets all say what the program has for them.
async fn speak(voices: Vec<Voiced>, program: Program) -> anyhow::Result<Vec<Voiced>> {
    let program = Arc::new(program);
    let mut speaking = JoinSet::new();
    for voice in voices {
        speaking.spawn(voice.speak(program.clone()));
    }
    let mut voices = vec![];
    while let Some(spoken) = speaking.join_next().await {
        voices.push(spoken??);
    }
    Ok(voices)
}

/// Waits for the answers to what was said, and adds them up.
async fn answered(sessions: &[Arc<Session>]) -> Spoke {
    wait_until(|| sessions.iter().all(|session| session.is_answered())).await;
    let mut spoke = Spoke::default();
    for session in sessions {
        trail::add(spoke.placed.entry(session.seat.conversation).or_default(), &session.placed());
    }
    spoke
}

async fn settle(hall: &Hall, sessions: &[Arc<Session>], placed: &[ByPriority]) -> anyhow::Result<Heard> {
    let of = |session: &Session| placed.get(session.seat.conversation as usize).copied().unwrap_or_default();
    wait_until(|| sessions.iter().all(|session| session.is_settled(&of(session)))).await;
    let mut heard = Heard {
        counted: Counted::default(),
        behind: 0,
        fetched: 0,
        closed: BTreeMap::new(),
        seconds: Seconds::default(),
    };
    for session in sessions {
        heard.fetched += session.fetch(&hall.order.target, &of(session)).await?;
        session.tell(&of(session), &mut heard);
    }
    heard.seconds = hall.running().1.clone();
    Ok(heard)
}

/// Waits, but not for ever: what is missing then is counted.
async fn wait_until(settled: impl Fn() -> bool) {
    let wait = async {
        let mut often = interval(LOOKING);
        while !settled() {
            often.tick().await;
        }
    };
    _ = timeout(SETTLING, wait).await;
}
