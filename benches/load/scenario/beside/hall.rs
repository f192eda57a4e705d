//! All systems at once, each with its audience.

use serde_json::json;

use super::{
    Stage, row_name,
    system::{Running, System},
};
use crate::{
    broker::server::Absent,
    flags::Shared,
    scenario::audience::{Audience, Seats},
};

/// See the module.
pub(super) struct Hall {
    /// Those that are here.
    pub(super) places: Vec<Place>,
    /// Those that are not, and why.
    pub(super) absent: Vec<(System, String)>,
}

/// One of them.
pub(super) struct Place {
    /// Which.
    pub(super) system: System,
    running: Running,
    /// Who listens to it and speaks.
    pub(super) audience: Audience,
}

impl Hall {
    /// Starts all and lets everybody in.
    pub(super) async fn open(
        stage: &mut Stage,
        systems: &[System],
        seats: Seats,
        shared: &Shared,
    ) -> anyhow::Result<Self> {
        let mut hall = Self { places: vec![], absent: vec![] };
        for system in systems {
            stage.progress.say(&format!("{} are coming to {system}", seats.listeners));
            let running = match start(stage, *system, shared).await? {
                Ok(running) => running,
                Err(why) => {
                    hall.absent.push((*system, why));
                    continue;
                }
            };
            let audience = Audience::open(&running.house(), running.id(), seats, shared).await?;
            hall.places.push(Place { system: *system, running, audience });
        }
        Ok(hall)
    }

    /// Those that are here.
    pub(super) fn systems(&self) -> Vec<System> {
        self.places.iter().map(|place| place.system).collect()
    }

    /// Sends everybody away.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        for Place { running, audience, .. } in self.places {
            audience.close().await?;
            running.stop().await?;
        }
        Ok(())
    }
}

/// Starts one and tells the report how it is set up; the reason, if it is not installed.
pub(super) async fn start(
    stage: &mut Stage,
    system: System,
    shared: &Shared,
) -> anyhow::Result<Result<Running, String>> {
    // What was left by an earlier one must not count against the next.
    let scratch = tempfile::Builder::new().prefix("system-").tempdir_in(stage.scratch.path())?.keep();
    let running = match system.start(&scratch, shared.default_limits, &mut stage.report).await {
        Err(error) if error.is::<Absent>() => return Ok(Err(format!("{error:#}"))),
        started => started?,
    };
    if system != System::Quail {
        stage.report.sampler.process(&system.to_string(), running.id());
    }
    if let Some((version, configuration)) = running.broker() {
        let name = row_name("set up", system);
        if !stage.report.rows.iter().any(|row| row["row"] == name) {
            stage.report.rows.push(json!({
                "row": name,
                "system": system,
                "version": version,
                "configuration": configuration,
            }));
        }
    }
    Ok(Ok(running))
}
