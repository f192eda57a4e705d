//! What is played, by name. A scenario starts its parts, drives them, and fills a report.

mod audience;
pub(crate) mod beside;
mod door;
pub(crate) mod handshake;
pub(crate) mod idle;
pub(crate) mod lanes;
pub(crate) mod mixed;
pub(crate) mod overload;
pub(crate) mod paths;
pub(crate) mod peer;
pub(crate) mod recovery;
pub(crate) mod room;
mod sender;
mod side;
pub(crate) mod slow;
pub(crate) mod soak;
mod stand;
pub(crate) mod storm;

use std::convert::Infallible;

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    flags::{self, Shared},
    progress::Progress,
    report::Report,
    sampler::Sampler,
};

/// Something that can be played.
pub(crate) trait Scenario {
    /// Its name on the command line.
    const NAME: &'static str;

    /// The flags that all scenarios have.
    fn shared(&self) -> &Shared;

    /// Plays it and says what was found out.
    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()>;
}

/// What a scenario plays on.
pub(crate) struct Stage {
    /// A directory of its own, gone with it.
    pub(crate) scratch: tempfile::TempDir,
    /// What was found out.
    pub(crate) report: Report,
    /// What is going on.
    pub(crate) progress: Progress,
}

/// Somebody ended the run.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(crate) struct Stopped;

/// Plays one.
pub(crate) fn run(scenario: flags::Scenario) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match scenario {
            flags::Scenario::Peer(options) => play(&options).await,
            flags::Scenario::Idle(options) => play(&options).await,
            flags::Scenario::Handshake(options) => play(&options).await,
            flags::Scenario::Lanes(options) => play(&options).await,
            flags::Scenario::Overload(options) => play(&options).await,
            flags::Scenario::Mixed(options) => play(&options).await,
            flags::Scenario::Room(options) => play(&options).await,
            flags::Scenario::Slow(options) => play(&options).await,
            flags::Scenario::Paths(options) => play(&options).await,
            flags::Scenario::Soak(options) => play(&options).await,
            flags::Scenario::Beside(options) => play(&*options).await,
            flags::Scenario::Recovery(options) => play(&options).await,
            flags::Scenario::Storm(options) => play(&options).await,
        }
    })
}

async fn play<S: Scenario + serde::Serialize>(scenario: &S) -> anyhow::Result<()> {
    let shared = scenario.shared();
    let scratch = tempfile::Builder::new().prefix("quail-load-").tempdir_in(&shared.scratch)?;
    let report = Report::new(S::NAME, shared, scenario)?;
    let sampler = report.sampler.clone();
    let progress = Progress::new();
    let mut stage = Stage { scratch, report, progress: progress.clone() };
    tokio::select! {
        played = scenario.play(&mut stage) => played?,
        // What the play made goes with it.
        () = stopped() => return Err(Stopped.into()),
        never = sample(&sampler, shared.sample, &progress) => match never? {},
    }
    let Stage { report, progress: shown, .. } = stage;
    // The last of them clears the screen.
    drop((progress, shown));
    report.end(shared)
}

/// Looks at what the scenario plays with for as long as it is played.
async fn sample(sampler: &Sampler, every: f64, progress: &Progress) -> anyhow::Result<Infallible> {
    let every = door::seconds(every)?;
    if every.is_zero() { std::future::pending().await } else { Ok(sampler.run(every, progress).await) }
}

/// Ready when a person or the system ends this process.
async fn stopped() {
    let (Ok(mut terminated), Ok(mut hung_up)) =
        (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
        _ = hung_up.recv() => {}
    }
}
