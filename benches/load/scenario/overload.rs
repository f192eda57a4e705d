//! More than the server takes: what becomes of it, and how soon everything is as it was.
//!
//! The rate is raised in steps until the knee is found. Then as many messages are meant to be sent as at the knee, three
//! times as many, and half as many, without a pause. The bare loop is offered the same.

mod knee;
mod tell;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::{
    knee::{Bound, Search, Seen},
    tell::Tally,
};
use super::{
    Scenario, Stage,
    door::{Bare, Server},
    stand::{Cast, Manner, Over, Played, Size, Stand, Workload},
};
use crate::{
    flags::Shared,
    part::{serve, throng::program::Step},
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// What is said.
    #[arg(long, value_enum, default_values_t = [Workload::Rooms, Workload::Peers], value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// What the sessions come over. The bare loop speaks QUIC.
    #[arg(long, value_enum, default_value_t = Carrier::Quic)]
    carrier: Carrier,
    /// Rooms.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rooms: u32,
    /// Sessions that listen in each room.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    members: u32,
    /// Sessions that speak in each room, beside the one that says urgent things.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speakers: u32,
    /// Pairs, of which one speaks and one listens.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pairs: u32,
    /// Messages per second with which the search for the knee begins.
    #[arg(long, default_value_t = 200.0)]
    from: f64,
    /// Messages per second at which it ends, whether they are borne or not.
    #[arg(long, default_value_t = 1_000_000.0)]
    until: f64,
    /// High messages per second, all the time.
    #[arg(long, default_value_t = 5.0)]
    high_rate: f64,
    /// Bytes of a text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    bytes: u32,
    /// Unanswered messages of a session at most. What is meant to be sent then counts as not offered.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=63))]
    in_flight: u32,
    /// The knee is the highest rate at which so much of what is offered arrives,
    #[arg(long, default_value_t = 0.95)]
    goodput_min: f64,
    /// and p99 to the receiver is at most so many milliseconds.
    #[arg(long, default_value_t = 200.0)]
    p99_max: f64,
    /// Seconds of a step of the search, of which the first is not measured.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=600))]
    step: u32,
    /// Seconds at the knee before the overload, of which the first is not measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=600))]
    at_knee: u32,
    /// The overload as a multiple of the knee.
    #[arg(long, default_value_t = 3.0)]
    factor: f64,
    /// Seconds of overload.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(2..=3600))]
    duration: u32,
    /// Seconds at half the knee after it.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..=600))]
    after: u32,
    /// Rounds of a Quail and of the bare loop.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// What sessions come over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
enum Carrier {
    /// QUIC.
    Quic,
    /// A WebSocket.
    Websocket,
}

/// After the overload the rate is so much of the knee's.
const AFTER: f64 = 0.5;

impl Scenario for Options {
    const NAME: &'static str = "overload";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        for workload in &self.workloads {
            self.overload(stage, *workload).await?;
        }
        Ok(())
    }
}

impl Options {
    fn bound(&self) -> Bound {
        Bound { goodput_min: self.goodput_min, p99_ms_max: self.p99_max }
    }

    fn manner(&self) -> Manner {
        let Self { high_rate: urgent_per_second, bytes, in_flight, .. } = *self;
        Manner { urgent_per_second, bytes, in_flight }
    }

    fn cast(&self, workload: Workload, bare: bool) -> Cast {
        let conversations = if workload == Workload::Rooms { self.rooms } else { self.pairs };
        let size = Size { conversations, listeners: self.members, speakers: self.speakers };
        Cast::new(workload, size, bare)
    }

    async fn overload(&self, stage: &mut Stage, workload: Workload) -> anyhow::Result<()> {
        let name = workload.name();
        let scratch = stage.scratch.path().join(name);
        std::fs::create_dir_all(&scratch)?;
        stage.progress.say(&format!("{name}: sessions and bare connections are coming"));
        // What a session may have waiting is what protects a server whose rates are lifted.
        let order = serve::Order {
            default_outbox: true,
            ..serve::Order::here(scratch.join("quail"), self.shared.default_limits)
        };
        let server = Server::start_in(None, order, &mut stage.report).await?;
        stage.report.durability =
            "rooms: acks when the message is in every outbox; peers: acks after the sync".to_owned();
        let fan = Bare::fan(&scratch).await?;
        stage.report.sampler.process(&format!("{name}: server"), server.id());
        stage.report.sampler.process(&format!("{name}: bare loop"), fan.id());
        let (at, of) = ((server.target(), server.id()), (&fan.target, fan.id()));
        let over = match self.carrier {
            Carrier::Quic => Over::Quic,
            Carrier::Websocket => Over::WebSocket(server.websocket()),
        };
        let mut quail =
            Stand::open(at, self.cast(workload, false), over, self.manner(), &self.shared).await?;
        let mut bare =
            Stand::open(of, self.cast(workload, true), Over::BareLoop, self.manner(), &self.shared).await?;

        let search = self.search(stage, &mut quail, name).await?;
        let mut tally = Tally::new(self, name, &search);
        for round in 1..=self.rounds {
            // Whoever has the first turn has it the second time in the next round.
            for turn in [round % 2 == 0, round % 2 == 1] {
                let (stand, who) = if turn { (&mut quail, "Quail") } else { (&mut bare, "the bare loop") };
                stage.progress.say(&format!("{name}: round {round} of {}: {who}", self.rounds));
                let played = stand.play(self.steps(search.knee())).await?;
                tally.push(turn, stand.cast.reached, played)?;
            }
        }
        tally.tell(&mut stage.report);
        for (labels, count) in server.family("quail_closes_total").await? {
            stage.report.count(&format!("{name}: connections that ended, {labels}"), count);
        }
        let dropped = server.sum("quail_room_deliveries_total", "outcome=\"dropped\"").await?;
        stage.report.count(&format!("{name}: left out by the server"), dropped);
        quail.close().await?;
        bare.close().await?;
        server.stop().await?;
        fan.stop().await
    }

    /// What is offered around an overload.
    fn steps(&self, knee: f64) -> Vec<Step> {
        let step = |share: f64, seconds| Step { per_second: knee * share, seconds };
        vec![step(1.0, self.at_knee), step(self.factor, self.duration), step(AFTER, self.after)]
    }

    /// Raises the rate until it is too much; the highest that was borne, if one was.
    async fn search(&self, stage: &mut Stage, stand: &mut Stand, name: &str) -> anyhow::Result<Search> {
        let mut search = Search::new(self.from, self.until);
        while let Some(per_second) = search.next() {
            stage.progress.say(&format!("{name}: {per_second:.0} messages per second"));
            let Played { program, seconds, .. } =
                stand.play(vec![Step { per_second, seconds: self.step }]).await?;
            let offered = (per_second + self.high_rate) * f64::from(stand.cast.reached);
            let seen = tell::seen(&seconds, program.measured_of(0))?;
            let borne = self.bound().holds(offered, seen);
            stage.report.rows.push(tell::row(name, per_second, offered, seen, borne));
            search.tried(borne);
        }
        Ok(search)
    }
}
