//! Rooms in which some speak and all others listen.

mod hall;
mod row;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::{hall::Hall, row::Row};
use super::{
    Scenario, Stage,
    audience::Seats,
    side::{Point, paced, saturated},
};
use crate::{flags::Shared, part::attend::Pace};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Sessions that listen, in all rooms together.
    #[arg(long, default_values_t = [100, 1000, 5000], value_delimiter = ',')]
    members: Vec<u32>,
    /// Rooms.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Sessions that speak, of each room.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    publishers: u32,
    /// Bytes of a text.
    #[arg(long, default_values_t = [64, 256], value_delimiter = ',', value_parser = clap::value_parser!(u32).range(16..=32_768))]
    sizes: Vec<u32>,
    /// Messages that are sent together.
    #[arg(long, default_values_t = [1, 4, 16], value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    bursts: Vec<u32>,
    /// Flushes per second of a room, in open loop. Without it as many as make 8,000 a second of all listeners together.
    #[arg(long)]
    rate: Option<f64>,
    /// Sessions that listen while one speaks as fast as they follow, 64 messages together; 0 for none.
    #[arg(long, default_value_t = 100)]
    saturated: u32,
    /// Messages that a listener may be behind then.
    #[arg(long, default_value_t = 512)]
    ahead: u64,
    /// Seconds before each row that are not measured.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds of a round.
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
    /// Rounds of each row, each of a Quail and of the bare loop.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// What a delivery may cost in the bare loop's CPU, and where.
const CPU_RATIO_MAX: f64 = 1.2;
const AIMED_MEMBERS: u32 = 1000;
const AIMED_BYTES: u32 = 256;
const AIMED_BURSTS: [u32; 3] = [1, 4, 16];

/// Deliveries per core-second of a server that is kept busy.
const SATURATED_MIN: f64 = 1.2e6;

impl Scenario for Options {
    const NAME: &'static str = "room";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let mut deliveries = 0;
        for members in &self.members {
            let points = paced(*members, &self.sizes, &self.bursts, self.rate);
            let seats = Seats {
                listeners: *members,
                rooms: self.rooms,
                speakers: self.publishers * self.rooms,
                together: false,
            };
            deliveries += self.hall(stage, seats, points).await?;
        }
        if self.saturated > 0 {
            let points = saturated(self.saturated, &self.sizes, self.ahead);
            let seats = Seats { listeners: self.saturated, rooms: 1, speakers: 1, together: true };
            deliveries += self.hall(stage, seats, points).await?;
        }
        stage.report.count("deliveries", deliveries);
        Ok(())
    }
}

impl Options {
    /// Plays rows that have their sessions in common; returns how many deliveries there were.
    async fn hall(&self, stage: &mut Stage, seats: Seats, points: Vec<Point>) -> anyhow::Result<u64> {
        let listeners = seats.listeners;
        stage.progress.say(&format!("{listeners} sessions and as many bare connections are coming"));
        let mut hall = match Hall::open(stage, seats, &self.shared).await {
            Ok(hall) => hall,
            Err(error) => {
                // Others may well be played, but this is no good end.
                stage.report.broken.push(format!("{listeners} sessions did not come in: {error:#}"));
                for point in points {
                    stage.report.rows.push(json!({ "row": point.name(), "not_run": format!("{error:#}") }));
                }
                return Ok(0);
            }
        };
        let mut deliveries = 0;
        for point in points {
            let row = self.row(stage, &mut hall, point).await?;
            deliveries += row.quail.deliveries;
            row.tell(&mut stage.report);
            self.aim(stage, &row);
        }
        hall.close().await?;
        Ok(deliveries)
    }

    async fn row(&self, stage: &mut Stage, hall: &mut Hall, point: Point) -> anyhow::Result<Row> {
        let (warm_up, round) = (point.round(self.warm_up)?, point.round(self.duration)?);
        let mut row = Row::new(point)?;
        stage.progress.say(&format!("{}: warming up", point.name()));
        for audience in [&mut hall.quail, &mut hall.bare] {
            row.warm(&audience.round(warm_up).await?);
        }
        for number in 1..=self.rounds {
            stage.progress.say(&format!("{}: round {number} of {}", point.name(), self.rounds));
            let quail = hall.quail.round(round).await?;
            stage.progress.times(quail.latencies.percentiles());
            row.push(quail, hall.bare.round(round).await?);
        }
        Ok(row)
    }

    fn aim(&self, stage: &mut Stage, row: &Row) {
        let Point { members, bytes, per_flush, pace } = row.point;
        let name = row.point.name();
        match pace {
            Pace::PerSecond(_)
                if members == AIMED_MEMBERS && bytes == AIMED_BYTES && AIMED_BURSTS.contains(&per_flush) =>
            {
                stage.report.at_most(
                    &format!("CPU of the bare loop, {name}"),
                    row.cpu().ratio(),
                    CPU_RATIO_MAX,
                );
            }
            Pace::Ahead(_) => {
                let per_core_second = 1e6 / row.cpu().medians().0;
                stage.report.at_least(
                    &format!("deliveries per core-second, {name}"),
                    per_core_second,
                    SATURATED_MIN,
                );
            }
            Pace::PerSecond(_) => {}
        }
    }
}
