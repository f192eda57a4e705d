//! Committer and engine beside the engine alone, at the batch sizes that the server had; and the whole server beside engine and
//! packets.

use std::fs;

use crate::{
    child::{Child, PATIENCE},
    cpu::Spent,
    part::{
        Part,
        bare_store::{self, Written},
        commit,
    },
    plan::Plan,
    rounds::{Rounds, median},
    scenario::Stage,
};

use super::{Packets, Served};

/// What committer and engine may cost, in the engine's own CPU.
const CPU_RATIO_MAX: f64 = 1.25;

/// What the server may cost in the CPU of the bare engine and of three packets over bare QUIC.
const SERVER_RATIO_MAX: f64 = 1.5;

/// Plays rounds of all in turn.
pub(super) async fn compare(
    stage: &mut Stage,
    plan: &Plan,
    rounds: u32,
    served: Served,
    mut packets: Packets,
) -> anyhow::Result<()> {
    let messages = plan.messages() as f64;
    let (mut cpu, mut wall, mut whole) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut bare_packets = vec![];
    let mut last = None;
    for round in 1..=rounds {
        stage.progress.say(&format!("engine round {round} of {rounds}"));
        let directory = stage.scratch.path().join(format!("engine-{round}"));
        fs::create_dir(&directory)?;
        let (store, engine) = (directory.join("committed"), directory.join("bare"));
        let order = commit::Order { store: store.clone(), plan: plan.clone() };
        let committed: Spent = answer(Part::Commit, &order).await?;
        let order = bare_store::Order { committed: store, engine, plan: plan.clone() };
        let bare: Written = answer(Part::BareStore, &order).await?;
        fs::remove_dir_all(&directory)?;
        let per_message = |spent: Spent| spent.cpu * 1e6 / messages;
        cpu.push(per_message(committed), per_message(bare.spent));
        wall.push(messages / committed.wall, messages / bare.spent.wall);
        let packets = packets.cpu_us().await?;
        whole.push(served.cpu_us, per_message(bare.spent) + packets);
        bare_packets.push(packets);
        last = Some(bare);
    }
    packets.close().await?;
    let report = &mut stage.report;
    report.count("messages of a round", plan.messages());
    report.count("batches of a round", plan.batches.len() as u64);
    if let Some(Written { rows, bytes, .. }) = last {
        report.figure("rows per message", rows as f64 / messages);
        report.figure("bytes of rows per message", bytes as f64 / messages);
    }
    let (_, bare) = wall.medians();
    report.figure("acknowledged messages/s to the bare store's", served.per_second / bare);
    report.figure("CPU µs of three bare packets", median(bare_packets));
    report.rounds("messages/s, committer to bare store", wall);
    let ratio = report.rounds("CPU µs per message, committer to bare store", cpu);
    report.at_most("CPU of committer and engine, to the bare engine", ratio, CPU_RATIO_MAX);
    let ratio = report.rounds("CPU µs per message, server to bare store and three bare packets", whole);
    report.at_most("CPU of the server, to the bare engine and three bare packets", ratio, SERVER_RATIO_MAX);
    Ok(())
}

async fn answer<T: serde::de::DeserializeOwned>(
    part: Part,
    order: &impl serde::Serialize,
) -> anyhow::Result<T> {
    let mut child = Child::start(part, order).await?;
    let answer = child.hear(10 * PATIENCE).await?;
    child.end().await?;
    Ok(answer)
}
