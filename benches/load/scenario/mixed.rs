//! What an app may be like: most say nothing, some chat in pairs and in groups, and large live rooms are loud.
//!
//! Groups do not exist yet: rooms whose messages are kept stand for them. The control is the bare loop, which fans out as
//! many deliveries per second to as many connections, in rooms as large as a group.

mod people;
mod tell;

use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

use self::{
    people::{People, people},
    tell::Tally,
};
use super::{
    Scenario, Stage,
    door::{Bare, Server, seconds},
    stand::{Cast, Manner, Over, Size, Stand, Workload},
};
use crate::{
    child::{Child, PATIENCE},
    cpu::Cpu,
    flags::Shared,
    part::{
        Part,
        mingle::{Ask, BYTES_MEAN, Heard, Order, Round, Said},
        throng::{
            program::Step,
            trail::{self, ByPriority},
        },
    },
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Users.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    users: u32,
    /// The share of them that says nothing.
    #[arg(long, default_value_t = 0.7, value_parser = share)]
    idle: f64,
    /// The share of them that comes over a WebSocket.
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    websocket: f64,
    /// Seconds between two messages of one who chats in a pair.
    #[arg(long, default_value_t = 4.0)]
    pair_every: f64,
    /// Users of a group.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    group: u32,
    /// Seconds between two messages of one who speaks in a group.
    #[arg(long, default_value_t = 20.0)]
    group_every: f64,
    /// Large live rooms.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    live: u32,
    /// Users of each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    live_members: u32,
    /// Lines of barrage per second in each.
    #[arg(long, default_value_t = 4.0)]
    barrage_rate: f64,
    /// Normal texts per second in each.
    #[arg(long, default_value_t = 1.0)]
    normal_rate: f64,
    /// High texts per second in each; a member may send two.
    #[arg(long, default_value_t = 0.5)]
    high_rate: f64,
    /// Of those who say nothing in a large room, how many leave it and come again.
    #[arg(long, default_value_t = 50)]
    leaving: u32,
    /// Seconds between two times that such a one leaves.
    #[arg(long, default_value_t = 8.0)]
    leave_every: f64,
    /// Unanswered messages of a user at most; the rate gives way to it.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=63))]
    in_flight: u32,
    /// Seconds of a round that are not measured.
    #[arg(long, default_value_t = 3.0)]
    warm_up: f64,
    /// Seconds of a round that are.
    #[arg(long, default_value_t = 30.0)]
    duration: f64,
    /// Rounds, each of a Quail and of the bare loop.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not from 0 to 1".into()) }
}

/// What a round of a Quail was like.
struct Mingled {
    /// Processor time of the measured seconds.
    cpu: Cpu,
    said: Said,
    heard: Vec<Heard>,
    /// Resident bytes at its end.
    resident: u64,
}

impl Mingled {
    /// Deliveries of what was meant to be sent in the measured seconds.
    fn delivered(&self) -> u64 {
        self.heard.iter().flat_map(|heard| heard.times.values()).map(|times| times.percentiles().count).sum()
    }
}

impl Scenario for Options {
    const NAME: &'static str = "mixed";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let Shared { default_limits, .. } = self.shared;
        let server = Server::start(stage.scratch.path(), default_limits, &mut stage.report).await?;
        stage.report.durability =
            "pairs and groups: acks after the sync; live rooms: when in every outbox".to_owned();
        let fan = Bare::fan(stage.scratch.path()).await?;
        stage.report.sampler.process("bare loop", fan.id());
        let empty = [server.memory()?.resident, fan.memory()?.resident];
        stage.progress.say("users and bare connections are coming");
        let people = people(self, |user, websocket| server.visitor(user, websocket))?;
        let mut crowd = self.crowd(&people).await?;
        let mut bare = self.bare(&fan).await?;
        let full = [server.memory()?.resident, fan.memory()?.resident];
        let mut tally =
            Tally::new(self, people.seats.len(), bare.cast.listeners.len() + bare.cast.speakers.len())?;
        tally.memory(empty, full);
        for round in 1..=self.rounds {
            stage.progress.say(&format!("round {round} of {}: Quail", self.rounds));
            let mingled = self.mingle(&server, &mut crowd, people.conversations).await?;
            stage.progress.say(&format!("round {round} of {}: the bare loop", self.rounds));
            let deliveries_per_second = mingled.delivered() as f64 / self.duration;
            let per_second = deliveries_per_second / f64::from(bare.cast.reached);
            let fanned = bare.play(vec![Step { per_second, seconds: self.duration.ceil() as u32 }]).await?;
            tally.push(mingled, &fanned)?;
        }
        tally.tell(&mut stage.report);
        for child in crowd {
            child.end().await?;
        }
        bare.close().await?;
        server.stop().await?;
        fan.stop().await
    }
}

impl Options {
    async fn crowd(&self, people: &People) -> anyhow::Result<Vec<Child>> {
        let Shared { processes, per_socket, .. } = self.shared;
        let each = people.seats.len().div_ceil(processes as usize).max(1);
        let mut children = vec![];
        for seats in people.seats.chunks(each) {
            let order = Order { seats: seats.to_vec(), per_socket, in_flight: self.in_flight as usize };
            children.push(Child::start(Part::Mingle, &order).await?);
        }
        for child in &mut children {
            child.hear::<u64>(5 * PATIENCE).await?;
        }
        Ok(children)
    }

    async fn bare(&self, fan: &Bare) -> anyhow::Result<Stand> {
        let size =
            Size { conversations: self.users.div_ceil(self.group), listeners: self.group, speakers: 1 };
        let cast = Cast::new(Workload::Rooms, size, true);
        let manner = Manner { urgent_per_second: 0.0, bytes: BYTES_MEAN, in_flight: self.in_flight };
        Stand::open((&fan.target, fan.id()), cast, Over::BareLoop, manner, &self.shared).await
    }

    async fn mingle(
        &self,
        server: &Server,
        crowd: &mut [Child],
        conversations: usize,
    ) -> anyhow::Result<Mingled> {
        let (warm_up, duration) = (seconds(self.warm_up)?, seconds(self.duration)?);
        let round = Round { warm_up: warm_up.as_millis() as u64, duration: duration.as_millis() as u64 };
        for child in &mut *crowd {
            child.tell(&Ask::Talk(round)).await?;
        }
        sleep(warm_up).await;
        let before = server.cpu()?;
        sleep(duration).await;
        let cpu = server.cpu()?.since(before);
        let (mut said, mut placed) = (Said::default(), vec![ByPriority::default(); conversations]);
        for child in &mut *crowd {
            let more: Said = child.hear(PATIENCE).await?;
            for (conversation, more) in &more.placed {
                if let Some(sum) = placed.get_mut(*conversation as usize) {
                    trail::add(sum, more);
                }
            }
            for (talk, count) in more.sent {
                *said.sent.entry(talk).or_default() += count;
            }
            for (reason, count) in more.refused {
                *said.refused.entry(reason).or_default() += count;
            }
            said.left += more.left;
        }
        for child in &mut *crowd {
            child.tell(&Ask::Settle(placed.clone())).await?;
        }
        let mut heard = vec![];
        for child in &mut *crowd {
            heard.push(child.hear(PATIENCE).await?);
        }
        Ok(Mingled { cpu, said, heard, resident: server.memory()?.resident })
    }
}
