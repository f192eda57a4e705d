//! A Quail beside the brokers that people would otherwise pick: the same words to the same number of listeners, in turn.
//!
//! All servers are up and have their audience for as long as rows are played, and one at a time is spoken to. Clients are
//! of one kind: a task for each connection, buffered reads, every message decoded and held against what was said. TLS is 1.3
//! with AES-128-GCM and a P-256 certificate everywhere; a Quail has nothing without.
//!
//! They do not promise the same. NATS and MQTT under QoS 0 deliver at most once: whoever is cut off misses what is said until
//! they are back, and nobody tells them. MQTT under QoS 1 delivers at least once, with an answer of each listener to each message.
//! A Quail numbers what is said in a room, drops what is sent twice, answers every message to its sender when it is in every
//! outbox, tells each listener sender, place and time of it, and tells them what they missed; it checks a token at the login, and
//! a session says every 15 s that it is there, which is counted against it: clients of the brokers are silent.

mod hall;
mod idle;
mod system;
mod table;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::{hall::Hall, system::System, table::Table};
use super::{
    Scenario, Stage,
    audience::Seats,
    side::{Point, paced, saturated},
};
use crate::flags::Shared;

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// What is put beside each other.
    #[arg(long, value_delimiter = ',', default_values_t = System::USUAL)]
    systems: Vec<System>,
    /// Sessions that listen.
    #[arg(long, default_values_t = [100, 1000], value_delimiter = ',')]
    members: Vec<u32>,
    /// Bytes of a text.
    #[arg(long, default_values_t = [256], value_delimiter = ',')]
    sizes: Vec<u32>,
    /// Messages that are sent together.
    #[arg(long, default_values_t = [1, 4, 16], value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    bursts: Vec<u32>,
    /// Flushes per second, in open loop. Without it as many as make 8,000 a second of all listeners together.
    #[arg(long)]
    rate: Option<f64>,
    /// Sessions that listen while one speaks as fast as they follow, 64 messages together; 0 for none.
    #[arg(long, default_value_t = 100)]
    saturated: u32,
    /// Messages that a listener may be behind then.
    #[arg(long, default_value_t = 512)]
    ahead: u64,
    /// Sessions whose memory is looked at while nothing is said, of one system after the other; 0 for none.
    #[arg(long, default_value_t = 5000)]
    idle: u32,
    /// Seconds of quiet before that.
    #[arg(long, default_value_t = 20.0)]
    quiet: f64,
    /// Seconds of each system before a row that are not measured.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds of a round of one system.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
    /// Rounds of each row, each of all systems.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

impl Scenario for Options {
    const NAME: &'static str = "beside";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        for members in &self.members {
            let points = paced(*members, &self.sizes, &self.bursts, self.rate);
            let seats = Seats { listeners: *members, rooms: 1, speakers: 1, together: false };
            self.hall(stage, seats, points).await?;
        }
        if self.saturated > 0 {
            let points = saturated(self.saturated, &self.sizes, self.ahead);
            let seats = Seats { listeners: self.saturated, rooms: 1, speakers: 1, together: true };
            self.hall(stage, seats, points).await?;
        }
        if self.idle > 0 {
            idle::play(stage, self).await?;
        }
        "rooms are not stored; a broker that promises no more than at most once has no acks"
            .clone_into(&mut stage.report.durability);
        Ok(())
    }
}

impl Options {
    /// Plays rows that have their audiences in common.
    async fn hall(&self, stage: &mut Stage, seats: Seats, points: Vec<Point>) -> anyhow::Result<()> {
        let mut hall = Hall::open(stage, &self.systems, seats, &self.shared).await?;
        for point in points {
            let mut table = Table::new(point, hall.systems())?;
            for (system, why) in &hall.absent {
                not_run(stage, &point.name(), *system, why);
            }
            let (warm_up, round) = (point.round(self.warm_up)?, point.round(self.duration)?);
            stage.progress.say(&format!("{}: warming up", point.name()));
            for index in 0..hall.places.len() {
                table.warm(index, &hall.places[index].audience.round(warm_up).await?);
            }
            for round_number in 0..self.rounds as usize {
                for turn in 0..hall.places.len() {
                    // Each begins a round in turn.
                    let index = (round_number + turn) % hall.places.len();
                    let place = &mut hall.places[index];
                    stage.progress.say(&format!(
                        "{}: round {} of {}, {}",
                        point.name(),
                        round_number + 1,
                        self.rounds,
                        place.system
                    ));
                    table.add(index, place.audience.round(round).await?);
                }
            }
            table.tell(&mut stage.report);
        }
        hall.close().await
    }
}

/// What the row of a system is called.
fn row_name(row: &str, system: System) -> String {
    format!("{row}, {system}")
}

/// A row of a system that is not here.
fn not_run(stage: &mut Stage, row: &str, system: System, why: &str) {
    stage.report.rows.push(json!({
        "row": row_name(row, system),
        "system": system,
        "tls": system.is_encrypted(),
        "not_run": format!("NOT RUN: {why}"),
    }));
}
