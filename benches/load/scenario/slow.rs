//! A room in which some read slowly: what they cost the server, and what the others notice of them.
//!
//! Each round is played twice, by a server and clients that begin anew: once all read well, once some of them do not.

mod tally;

use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

use self::tally::{Pass, Tally};
use super::{
    Scenario, Stage,
    door::{Server, seconds},
    sender,
};
use crate::{
    chain::{Ends, Newest},
    child::{Child, PATIENCE},
    clients::{Crowd, STREAM_WINDOW_BYTES},
    cpu,
    flags::Shared,
    part::{
        Part,
        heed::{self, Ask, Heard, Reading},
        serve,
    },
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Sessions that listen.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    members: u32,
    /// Of them, those that read slowly.
    #[arg(long, default_value_t = 50)]
    slow: u32,
    /// Bytes of each lane that such a one reads in a second.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..))]
    slow_bytes: u32,
    /// Bytes that such a one grants on a stream. The client says that it has read when it has read an eighth of it.
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1024..))]
    slow_window: u32,
    /// Of the members, those that read nothing.
    #[arg(long, default_value_t = 6)]
    stuck: u32,
    /// Messages of normal priority per second.
    #[arg(long, default_value_t = 7.0)]
    rate: f64,
    /// Messages of high priority per second.
    #[arg(long, default_value_t = 3.0)]
    high_rate: f64,
    /// Bytes of a text.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=32_768))]
    bytes: u32,
    /// Seconds of a round before times are taken.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds of a round in which they are: long enough that all lanes of who is slow are full.
    #[arg(long, default_value_t = 45.0)]
    duration: f64,
    /// Rounds, each with and without slow members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// What the others may notice: p99 to that of a room in which all read well.
const P99_RATIO_MAX: f64 = 1.5;

/// What one who reads slowly may cost the server.
const BYTES_MAX: f64 = 512.0 * 1024.0;

impl Scenario for Options {
    const NAME: &'static str = "slow";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        anyhow::ensure!(self.slow + self.stuck < self.members, "nobody is left to read well");
        let mut tally = Tally::new(self)?;
        for round in 1..=self.rounds {
            // Whoever has the first turn has it the second time in the next round.
            for slow in [round % 2 == 0, round % 2 == 1] {
                let how = if slow { "some read slowly" } else { "all read well" };
                stage.progress.say(&format!("round {round} of {}: {how}", self.rounds));
                let pass = self.pass(stage, round, slow).await?;
                stage.progress.times(pass.times());
                tally.push(slow, pass);
            }
        }
        tally.tell(&mut stage.report)
    }
}

/// Those of one kind.
struct Group {
    children: Vec<Child>,
    kind: Kind,
}

/// Who somebody is in both variants of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Others,
    Slow,
    Stuck,
}

impl Options {
    async fn pass(&self, stage: &mut Stage, round: u32, slow: bool) -> anyhow::Result<Pass> {
        let data = stage.scratch.path().join(format!("quail-{round}-{}", u8::from(slow)));
        let order =
            serve::Order { default_outbox: true, ..serve::Order::here(data, self.shared.default_limits) };
        let server = Server::start_in(None, order, &mut stage.report).await?;
        stage.report.durability = "acks when the message is in every outbox: rooms are not stored".to_owned();
        let mut senders = sender::pair(&server, "room-0", self.bytes, [self.high_rate, self.rate]).await?;
        let mut groups = self.audience(&server, slow).await?;
        for (sender, _) in &mut senders {
            sender.tell(&()).await?;
        }
        sleep(seconds(self.warm_up)?).await;
        let mut pass = Pass::new()?;
        pass.began = cpu::since_boot();
        for child in groups.iter_mut().flat_map(|group| &mut group.children) {
            child.tell(&Ask::TimeFrom(pass.began)).await?;
        }
        let before = server.cpu()?;
        sleep(seconds(self.duration)?).await;
        pass.memory = server.memory()?;
        pass.cpu_share = server.cpu()?.since(before).seconds() / self.duration;
        pass.ended = cpu::since_boot();
        let mut ends = Ends::default();
        for (sender, priority) in &mut senders {
            let said = sender::end(sender).await?;
            let seq = said.newest[priority.index()];
            ends[priority.index()] = Newest { seq, count: said.accepted };
            pass.said(said);
        }
        for group in &mut groups {
            for child in &mut group.children {
                child.tell(&Ask::Settle(ends)).await?;
                pass.heard(group.kind, child.hear::<Heard>(PATIENCE).await?);
            }
        }
        pass.dropped = server.sum("quail_room_deliveries_total", "outcome=\"dropped\"").await?;
        pass.closed_slow = server.sum("quail_closes_total", "reason=\"Slow\"").await?;
        let senders = senders.map(|(sender, _)| sender);
        for child in groups.into_iter().flat_map(|group| group.children).chain(senders) {
            child.end().await?;
        }
        server.stop().await?;
        Ok(pass)
    }

    /// Lets everybody in who listens.
    async fn audience(&self, server: &Server, slow: bool) -> anyhow::Result<Vec<Group>> {
        let others = self.members - self.slow - self.stuck;
        let Shared { processes, per_socket, .. } = self.shared;
        let target = server.target();
        let crowd = |first, users| Crowd { target: target.clone(), first, users, per_socket };
        // Crowds come in pairs, so one more user may come than was asked for.
        let behind = others.next_multiple_of(2);
        let groups = [
            (Kind::Others, Crowd::split(target, others, processes, per_socket), Reading::Well),
            (Kind::Slow, vec![crowd(behind, self.slow)], Reading::Slowly(self.slow_bytes)),
            (Kind::Stuck, vec![crowd(behind + self.slow, self.stuck)], Reading::NotAtAll),
        ];
        let mut seated = vec![];
        for (kind, crowds, reading) in groups {
            let mut children = vec![];
            let slow = slow && kind != Kind::Others;
            let reading = if slow { reading } else { Reading::Well };
            let stream_window_bytes = if slow { self.slow_window } else { STREAM_WINDOW_BYTES };
            for crowd in crowds.into_iter().filter(|crowd| crowd.users > 0) {
                let order = heed::Order { crowd, reading, stream_window_bytes };
                children.push(Child::start(Part::Heed, &order).await?);
            }
            for child in &mut children {
                child.hear::<u64>(5 * PATIENCE).await?;
            }
            seated.push(Group { children, kind });
        }
        Ok(seated)
    }
}
