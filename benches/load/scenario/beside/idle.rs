//! What one who only listens costs in memory while nothing is said: a client with a subscription, a session in a room.

use serde_json::json;
use tokio::time::sleep;

use super::{Options, Stage, hall, not_run, row_name, system::System};
use crate::{
    cpu::Memory,
    part::attend::{Pace, Round},
    scenario::{
        audience::{Audience, Seats},
        door::seconds,
    },
};

/// After the quiet everybody is told this, which shows that they are there.
const ONE_WORD: Round = Round { milliseconds: 100, per_flush: 1, bytes: 256, pace: Pace::PerSecond(10.0) };

/// One system after the other.
pub(super) async fn play(stage: &mut Stage, options: &Options) -> anyhow::Result<()> {
    // They come in pairs.
    let listeners = options.idle.next_multiple_of(2);
    let row = format!("{listeners} idle");
    let mut all = vec![];
    for system in &options.systems {
        match hall::start(stage, *system, &options.shared).await? {
            Err(why) => not_run(stage, &row, *system, &why),
            Ok(running) => {
                stage.progress.say(&format!("{row}: {system}"));
                let empty = running.memory()?;
                let seats = Seats { listeners, rooms: 1, speakers: 1, together: false };
                let mut audience =
                    Audience::open(&running.house(), running.id(), seats, &options.shared).await?;
                sleep(seconds(options.quiet)?).await;
                let full = running.memory()?;
                let heard = audience.round(ONE_WORD).await?.counted.delivered;
                audience.close().await?;
                running.stop().await?;
                if heard != u64::from(listeners) {
                    stage.report.broken.push(format!("{row}, {system}: {heard} were there after the quiet"));
                }
                all.push((*system, empty, full));
            }
        }
    }
    let each = |empty: u64, full: u64| full.saturating_sub(empty) as f64 / f64::from(listeners);
    let resident = |(_, empty, full): &(System, Memory, Memory)| each(empty.resident, full.resident);
    let quail = all.iter().find(|(system, ..)| *system == System::Quail).map(resident);
    for one in &all {
        let (system, empty, full) = one;
        stage.report.rows.push(json!({
            "row": row_name(&row, *system),
            "system": system,
            "tls": system.is_encrypted(),
            "memory_bytes_each": resident(one),
            "anonymous_bytes_each": each(empty.anonymous, full.anonymous),
            "empty_mib": empty.resident as f64 / f64::from(1 << 20),
        }));
        if let (Some(quail), true) = (quail, *system != System::Quail) {
            stage.report.figure(&format!("{row}: memory, quail to {system}"), quail / resident(one));
        }
    }
    Ok(())
}
