//! Members of one room with the client of Quail, over a bad network: some leave and come again, some lose their connection
//! for a while.

mod director;
mod member;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

use self::{director::Churn, member::Member};
use crate::{
    chain::Ends,
    child::{Orders, say},
    clients::{Crowd, OPENING},
    latency::Latencies,
    part::attend::Counted,
    weather::{Packets, Weather},
};

/// Who dwells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The members. Each has a socket of its own.
    pub(crate) crowd: Crowd,
    /// Where.
    pub(crate) room: String,
    /// Of all packets, 0 to 1.
    pub(crate) loss: f64,
    /// Members of this process that leave, per second.
    pub(crate) leaves_per_second: f64,
    /// For how long.
    pub(crate) left_for: Duration,
    /// Members of this process that lose their connection, per second.
    pub(crate) cuts_per_second: f64,
    /// For how long, in turn.
    pub(crate) cut_for: Vec<Duration>,
}

/// What a process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Let members leave and lose their connection from now on. Not answered.
    Churn,
    /// Stop that. Answered with how many are in the room when all are who can be.
    Rest,
    /// Say what was heard when it is all of that. Answered with [`Heard`].
    Settle(Ends),
}

/// What the members of a process lived through.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lived {
    /// Times that somebody left, and came again.
    pub(crate) left: u64,
    /// Times that somebody's packets were all lost for a while.
    pub(crate) cut: u64,
    /// Times that a client told its app that the connection is interrupted.
    pub(crate) interrupted: u64,
    /// Times that it was in again with the session that it had.
    pub(crate) went_on: u64,
    /// Times that it came in again with another.
    pub(crate) rejoined: u64,
    /// Times that it was out of the room without having asked for it.
    pub(crate) put_out: u64,
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// Times that an app was told that messages cannot be read any more.
    pub(crate) behind: u64,
    /// Requests to come in or leave that were not answered with a yes.
    pub(crate) refused: u64,
}

impl Lived {
    /// Adds what others lived through.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { left, cut, interrupted, went_on, rejoined, put_out, gaps, behind, refused } = other;
        self.left += left;
        self.cut += cut;
        self.interrupted += interrupted;
        self.went_on += went_on;
        self.rejoined += rejoined;
        self.put_out += put_out;
        self.gaps += gaps;
        self.behind += behind;
        self.refused += refused;
    }
}

/// What the members of a process heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// By all together.
    pub(crate) counted: Counted,
    /// From the intended time of a message to the app, those that were cut off included.
    pub(crate) latencies: Latencies,
    /// What they lived through.
    pub(crate) lived: Lived,
    /// What became of their packets.
    pub(crate) packets: Packets,
}

/// What is on its way at the end has so long to arrive; whoever is away has so long to come back.
const SETTLING: Duration = Duration::from_secs(50);

/// How often is looked whether it has.
const LOOKING: Duration = Duration::from_millis(20);

/// Lets all in, says how many there are, and does what it is asked.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let weather = Weather::new(order.loss, u64::from(order.crowd.first) << 32);
    let trust = order.crowd.target.trust()?;
    let connect = |index| Member::come(&order, index, trust.clone(), weather.clone());
    let members: Vec<Arc<Member>> =
        stream::iter(0..order.crowd.users).map(connect).buffer_unordered(OPENING).try_collect().await?;
    say(&members.len())?;
    let mut churning = None;
    while let Some(ask) = orders.next().await? {
        match ask {
            Ask::Churn => churning = Some(Churn::begin(&order, members.clone())),
            Ask::Rest => {
                if let Some(churn) = churning.take() {
                    churn.end().await;
                }
                until(|| members.iter().all(|member| member.is_in())).await;
                say(&members.iter().filter(|member| member.is_in()).count())?;
            }
            Ask::Settle(ends) => {
                until(|| members.iter().all(|member| member.has_come_to(&ends))).await;
                let mut heard = Heard {
                    counted: Counted::default(),
                    latencies: Latencies::new()?,
                    lived: Lived::default(),
                    packets: weather.packets(),
                };
                for member in &members {
                    member.tell(&ends, &mut heard);
                }
                say(&heard)?;
            }
        }
    }
    let mut leaving = JoinSet::new();
    members.iter().for_each(|member| _ = leaving.spawn(member.clone().close()));
    // Whoever cannot say goodbye in time goes without.
    _ = timeout(Duration::from_secs(10), leaving.join_all()).await;
    Ok(())
}

/// Waits for something, but not for ever: what is missing then is counted.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        let mut often = interval(LOOKING);
        while !done() {
            often.tick().await;
        }
    };
    _ = timeout(SETTLING, wait).await;
}
