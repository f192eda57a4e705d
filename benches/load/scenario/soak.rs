//! A room over a bad network, in which members come and go and lose their connections, for long: what the server has in
//! memory must not grow, and nothing may be lost.

mod samples;

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use self::samples::{Sample, Samples};
use super::{
    Scenario, Stage,
    door::{Server, seconds},
    sender,
};
use crate::{
    chain::{Ends, Newest},
    child::{Child, PATIENCE},
    clients::Crowd,
    cpu,
    flags::Shared,
    latency::Latencies,
    part::{
        Part,
        attend::Counted,
        dwell::{self, Ask, Heard, Lived},
        pour, serve,
    },
    report::Report,
    weather::Packets,
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Members.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    members: u32,
    /// Percent of all packets of members that are lost, in each direction.
    #[arg(long, default_value_t = 1.0)]
    loss: f64,
    /// Members that leave per second, and come again.
    #[arg(long, default_value_t = 2.0)]
    churn: f64,
    /// Seconds after which they come again.
    #[arg(long, default_value_t = 5.0)]
    left_for: f64,
    /// Members that lose their connection per second.
    #[arg(long, default_value_t = 0.5)]
    cuts: f64,
    /// Seconds for which all their packets are lost, in turn: the first is within the server's grace, the second is not.
    #[arg(long, default_values_t = [24.0, 40.0], value_delimiter = ',')]
    cut_for: Vec<f64>,
    /// Seconds of silence after which the server takes a client for lost, if not as many as by default. A client notices after
    /// two thirds of them.
    #[arg(long)]
    idle: Option<u32>,
    /// Messages of normal priority per second.
    #[arg(long, default_value_t = 3.0)]
    rate: f64,
    /// Messages of high priority per second.
    #[arg(long, default_value_t = 1.0)]
    high_rate: f64,
    /// Bytes of a text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=32_768))]
    bytes: u32,
    /// Seconds of coming and going.
    #[arg(long, default_value_t = 600.0)]
    duration: f64,
    /// Samples of the server in that time.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    samples: u32,
}

/// What the last tenth may be of the middle.
const GROWTH_MAX: f64 = 1.05;

/// Whoever is away at the end has so long to come back.
const RETURN: Duration = Duration::from_secs(150);

const ROOM: &str = "soak";

impl Scenario for Options {
    const NAME: &'static str = "soak";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let data = stage.scratch.path().join("quail");
        let order = serve::Order {
            default_outbox: true,
            idle: self.idle,
            ..serve::Order::here(data, self.shared.default_limits)
        };
        let server = Server::start_in(None, order, &mut stage.report).await?;
        stage.report.durability = "acks when the message is in every outbox: rooms are not stored".to_owned();
        // They have a good network.
        let mut senders = sender::pair(&server, ROOM, self.bytes, [self.high_rate, self.rate]).await?;
        let mut dwelling = self.dwell(&server, stage).await?;
        for (sender, _) in &mut senders {
            sender.tell(&()).await?;
        }
        for child in &mut dwelling {
            child.tell(&Ask::Churn).await?;
        }
        let samples = self.watch(&server, stage).await?;
        stage.progress.say("all come back");
        for child in &mut dwelling {
            child.tell(&Ask::Rest).await?;
        }
        let mut present = 0;
        for child in &mut dwelling {
            present += child.hear::<u64>(RETURN).await?;
        }
        let (mut ends, mut unsent) = (Ends::default(), vec![]);
        for (sender, priority) in &mut senders {
            let pour::Poured { sent, accepted, newest, first_failure, .. } = sender::end(sender).await?;
            ends[priority.index()] = Newest { seq: newest[priority.index()], count: accepted };
            stage.report.count(&format!("messages sent, {priority:?}"), sent);
            unsent.extend(
                first_failure.map(|why| format!("{} messages were not taken ({why})", sent - accepted)),
            );
        }
        let mut all = All::new()?;
        for child in &mut dwelling {
            child.tell(&Ask::Settle(ends)).await?;
            all.add(child.hear(2 * PATIENCE).await?);
        }
        for child in dwelling.into_iter().chain(senders.map(|(sender, _)| sender)) {
            child.end().await?;
        }
        self.tell_closes(&server, stage).await?;
        server.stop().await?;
        stage.report.broken.extend(unsent);
        stage.report.count("members in the room at the end", present);
        let away = u64::from(self.members).saturating_sub(present);
        if away > 0 {
            stage.report.broken.push(format!("{away} did not come back"));
        }
        all.tell(&mut stage.report);
        samples.tell(&mut stage.report, GROWTH_MAX);
        Ok(())
    }
}

impl Options {
    /// Lets the members in.
    async fn dwell(&self, server: &Server, stage: &mut Stage) -> anyhow::Result<Vec<Child>> {
        stage.progress.say(&format!("{} members are coming", self.members));
        let Shared { processes, per_socket, .. } = self.shared;
        let mut dwelling = vec![];
        for crowd in Crowd::split(server.target(), self.members, processes, per_socket) {
            let part = f64::from(crowd.users) / f64::from(self.members);
            let order = dwell::Order {
                crowd,
                room: ROOM.to_owned(),
                loss: self.loss / 100.0,
                leaves_per_second: self.churn * part,
                left_for: seconds(self.left_for)?,
                cuts_per_second: self.cuts * part,
                cut_for: self.cut_for.iter().map(|pause| seconds(*pause)).collect::<Result<_, _>>()?,
            };
            dwelling.push(Child::start(Part::Dwell, &order).await?);
        }
        for child in &mut dwelling {
            child.hear::<u64>(5 * PATIENCE).await?;
        }
        Ok(dwelling)
    }

    /// Looks at the server while members come and go.
    async fn watch(&self, server: &Server, stage: &mut Stage) -> anyhow::Result<Samples> {
        let mut samples = Samples::default();
        let (begun, length) = (Instant::now(), seconds(self.duration)?);
        let before = server.cpu()?;
        for number in 1..=self.samples {
            sleep_until(begun + length * number / self.samples).await;
            let (threads, files) = cpu::threads_and_files(server.id())?;
            let memory = server.memory()?;
            let sample = Sample {
                seconds: begun.elapsed().as_secs_f64(),
                resident: memory.resident,
                anonymous: memory.anonymous,
                sessions: server.counter("quail_sessions").await?,
                connections: server.sum("quail_connections", "carrier=\"quic\"").await?,
                rooms: server.counter("quail_rooms").await?,
                threads,
                files,
            };
            stage.progress.say(&format!("{:.0} of {} s: {sample}", sample.seconds, self.duration));
            samples.push(sample);
        }
        let cores = server.cpu()?.since(before).seconds() / begun.elapsed().as_secs_f64();
        stage.report.figure("cores that the server had", cores);
        Ok(samples)
    }

    /// Why connections ended, as the server says.
    async fn tell_closes(&self, server: &Server, stage: &mut Stage) -> anyhow::Result<()> {
        for (reason, count) in server.family("quail_closes_total").await? {
            stage.report.count(&format!("connections that ended, {reason}"), count);
        }
        let resumed = server.counter("quail_sessions_resumed_total").await?;
        stage.report.count("sessions that went on over another connection", resumed);
        let dropped = server.sum("quail_room_deliveries_total", "outcome=\"dropped\"").await?;
        stage.report.count("messages left out by the server", dropped);
        Ok(())
    }
}

/// What all processes heard.
struct All {
    counted: Counted,
    latencies: Latencies,
    lived: Lived,
    packets: Packets,
}

impl All {
    fn new() -> anyhow::Result<Self> {
        let (counted, lived, packets) = Default::default();
        Ok(Self { counted, latencies: Latencies::new()?, lived, packets })
    }

    fn add(&mut self, heard: Heard) {
        let Heard { counted, latencies, lived, packets } = heard;
        self.counted.add(&counted);
        self.latencies.merge(&latencies);
        self.lived.add(&lived);
        self.packets.passed += packets.passed;
        self.packets.lost += packets.lost;
    }

    fn tell(&self, report: &mut Report) {
        let Self { counted, latencies, lived, packets } = self;
        report.broken.extend(counted.broken());
        let Lived { left, cut, interrupted, went_on, rejoined, put_out, gaps, behind, refused } = *lived;
        for (name, count) in [
            ("messages delivered", counted.delivered),
            ("messages told as left out", counted.dropped),
            ("messages lost", counted.lost),
            ("messages duplicated", counted.duplicates),
            ("messages out of order", counted.misordered),
            ("gaps told", gaps),
            ("times told that messages are gone from the room", behind),
            ("members that left and came again", left),
            ("members that were cut off", cut),
            ("times a client was interrupted", interrupted),
            ("times it went on with its session", went_on),
            ("times it came in again by itself", rejoined),
            ("times it was put out", put_out),
            ("requests to leave or join that failed", refused),
            ("packets lost", packets.lost),
        ] {
            report.count(name, count);
        }
        let all = (packets.passed + packets.lost).max(1);
        report.figure("percent of packets lost", packets.lost as f64 * 100.0 / all as f64);
        report.histogram("intended send to app, cuts included", latencies);
    }
}
