//! Connects and logins as fast as the server takes them.

use clap::Args;
use serde::Serialize;

use super::{
    Scenario, Stage,
    door::{Bare, Server, seconds},
};
use crate::{
    child::{Child, PATIENCE},
    clients::{Crowd, Target},
    flags::Shared,
    latency::Latencies,
    part::{
        Part,
        knock::{Knocked, Order, Round, Visit},
    },
    rounds::Rounds,
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Clients that come and go at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    concurrency: u32,
    /// Seconds of a round.
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
    /// Rounds, each of sessions and of bare connections.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// The rate per core-second that a login may cost, to the bare handshake's.
const RATE_RATIO_MIN: f64 = 0.8;

/// Client processes of one server, round after round.
struct Callers {
    children: Vec<Child>,
    took: Latencies,
    entered: u64,
    failed: u64,
}

impl Scenario for Options {
    const NAME: &'static str = "handshake";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let server =
            Server::start(stage.scratch.path(), self.shared.default_limits, &mut stage.report).await?;
        let bare = Bare::start(stage.scratch.path()).await?;
        stage.report.sampler.process("bare endpoint", bare.id());
        let mut sessions = self.callers(server.target(), Visit::Session).await?;
        let mut handshakes = self.callers(&bare.target, Visit::Handshake).await?;
        let mut exchanges = self.callers(&bare.target, Visit::Exchange).await?;
        stage.progress.say("warming up");
        for callers in [&mut sessions, &mut handshakes, &mut exchanges] {
            callers.round(self.duration / 3.0).await?;
        }
        let [mut per_core, mut per_second, mut to_exchanges] = std::array::from_fn(|_| Rounds::default());
        for round in 1..=self.rounds {
            stage.progress.say(&format!("round {round} of {}", self.rounds));
            let before = server.cpu()?;
            let entered = sessions.round(self.duration).await? as f64;
            let logins = entered / server.cpu()?.since(before).seconds();
            let before = bare.cpu()?;
            let bare_entered = handshakes.round(self.duration).await? as f64;
            let bare_handshakes = bare_entered / bare.cpu()?.since(before).seconds();
            let before = bare.cpu()?;
            let exchanged = exchanges.round(self.duration).await? as f64;
            let bare_exchanges = exchanged / bare.cpu()?.since(before).seconds();
            per_core.push(logins, bare_handshakes);
            to_exchanges.push(logins, bare_exchanges);
            per_second.push(entered / self.duration, bare_entered / self.duration);
        }
        let memory = server.memory()?;
        stage.report.figure("server memory at the end, MiB", memory.resident as f64 / f64::from(1 << 20));
        sessions.end("login", stage).await?;
        handshakes.end("bare handshake", stage).await?;
        exchanges.end("bare exchange", stage).await?;
        server.stop().await?;
        bare.stop().await?;
        let report = &mut stage.report;
        report.figure("server CPU µs per login", 1e6 / per_core.medians().0);
        report.figure("server CPU µs per bare handshake", 1e6 / per_core.medians().1);
        report.figure("server CPU µs per bare exchange", 1e6 / to_exchanges.medians().1);
        report.rounds("per second, logins to bare handshakes", per_second);
        report.rounds("per server core-second, logins to bare exchanges", to_exchanges);
        let ratio = report.rounds("per server core-second, logins to bare handshakes", per_core);
        report.at_least("logins per server core-second, to bare handshakes", ratio, RATE_RATIO_MIN);
        Ok(())
    }
}

impl Options {
    async fn callers(&self, target: &Target, visit: Visit) -> anyhow::Result<Callers> {
        let Shared { processes, per_socket, .. } = self.shared;
        let mut children = vec![];
        for crowd in Crowd::split(target, self.concurrency, processes, per_socket) {
            children.push(Child::start(Part::Knock, &Order { crowd, visit }).await?);
        }
        Ok(Callers { children, took: Latencies::new()?, entered: 0, failed: 0 })
    }
}

impl Callers {
    /// How many were let in.
    async fn round(&mut self, duration: f64) -> anyhow::Result<u64> {
        let round = Round { milliseconds: seconds(duration)?.as_millis() as u64 };
        for child in &mut self.children {
            child.tell(&round).await?;
        }
        let mut entered = 0;
        for child in &mut self.children {
            let knocked: Knocked = child.hear(seconds(duration)? + PATIENCE).await?;
            entered += knocked.entered;
            self.failed += knocked.failed;
            self.took.merge(&knocked.took);
            if let Some(failure) = knocked.first_failure {
                eprintln!("a client was not let in: {failure}");
            }
        }
        self.entered += entered;
        Ok(entered)
    }

    async fn end(self, what: &str, stage: &mut Stage) -> anyhow::Result<()> {
        stage.report.count(&format!("{what}s"), self.entered);
        stage.report.count(&format!("{what}s failed"), self.failed);
        stage.report.histogram(what, &self.took);
        for child in self.children {
            child.end().await?;
        }
        Ok(())
    }
}
