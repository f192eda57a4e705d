//! Members of one room over bare QUIC, who read what they are told well, slowly or not at all.

mod member;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};

use self::member::Member;
use crate::{
    chain::Ends,
    child::{Orders, say},
    clients::{Crowd, IDLE, OPENING},
    latency::Latencies,
    part::attend::Counted,
};

/// Who heeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The members.
    pub(crate) crowd: Crowd,
    /// How they read.
    pub(crate) reading: Reading,
    /// Bytes that each grants on a stream.
    pub(crate) stream_window_bytes: u32,
}

/// How somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reading {
    /// As it comes.
    Well,
    /// So many bytes of each lane in a second.
    Slowly(u32),
    /// Never.
    NotAtAll,
}

/// What a process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Time those that were meant to go from now on, given since the machine started. Not answered.
    TimeFrom(Duration),
    /// Read what is left, if you read at all, until it is all of that, and say what was heard. Answered with [`Heard`].
    Settle(Ends),
}

/// What the members of a process heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// By all together.
    pub(crate) counted: Counted,
    /// From the intended time of a message to a member that has it decoded.
    pub(crate) latencies: Latencies,
    /// Times that members were told that something was left out.
    pub(crate) gaps: u64,
    /// Whose connection ended: when, since the machine started, and why.
    pub(crate) closed: Vec<(Duration, String)>,
}

/// What is on its way at the end has so long to arrive.
const SETTLING: Duration = Duration::from_secs(20);

/// How often is looked whether it has.
const LOOKING: Duration = Duration::from_millis(5);

/// What the members of a process share.
struct Hall {
    reading: Reading,
    /// Whoever reads slowly reads well from now on.
    catch_up: watch::Sender<bool>,
    times: Mutex<Times>,
}

struct Times {
    from: Duration,
    latencies: Latencies,
}

impl Hall {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn is_to_catch_up(&self) {
        // The sender is here, so it is there.
        _ = self.catch_up.subscribe().wait_for(|catch_up| *catch_up).await;
    }
}

/// Connects all, says how many there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let times = Times { from: Duration::MAX, latencies: Latencies::new()? };
    let hall = Hall { reading: order.reading, catch_up: watch::Sender::new(false), times: Mutex::new(times) };
    let hall = Arc::new(hall);
    let members = connect(&order, &hall).await?;
    say(&members.len())?;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::TimeFrom(from) => hall.times().from = from,
            Ask::Settle(ends) => {
                hall.times().from = Duration::MAX;
                hall.catch_up.send_replace(true);
                if order.reading != Reading::NotAtAll {
                    let wait = async {
                        let mut often = interval(LOOKING);
                        while !members.iter().all(|member| member.is_done(&ends)) {
                            often.tick().await;
                        }
                    };
                    // What is missing then is counted as lost.
                    _ = timeout(SETTLING, wait).await;
                }
                say(&heard(&members, &hall, &ends))?;
            }
        }
    }
    Ok(())
}

async fn connect(order: &Order, hall: &Arc<Hall>) -> anyhow::Result<Vec<Arc<Member>>> {
    let Order { crowd, stream_window_bytes, .. } = order;
    let config = crowd.target.bare_with(*stream_window_bytes, IDLE)?;
    let sockets = crowd.sockets()?;
    let users = stream::iter(crowd.first..crowd.first + crowd.users);
    let connected = users.map(|user| {
        let (socket, config) =
            (sockets.get(((user - crowd.first) / crowd.per_socket) as usize), config.clone());
        async move {
            let socket = socket.context("a socket for everyone")?;
            let connection = socket.connect_with(config, crowd.target.quic, "127.0.0.1")?.await?;
            Member::come(connection, user, *stream_window_bytes, hall).await
        }
    });
    connected.buffer_unordered(OPENING).try_collect().await
}

fn heard(members: &[Arc<Member>], hall: &Hall, ends: &Ends) -> Heard {
    let mut counted = Counted::default();
    for member in members {
        // Whoever reads nothing cannot have anything, and whoever was closed for being slow cannot have the rest.
        counted.add(&match hall.reading {
            Reading::Slowly(_) if member.closed().is_some() => member.counted(),
            Reading::Well | Reading::Slowly(_) => member.end(ends),
            Reading::NotAtAll => member.counted(),
        });
    }
    let gaps = members.iter().map(|member| member.gaps()).sum();
    let closed = members.iter().filter_map(|member| member.closed()).collect();
    Heard { counted, latencies: hall.times().latencies.clone(), gaps, closed }
}
