//! Clients that write to each other in pairs, and hold every delivery against what was sent.

pub(super) mod hall;
pub(super) mod sender;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use quail_client::{Client, Events};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

pub(crate) use self::hall::{Chatted, Took};
use self::{
    hall::{Hall, Way},
    sender::Sends,
};
use crate::{
    child::{Orders, say},
    clients::{self, Crowd, OPENING},
    schedule::Schedule,
};

/// Who writes how much.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The users; each writes to their partner.
    pub(crate) crowd: Crowd,
    /// Users of all crowds together.
    pub(crate) senders: u32,
    /// Messages per second of all crowds together; `None`: each sends again when it may.
    pub(crate) per_second: Option<f64>,
    /// Unanswered messages of a sender at most.
    pub(crate) in_flight: u32,
    /// Bytes of a text.
    pub(crate) bytes: u32,
    /// Milliseconds from the start that are not measured.
    pub(crate) warm_up: u64,
    /// Milliseconds that are measured.
    pub(crate) duration: u64,
}

/// What is said to the scenario.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// All are connected.
    Connected,
    /// Messages so far.
    Progress {
        /// Acknowledged ones.
        acknowledged: u64,
        /// Those that arrived.
        delivered: u64,
    },
    /// The end.
    Done(Box<Chatted>),
}

/// What is on its way at the end has so long to arrive.
pub(super) const SETTLING: Duration = Duration::from_secs(20);

/// How often the scenario hears how it goes.
const TELLING: Duration = Duration::from_millis(500);

/// Connects all, waits for a word, and chats.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let (trust, sockets) = (order.crowd.target.trust()?, order.crowd.sockets()?);
    let connect = async |index| anyhow::Ok(order.crowd.client(index, &trust, &sockets)?.connect().await?);
    // In the order of the users.
    let connected: Vec<(Client, Events)> =
        stream::iter(0..order.crowd.users).map(connect).buffered(OPENING).try_collect().await?;
    say(&Told::Connected)?;
    anyhow::ensure!(orders.next::<()>().await?.is_some(), "nobody says when to begin");
    let [warm_up, duration] = [order.warm_up, order.duration].map(Duration::from_millis);
    let hall = Arc::new(Hall::begin(order.crowd.users, warm_up..warm_up + duration, false)?);
    let mut clients = vec![];
    let mut sending = JoinSet::new();
    let mut receiving = JoinSet::new();
    for (index, (client, events)) in (0..).zip(connected) {
        let partner = client.peer(clients::user(order.crowd.first + (index ^ 1)))?;
        let schedule = order.per_second.map(|per_second| {
            Schedule::new(u64::from(order.crowd.first + index), u64::from(order.senders), per_second)
        });
        let sends = Sends { schedule, in_flight: order.in_flight, bytes: order.bytes, messages: None };
        sending.spawn(sender::send_all(hall.clone(), hall.way(index), sends, partner));
        receiving.spawn(receive_all(hall.clone(), hall.way(index ^ 1), events));
        clients.push(client);
    }
    let mut often = interval(TELLING);
    loop {
        tokio::select! {
            ended = sending.join_next() => match ended {
                Some(ended) => ended?,
                None => break,
            },
            _ = often.tick() => say(&hall.progress())?,
        }
    }
    settle(&hall, SETTLING).await;
    receiving.shutdown().await;
    say(&Told::Done(Box::new(hall.end()?)))?;
    for client in clients {
        client.close().await;
    }
    Ok(())
}

/// Waits until all that was accepted has arrived, but not for ever.
pub(super) async fn settle(hall: &Hall, patience: Duration) {
    let settled = async {
        let mut often = interval(Duration::from_millis(20));
        while !hall.is_settled() {
            often.tick().await;
        }
    };
    // What is missing then is counted as lost.
    _ = timeout(patience, settled).await;
}

/// Takes what comes from the sender of `way`.
async fn receive_all(hall: Arc<Hall>, way: Arc<Way>, mut events: Events) {
    while let Some(event) = events.recv().await {
        hall.hear(&way, &event);
    }
}
