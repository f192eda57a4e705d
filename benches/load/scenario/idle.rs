//! Sessions that say nothing: what each costs in memory.

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Scenario, Stage,
    door::{Bare, Server, seconds},
};
use crate::{
    child::{Child, PATIENCE},
    clients::{Crowd, Target},
    cpu::{Cpu, Memory},
    flags::Shared,
    part::{Part, sit::Order},
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Sessions at a time.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    sessions: u32,
    /// Seconds of quiet before the memory is read.
    #[arg(long, default_value_t = 60.0)]
    quiet: f64,
    /// Streams that a bare connection opens; a session opens one for each of its five lanes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=20))]
    bare_streams: u32,
}

/// What a session may cost, in bytes.
const BYTES_MAX: f64 = 40.0 * 1024.0;

/// Memory of a server with nobody and with everybody, and what the quiet cost it.
struct Crowded {
    empty: Memory,
    full: Memory,
    quiet: Cpu,
    opening: f64,
    connected: u64,
    stayed: u64,
}

/// How a server is asked for memory and time.
trait Measured {
    fn memory(&self) -> anyhow::Result<Memory>;
    fn cpu(&self) -> anyhow::Result<Cpu>;
    fn target(&self) -> &Target;
}

impl Measured for Server {
    fn memory(&self) -> anyhow::Result<Memory> {
        self.memory()
    }
    fn cpu(&self) -> anyhow::Result<Cpu> {
        self.cpu()
    }
    fn target(&self) -> &Target {
        self.target()
    }
}

impl Measured for Bare {
    fn memory(&self) -> anyhow::Result<Memory> {
        self.memory()
    }
    fn cpu(&self) -> anyhow::Result<Cpu> {
        self.cpu()
    }
    fn target(&self) -> &Target {
        &self.target
    }
}

impl Scenario for Options {
    const NAME: &'static str = "idle";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let server =
            Server::start(stage.scratch.path(), self.shared.default_limits, &mut stage.report).await?;
        let sessions = self.crowd(&server, None, stage).await?;
        server.stop().await?;
        let bare = Bare::start(stage.scratch.path()).await?;
        stage.report.sampler.process("bare endpoint", bare.id());
        let connections = self.crowd(&bare, Some(self.bare_streams), stage).await?;
        bare.stop().await?;

        let each = self.tell(stage, "session", &sessions);
        let bare_each = self.tell(stage, "bare connection", &connections);
        stage.report.figure("memory of a session to a bare connection", each / bare_each);
        stage.report.at_most("bytes of server memory per session", each, BYTES_MAX);
        Ok(())
    }
}

impl Options {
    async fn crowd(
        &self,
        server: &impl Measured,
        bare_streams: Option<u32>,
        stage: &mut Stage,
    ) -> anyhow::Result<Crowded> {
        let what = if bare_streams.is_some() { "bare connections" } else { "sessions" };
        let Shared { processes, per_socket, .. } = self.shared;
        let empty = server.memory()?;
        let started = Instant::now();
        stage.progress.say(&format!("opening {} {what}", self.sessions));
        let mut children = vec![];
        for crowd in Crowd::split(server.target(), self.sessions, processes, per_socket) {
            children.push(Child::start(Part::Sit, &Order { crowd, bare_streams }).await?);
        }
        let mut connected = 0;
        for child in &mut children {
            connected += child.hear::<u64>(10 * PATIENCE).await?;
        }
        let opening = started.elapsed().as_secs_f64();
        stage.progress.say(&format!("{connected} {what} are quiet for {} s", self.quiet));
        let before = server.cpu()?;
        sleep(seconds(self.quiet)?).await;
        let (full, quiet) = (server.memory()?, server.cpu()?.since(before));
        let mut stayed = 0;
        for child in &mut children {
            child.tell(&()).await?;
            stayed += child.hear::<u64>(PATIENCE).await?;
        }
        for child in children {
            child.end().await?;
        }
        Ok(Crowded { empty, full, quiet, opening, connected, stayed })
    }

    /// Returns the bytes of each.
    fn tell(&self, stage: &mut Stage, what: &str, crowded: &Crowded) -> f64 {
        let Crowded { empty, full, quiet, opening, connected, stayed } = crowded;
        let report = &mut stage.report;
        report.count(&format!("{what}s opened"), *connected);
        report.count(&format!("{what}s after the quiet"), *stayed);
        if stayed < connected {
            report.broken.push(format!("{} {what}s did not stay", connected - stayed));
        }
        let each = |full: u64, empty: u64| full.saturating_sub(empty) as f64 / (*connected).max(1) as f64;
        let resident = each(full.resident, empty.resident);
        report.figure(&format!("{what}: memory, bytes"), resident);
        report.figure(&format!("{what}: of it anonymous, bytes"), each(full.anonymous, empty.anonymous));
        report.figure(&format!("{what}: empty server, MiB"), empty.resident as f64 / f64::from(1 << 20));
        report.figure(&format!("{what}: opened per second"), *connected as f64 / opening);
        let per_second = quiet.seconds() * 1e6 / self.quiet / (*connected).max(1) as f64;
        report.figure(&format!("{what}: CPU µs per second of quiet"), per_second);
        resident
    }
}
