//! Users write to each other in pairs; every message is synced before its ack.

mod engine;
mod packets;

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use self::packets::Packets;
use super::{
    Scenario, Stage,
    door::{Server, seconds},
};
use crate::{
    child::{Child, PATIENCE},
    clients::Crowd,
    cpu::{Cpu, Memory},
    disk,
    flags::Shared,
    part::{
        Part,
        chat::{Chatted, Order, Told},
    },
    plan::Plan,
    progress::Progress,
    sampler::Count,
};

/// What the server did with a message.
#[derive(Clone, Copy, Debug)]
struct Served {
    /// Messages that it acknowledged.
    per_second: f64,
    /// Microseconds of its CPU for each.
    cpu_us: f64,
}

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Users, who write in pairs.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    senders: u32,
    /// Messages per second of all together, in open loop. Without it everyone sends again when they may.
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Unanswered messages of a sender at most; below the 64 that a session may have.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=32))]
    in_flight: Option<u32>,
    /// Bytes of a text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=32_768))]
    bytes: u32,
    /// Seconds before it is measured.
    #[arg(long, default_value_t = 3.0)]
    warm_up: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Rounds of committer and bare engine.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Messages of such a round at most.
    #[arg(long, default_value_t = 100_000)]
    round_messages: u64,
    /// Seconds for which the disk's own syncs are timed.
    #[arg(long, default_value_t = 1.0)]
    disk: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    if rate > 0.0 && rate.is_finite() { Ok(rate) } else { Err("not above 0".into()) }
}

/// What the measured time cost the server.
struct Window {
    cpu: Cpu,
    committer: Cpu,
    memory: Memory,
    batches: Vec<u32>,
    chatted: Chatted,
    dropped: u64,
}

impl Scenario for Options {
    const NAME: &'static str = "peer";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        stage.progress.say("timing the disk");
        let disk = disk::syncs(stage.scratch.path(), seconds(self.disk)?)?;
        stage.report.histogram("append 4 KiB and fdatasync", &disk);
        let mut server =
            Server::start(stage.scratch.path(), self.shared.default_limits, &mut stage.report).await?;
        let window = self.chat(&mut server, stage).await?;
        server.stop().await?;
        self.tell(stage, &window);
        let plan = Plan::new(&window.batches, self.senders / 2, self.bytes, self.round_messages);
        let acknowledged = window.chatted.acknowledged_in_window as f64;
        if plan.batches.is_empty() || acknowledged == 0.0 {
            return Ok(());
        }
        let rate = acknowledged / self.duration;
        let pace = (rate, packets::together(&window.batches, self.senders));
        let packets = Packets::open(stage, &self.shared, self.senders, self.bytes, pace).await?;
        let served = Served { per_second: rate, cpu_us: window.cpu.seconds() * 1e6 / acknowledged };
        engine::compare(stage, &plan, self.rounds, served, packets).await
    }
}

impl Options {
    async fn chat(&self, server: &mut Server, stage: &mut Stage) -> anyhow::Result<Window> {
        let Stage { progress, report, .. } = stage;
        let Shared { processes, per_socket, .. } = self.shared;
        let (warm_up, duration) = (seconds(self.warm_up)?, seconds(self.duration)?);
        let mut children = vec![];
        for crowd in Crowd::split(server.target(), self.senders, processes, per_socket) {
            let order = Order {
                crowd,
                senders: self.senders,
                per_second: self.rate,
                in_flight: self.in_flight.unwrap_or(if self.rate.is_some() { 32 } else { 1 }),
                bytes: self.bytes,
                warm_up: warm_up.as_millis() as u64,
                duration: duration.as_millis() as u64,
            };
            children.push(Child::start(Part::Chat, &order).await?);
        }
        progress.say("connecting");
        for child in &mut children {
            child.hear::<Told>(PATIENCE).await?;
        }
        let started = Instant::now();
        for child in &mut children {
            child.tell(&()).await?;
        }
        let counts = Counts {
            acknowledged: report.sampler.count("clients: messages"),
            delivered: report.sampler.count("clients: deliveries"),
        };
        let listening: Vec<_> =
            children.into_iter().map(|child| tokio::spawn(listen(child, counts.clone()))).collect();
        progress.say("warming up");
        sleep_until(started + warm_up).await;
        server.batches().await?;
        let before = (server.cpu()?, server.committer_cpu()?);
        watch(server, progress, started, warm_up + duration).await?;
        let (cpu, committer) = (server.cpu()?.since(before.0), server.committer_cpu()?.since(before.1));
        let (batches, memory) = (server.batches().await?, server.memory()?);
        progress.say("waiting for what is on its way");
        let mut all = vec![];
        for child in listening {
            all.push(child.await??);
        }
        let dropped = server.counter("quail_events_dropped_total").await?;
        Ok(Window { cpu, committer, memory, batches, chatted: Chatted::sum(all)?, dropped })
    }

    fn tell(&self, stage: &mut Stage, window: &Window) {
        let Window { cpu, committer, memory, batches, chatted, dropped } = window;
        let report = &mut stage.report;
        report.account(&chatted.account);
        for (name, count) in [
            ("messages unexpected", chatted.account.unexpected + chatted.strange),
            ("clients left behind", chatted.behind),
            ("events dropped by the server", *dropped),
            ("measured acknowledgements", chatted.acknowledged_in_window),
            ("measured deliveries", chatted.delivered_in_window),
            ("measured batches", batches.len() as u64),
        ] {
            report.count(name, count);
        }
        for (reason, count) in &chatted.refusals {
            report.count(&format!("refused {reason}"), *count);
        }
        report.broken.extend(chatted.account.broken());
        let acknowledged = chatted.acknowledged_in_window as f64;
        let batched: u64 = batches.iter().copied().map(u64::from).sum();
        report.figure("acknowledged messages/s", acknowledged / self.duration);
        report.figure("messages per batch", batched as f64 / (batches.len().max(1)) as f64);
        report.figure("server CPU µs per acknowledged message", cpu.seconds() * 1e6 / acknowledged.max(1.0));
        report.figure("of it the committer's thread, µs", committer.seconds() * 1e6 / acknowledged.max(1.0));
        report.figure("server CPU cores", cpu.seconds() / self.duration);
        report.figure("server CPU in the kernel, share", cpu.system / cpu.seconds().max(1e-9));
        report.figure("server memory MiB", memory.resident as f64 / f64::from(1 << 20));
        report.figure("of it anonymous, MiB", memory.anonymous as f64 / f64::from(1 << 20));
        report.histogram("intended send to ack", &chatted.to_ack);
        report.histogram("intended send to receiver", &chatted.to_receiver);
        report.histogram("load late by", &chatted.late);
    }
}

/// What all clients together have so far.
#[derive(Clone)]
struct Counts {
    acknowledged: Count,
    delivered: Count,
}

/// Hears a client process to its end.
async fn listen(mut child: Child, counts: Counts) -> anyhow::Result<Chatted> {
    let mut before = (0, 0);
    loop {
        match child.hear(PATIENCE).await? {
            Told::Connected => {}
            Told::Progress { acknowledged, delivered } => {
                counts.acknowledged.add(acknowledged - before.0);
                counts.delivered.add(delivered - before.1);
                before = (acknowledged, delivered);
            }
            Told::Done(chatted) => {
                child.end().await?;
                return Ok(*chatted);
            }
        }
    }
}

/// Waits until the end of the measured time and says how far it is.
async fn watch(
    server: &Server,
    progress: &mut Progress,
    started: Instant,
    until: Duration,
) -> anyhow::Result<()> {
    let placed = server.counter("quail_messages_total").await?;
    while started.elapsed() < until {
        sleep_until((Instant::now() + Duration::from_secs(1)).min(started + until)).await;
        let memory = server.memory()?.resident >> 20;
        let placed = server.counter("quail_messages_total").await? - placed;
        let (elapsed, until) = (started.elapsed().as_secs(), until.as_secs());
        progress.say(&format!("{elapsed} of {until} s: {placed} messages placed, {memory} MiB"));
    }
    Ok(())
}
