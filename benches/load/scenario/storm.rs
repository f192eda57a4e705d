//! Everybody loses the server at once and comes back by themselves, while some write to each other all the time.

mod curve;
mod host;
mod tell;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use self::{
    host::Host,
    tell::{All, Served, Turn},
};
use super::{
    Scenario, Stage,
    door::{Bare, Server, seconds},
};
use crate::{
    child::{Child, PATIENCE, Stop},
    clients::{Crowd, IDLE, Target},
    cpu,
    flags::Shared,
    part::{
        Part,
        cling::{Ask, Clung, Order, Seen, Way, Writing},
        serve,
    },
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Sessions. Those that share a socket have an address of their own, for the server counts connections by address.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    sessions: u32,
    /// How they lose the server, in turn.
    #[arg(long, default_value = "sigterm,sigkill", value_delimiter = ',')]
    by: Vec<By>,
    /// What clients come over. The control is bare QUIC with either.
    #[arg(long, default_value = "quic")]
    carrier: Carrier,
    /// Seconds for which a cut loses every packet; a client notices after 20.
    #[arg(long, default_value_t = 40.0)]
    cut_for: f64,
    /// Seconds of silence after which the server takes a client for lost, if not as many as by default. A client pings
    /// after a third of them and notices after two.
    #[arg(long)]
    idle: Option<u32>,
    /// Sessions in rooms.
    #[arg(long, default_value_t = 1000)]
    members: u32,
    /// Sessions in each room.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5000))]
    room_size: u32,
    /// Sessions that write to each other in pairs.
    #[arg(long, default_value_t = 200)]
    writers: u32,
    /// Messages per second of them together, in open loop.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Bytes of a text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    bytes: u32,
    /// Seconds of traffic before.
    #[arg(long, default_value_t = 60.0)]
    before: f64,
    /// Seconds of traffic after everybody is back.
    #[arg(long, default_value_t = 15.0)]
    after: f64,
    /// Seconds in which everybody should be back, from when the server is.
    #[arg(long, default_value_t = 180.0)]
    patience: f64,
    /// Rounds, each of sessions and of bare connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// How everybody loses the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub(crate) enum By {
    /// It is asked to stop, and started again in its place.
    SigTerm,
    /// It is killed, and started again in its place.
    SigKill,
    /// Every packet is lost for a while.
    Cut,
}

/// What clients come over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub(crate) enum Carrier {
    /// QUIC.
    Quic,
    /// A WebSocket, without TLS.
    WebSocket,
}

/// How often is looked whether all are back.
const LOOKING: Duration = Duration::from_millis(200);

impl Scenario for Options {
    const NAME: &'static str = "storm";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let mut all = All::new(self.sessions);
        for round in 1..=self.rounds {
            for by in &self.by {
                let mut pair = vec![];
                for bare in [false, true] {
                    let what = if bare { "bare connections" } else { "sessions" };
                    stage.progress.say(&format!("round {round}, {by:?}: {} {what} come", self.sessions));
                    pair.push(self.turn(stage, *by, round, bare).await?);
                }
                if let Ok([measured, control]) = <[Turn; 2]>::try_from(pair) {
                    all.add(&mut stage.report, round, measured, control);
                }
            }
        }
        all.tell(&mut stage.report, self.shared.per_socket);
        Ok(())
    }
}

impl Options {
    /// One loss of the server, and all that follows.
    async fn turn(&self, stage: &mut Stage, by: By, round: u32, bare: bool) -> anyhow::Result<Turn> {
        let scratch = stage.scratch.path().join(format!("{round}-{by:?}"));
        let mut host = if bare {
            Host::Bare(Box::new(Bare::start(&scratch).await?), scratch)
        } else {
            let order = serve::Order {
                idle: self.idle,
                ..serve::Order::here(scratch.join("quail"), self.shared.default_limits)
            };
            Host::Quail(Box::new(Server::start_in(None, order, &mut stage.report).await?))
        };
        let name = format!("{by:?}, {}", if bare { "bare endpoint" } else { "server" });
        host.watch(&stage.report, &name);
        let mut children = self.connect(&host, by).await?;
        tell(&mut children, Ask::Begin).await?;
        stage.progress.say(&format!("{by:?}: traffic as usual for {} s", self.before));
        sleep(seconds(self.before)?).await;
        let memory_before = host.memory()?;

        tell(&mut children, Ask::Mark).await?;
        // Whoever is slow to mark would forget what is lost in a moment.
        for child in &mut children {
            child.hear::<()>(PATIENCE).await?;
        }
        let lost_at = cpu::since_boot();
        let stop = match by {
            By::SigTerm => Some(Stop::SigTerm),
            By::SigKill => Some(Stop::SigKill),
            By::Cut => None,
        };
        match stop {
            Some(how) => host = host.restart(how, &mut stage.report, &name).await?,
            None => {
                tell(&mut children, Ask::Cut(true)).await?;
                sleep(seconds(self.cut_for)?).await;
                cpu::forget_peak(host.id())?;
                tell(&mut children, Ask::Cut(false)).await?;
            }
        }
        let there_at = cpu::since_boot();
        let cpu_before = host.cpu()?;
        let waited = Instant::now();
        let (mut often, patience) = (interval(LOOKING), seconds(self.patience)?);
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            often.tick().await;
            let seen = look(&mut children).await?;
            stage.progress.say(&format!(
                "{by:?}: {} of {} lost it and {} are there after {:.1} s",
                seen.lost,
                self.sessions,
                seen.there,
                waited.elapsed().as_secs_f64()
            ));
            // A cut that is too short is noticed by nobody.
            let noticed = stop.is_none() || seen.lost >= self.sessions;
            if noticed && seen.there >= self.sessions || waited.elapsed() > patience {
                break;
            }
        }
        let (cpu, peak) = (host.cpu()?.since(cpu_before), cpu::peak(host.id())?);
        sleep(seconds(self.after)?).await;
        tell(&mut children, Ask::End).await?;
        let mut clung: Vec<Clung> = vec![];
        for child in &mut children {
            clung.push(child.hear(2 * PATIENCE).await?);
        }
        let counters = host.counters().await?;
        for child in children {
            child.end().await?;
        }
        host.stop().await?;
        Turn::new(by, lost_at, there_at, Served { cpu, peak, memory_before, counters }, clung)
    }

    /// Connects everybody.
    async fn connect(&self, host: &Host, by: By) -> anyhow::Result<Vec<Child>> {
        let way = match (host, self.carrier) {
            (Host::Bare(..), _) => {
                Way::Bare { all: self.sessions, idle: self.idle.unwrap_or(IDLE.as_secs() as u32) }
            }
            (Host::Quail(_), Carrier::Quic) => Way::Quic,
            (Host::Quail(server), Carrier::WebSocket) => Way::WebSocket(server.websocket()),
        };
        let mut children = vec![];
        for order in self.orders(host.target(), way, by == By::Cut) {
            children.push(Child::start(Part::Cling, &order).await?);
        }
        for child in &mut children {
            child.hear::<u32>(10 * PATIENCE).await?;
        }
        Ok(children)
    }

    /// What each client process does: of those who write and those in rooms, each has its share.
    fn orders(&self, target: &Target, way: Way, cuttable: bool) -> Vec<Order> {
        let Shared { processes, per_socket, .. } = self.shared;
        let crowds = Crowd::split(target, self.sessions, processes, per_socket);
        let share = |of: u32, crowd: &Crowd| {
            (u64::from(of) * u64::from(crowd.users) / u64::from(self.sessions.max(1))) as u32
        };
        let writers: Vec<u32> = crowds.iter().map(|crowd| share(self.writers, crowd) & !1).collect();
        let all = writers.iter().sum();
        let mut before = 0;
        let order = |(crowd, writers): (Crowd, u32)| {
            let writing = Writing { writers, before, all, per_second: self.rate, bytes: self.bytes };
            before += writers;
            let members = share(self.members, &crowd);
            Order { crowd, way, cuttable, members, room_size: self.room_size, writing }
        };
        crowds.into_iter().zip(writers).map(order).collect()
    }
}

async fn tell(children: &mut [Child], ask: Ask) -> anyhow::Result<()> {
    for child in children {
        child.tell(&ask).await?;
    }
    Ok(())
}

/// Asks all who is there.
async fn look(children: &mut [Child]) -> anyhow::Result<Seen> {
    tell(children, Ask::Look).await?;
    let mut all = Seen::default();
    for child in children {
        all.add(child.hear(PATIENCE).await?);
    }
    Ok(all)
}
