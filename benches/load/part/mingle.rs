//! Users of an app who do what people do: chat in pairs, in small rooms and in large ones, come and go, or say nothing.
//! They are clients of the crate, over whatever carrier, and hold every delivery against what was answered.

mod talker;
mod user;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

pub(crate) use self::talker::BYTES_MEAN;
use self::user::User;
use crate::{
    child::{Orders, say},
    clients::{self, OPENING, Visitor},
    latency::Latencies,
    part::{
        attend::Counted,
        throng::trail::{self, ByPriority},
    },
};

/// Who comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The users, in the order in which they come.
    pub(crate) seats: Vec<Seat>,
    /// How many share a socket, of those that come over QUIC.
    pub(crate) per_socket: u32,
    /// Unanswered messages of a user at most.
    pub(crate) in_flight: usize,
}

/// A kind of talk, by which times are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Talk {
    /// Between two, kept on disk.
    Pair,
    /// In a small room whose messages are kept, which stands for a group.
    Group,
    /// A line over a picture, to a large room: a barrage of low priority.
    Barrage,
    /// A text to a large room.
    Normal,
    /// An urgent text to a large room.
    High,
}

impl Talk {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Pair, Self::Group, Self::Barrage, Self::Normal, Self::High];

    /// As it stands in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pair => "pairs",
            Self::Group => "groups",
            Self::Barrage => "live rooms, barrage",
            Self::Normal => "live rooms, normal",
            Self::High => "live rooms, high",
        }
    }
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// How it comes.
    pub(crate) visitor: Visitor,
    /// Its number among all, which its messages bear.
    pub(crate) number: u32,
    /// Its partner, and the number of their conversation.
    pub(crate) pair: Option<(String, u32)>,
    /// Its group, and the number of that conversation.
    pub(crate) group: Option<(String, u32)>,
    /// Its large room, and the number of that conversation.
    pub(crate) live: Option<(String, u32)>,
    /// What it says, each so many times a second; the first time after a part of the time between two.
    pub(crate) says: Vec<(Talk, f64, f64)>,
    /// How often in a second it leaves its large room and comes again.
    pub(crate) leaves: f64,
}

/// What a process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Do what you do. Answered with [`Said`] when all is said and answered.
    Talk(Round),
    /// Wait until everything was heard that was placed since the start, by conversation. Answered with [`Heard`].
    Settle(Vec<ByPriority>),
}

/// How long, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Not measured.
    pub(crate) warm_up: u64,
    /// Measured behind it.
    pub(crate) duration: u64,
}

/// What users said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Said {
    /// What became of it since the start, by conversation.
    pub(crate) placed: BTreeMap<u32, ByPriority>,
    /// Messages since the start, by kind.
    pub(crate) sent: BTreeMap<Talk, u64>,
    /// Those that were refused, by kind and reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Times that a user left a large room and came again.
    pub(crate) left: u64,
}

/// What users heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// Since the start, by all together.
    pub(crate) counted: Counted,
    /// Of this round, by kind: from the intended time of a message to the app of a receiver.
    pub(crate) times: BTreeMap<Talk, Latencies>,
    /// Since the start, what was told as left out.
    pub(crate) left_out: BTreeMap<Talk, u64>,
    /// Times that clients were told that messages are gone.
    pub(crate) behind: u64,
    /// Users whose client has no connection.
    pub(crate) gone: u64,
}

/// What is on its way at the end has so long to be answered, and to arrive.
const SETTLING: Duration = Duration::from_secs(20);

/// How often is looked whether it has.
const LOOKING: Duration = Duration::from_millis(20);

/// What the users of a process share.
#[derive(Default)]
struct Hall(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Times of messages that were meant to go from then on are taken, since the machine started.
    from: Duration,
    times: BTreeMap<Talk, Latencies>,
    said: Said,
}

impl Hall {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects all, says how many there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let hall = Arc::new(Hall::default());
    let users = connect(&order, &hall).await?;
    say(&users.len())?;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Talk(round) => {
                let mut talking = JoinSet::new();
                for user in &users {
                    talking.spawn(talker::talk(user.clone(), round, order.in_flight, hall.clone()));
                }
                while let Some(talked) = talking.join_next().await {
                    talked??;
                }
                say(&said(&users, &hall))?;
            }
            Ask::Settle(placed) => say(&settle(&users, &hall, &placed).await)?,
        }
    }
    for user in users {
        user.close().await;
    }
    Ok(())
}

async fn connect(order: &Order, hall: &Arc<Hall>) -> anyhow::Result<Vec<Arc<User>>> {
    let numbers =
        order.seats.chunks(order.per_socket as usize).filter_map(|seats| Some(seats.first()?.number));
    let sockets: Vec<_> = numbers.map(clients::socket_apart).collect::<anyhow::Result<_>>()?;
    let coming = stream::iter(order.seats.iter().zip(0..)).map(|(seat, index)| {
        let socket = sockets.get((index / order.per_socket) as usize).cloned();
        async move { User::come(seat.clone(), socket.context("a socket for everyone")?, hall.clone()).await }
    });
    coming.buffered(OPENING).try_collect().await
}

fn said(users: &[Arc<User>], hall: &Hall) -> Said {
    let mut said = hall.known().said.clone();
    for user in users {
        for (conversation, placed) in user.placed() {
            trail::add(said.placed.entry(conversation).or_default(), &placed);
        }
    }
    said
}

async fn settle(users: &[Arc<User>], hall: &Hall, placed: &[ByPriority]) -> Heard {
    let wait = async {
        let mut often = interval(LOOKING);
        while !users.iter().all(|user| user.is_settled(placed)) {
            often.tick().await;
        }
    };
    // What is missing then is counted as lost.
    _ = timeout(SETTLING, wait).await;
    let mut heard = Heard {
        counted: Counted::default(),
        times: std::mem::take(&mut hall.known().times),
        left_out: BTreeMap::new(),
        behind: 0,
        gone: 0,
    };
    users.iter().for_each(|user| user.tell(placed, &mut heard));
    heard
}
