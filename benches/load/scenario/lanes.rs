//! Urgent messages over a slow link that is full of others.
//!
//! Server and senders stand before the link, the receiver behind it. One sender pours messages of the lowest priority
//! into it, faster than it carries them; another sends a few urgent ones to the same session, in open loop. With `--room` all
//! three are in one room.

mod tally;

use clap::Args;
use quail_client::Priority;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use self::tally::{Pass, Tally};
use super::{
    Scenario, Stage,
    door::{Server, seconds},
    sender,
};
use crate::{
    child::{Child, PATIENCE},
    cpu,
    flags::Shared,
    link::Link,
    part::{Part, listen, pour, serve},
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Megabits per second of the link.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    link: u32,
    /// Milliseconds of packets that wait before the link, at most.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=2000))]
    queue: u32,
    /// Say it all in one room, in which what finds no room on its way is dropped and told, instead of to one user.
    #[arg(long)]
    room: bool,
    /// Have the variant over a WebSocket come over TLS.
    #[arg(long)]
    websocket_tls: bool,
    /// Urgent messages per second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Bytes of an urgent text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=32_768))]
    bytes: u32,
    /// Bytes of a text of the backlog.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(16..=32_768))]
    backlog_bytes: u32,
    /// Texts of the backlog, to what the link carries.
    #[arg(long, default_value_t = 1.5)]
    backlog_rate: f64,
    /// Seconds of a round before it is measured.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds of a round that are measured.
    #[arg(long, default_value_t = 8.0)]
    duration: f64,
    /// Rounds, each of every variant.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// What is put beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Urgent messages have a lane of their own, over QUIC.
    Lanes,
    /// The same while the server lets packets fill the queue before the link, as CUBIC does.
    DeepQueue,
    /// All messages share one lane, over QUIC.
    OneLane,
    /// Urgent messages have a lane of their own, over a WebSocket.
    WebSocket,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::Lanes, Self::DeepQueue, Self::OneLane, Self::WebSocket];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lanes => "lanes, QUIC",
            Self::DeepQueue => "lanes, QUIC, deep queue",
            Self::OneLane => "one lane, QUIC",
            Self::WebSocket => "lanes, WebSocket",
        }
    }
}

/// What an urgent message may take at the 99th percentile, in milliseconds.
const P99_MS_MAX: f64 = 30.0;

/// How full the link must be.
const UTILISATION_MIN: f64 = 0.95;

/// How long the urgent messages of the last moment may take.
const SETTLING_SECONDS: f64 = 20.0;

/// How often the link's queue is looked at, in seconds.
const LOOKING: f64 = 0.2;

/// Unanswered texts of the backlog: more than the client lets out at a time.
const BACKLOG_IN_FLIGHT: usize = 64;

impl Scenario for Options {
    const NAME: &'static str = "lanes";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let link = match Link::make(self.link, self.queue) {
            Ok(link) => link,
            Err(why) => {
                stage.report.not_run = Some(format!("{why:#}"));
                return Ok(());
            }
        };
        let deep = self.serve(&link, stage, true).await?;
        stage.report.sampler.process("server with a deep queue", deep.id());
        // The last to start is the one that the report describes.
        let server = self.serve(&link, stage, false).await?;
        let mut tally = Tally::default();
        for round in 1..=self.rounds {
            for variant in Variant::ALL {
                stage.progress.say(&format!("round {round} of {}: {}", self.rounds, variant.name()));
                let server = if variant == Variant::DeepQueue { &deep } else { &server };
                let pass = self.pass(&link, server, round, variant).await?;
                tally.add(variant, pass);
            }
        }
        for server in [server, deep] {
            server.stop().await?;
        }
        let report = &mut stage.report;
        tally.tell(report)?;
        let [p99, busy] = [tally.p99(Variant::Lanes), tally.utilisation(Variant::Lanes)];
        report.at_most("ms to the app, urgent over QUIC, p99 (median of rounds)", p99, P99_MS_MAX);
        report.at_least("of the link used meanwhile (least of rounds)", busy, UTILISATION_MIN);
        Ok(())
    }
}

impl Options {
    async fn serve(&self, link: &Link, stage: &mut Stage, deep_queue: bool) -> anyhow::Result<Server> {
        let data = stage.scratch.path().join(if deep_queue { "deep" } else { "quail" });
        let order = serve::Order {
            default_outbox: true,
            deep_queue,
            websocket_tls: self.websocket_tls,
            listen: Link::server_address(),
            ..serve::Order::here(data, self.shared.default_limits)
        };
        Server::start_in(Some(link.near()), order, &mut stage.report).await
    }

    /// One round of one variant.
    async fn pass(&self, link: &Link, server: &Server, round: u32, variant: Variant) -> anyhow::Result<Pass> {
        let name = |who: &str| format!("{who}-{round}-{}", variant as u8);
        let websocket = variant == Variant::WebSocket;
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(name);
        let to = if self.room { name("room") } else { bob.clone() };
        let backlog = pour::Order {
            visitor: server.visitor(alice, false),
            to: to.clone(),
            in_room: self.room,
            priority: Priority::Lowest,
            per_second: f64::from(self.link) * 1e6 / 8.0 / f64::from(self.backlog_bytes) * self.backlog_rate,
            in_flight: BACKLOG_IN_FLIGHT,
            bytes: self.backlog_bytes as usize,
        };
        let urgent = pour::Order {
            visitor: server.visitor(carol.clone(), false),
            to: to.clone(),
            in_room: self.room,
            priority: if variant == Variant::OneLane { Priority::Lowest } else { Priority::High },
            per_second: self.rate,
            in_flight: sender::IN_FLIGHT,
            bytes: self.bytes as usize,
        };
        // Whoever comes into a room first owns it, and may urge without a bound.
        let mut urgent = sender::open(Some(link.near()), &urgent).await?;
        let room = self.room.then_some(to);
        let order = listen::Order { visitor: server.visitor(bob, websocket), urgent: carol, room };
        let mut listener = Child::start_in(Some(link.far()), Part::Listen, &order).await?;
        listener.hear::<()>(PATIENCE).await?;
        let mut backlog = sender::open(Some(link.near()), &backlog).await?;
        for sender in [&mut backlog, &mut urgent] {
            sender.tell(&()).await?;
        }
        sleep(seconds(self.warm_up)?).await;
        let mut pass = Pass { from: cpu::since_boot(), ..Pass::default() };
        self.watch(link, &mut pass).await?;
        pass.until = cpu::since_boot();
        // The link stays full for whatever is still on its way.
        let said = sender::end(&mut urgent).await?;
        let sent = said.accepted;
        pass.urgent = Some(said);
        pass.backlog = Some(sender::end(&mut backlog).await?);
        let patience = seconds(SETTLING_SECONDS)?;
        let all = listen::End { from: pass.from, until: pass.until, urgent: sent, patience };
        listener.tell(&all).await?;
        pass.heard = Some(listener.hear(patience + PATIENCE).await?);
        for child in [urgent, backlog, listener] {
            child.end().await?;
        }
        Ok(pass)
    }

    /// Looks at the link while it is measured.
    async fn watch(&self, link: &Link, pass: &mut Pass) -> anyhow::Result<()> {
        let before = link.counters()?;
        let until = Instant::from_std(before.at) + seconds(self.duration)?;
        while Instant::now() < until {
            sleep_until((Instant::now() + seconds(LOOKING)?).min(until)).await;
            pass.queued.push(link.counters()?.backlog as f64);
        }
        let after = link.counters()?;
        let carried = (after.bytes - before.bytes) as f64 * 8.0 / (after.at - before.at).as_secs_f64();
        pass.utilisation = carried / (f64::from(self.link) * 1e6);
        pass.drops = after.drops - before.drops;
        let per_ms = f64::from(self.link) * 1e3 / 8.0;
        pass.queued.iter_mut().for_each(|bytes| *bytes /= per_ms);
        Ok(())
    }
}
