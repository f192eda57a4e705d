//! The same conversation over several carriers and several networks, which are made here.
//!
//! Two things are played. On each network one client is in many rooms, and somebody on the server's side of the network
//! speaks in all of them in turn. And while one client sends and another listens over a network, it goes dark for a while, or
//! the server sees both under another address from one moment to the next.

mod judge;
mod profile;
mod talk;
mod tally;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::{
    profile::{Fault, Flags, Name},
    talk::{Place, Talk},
    tally::{Broken, Pass, Tally},
};
use super::{
    Scenario, Stage,
    door::{Server, seconds},
};
use crate::{
    broker::{
        Protocol, Qos,
        server::{Absent, Broker, Order},
    },
    cpu::{self, Cpu},
    flags::Shared,
    part::serve,
    topics::Access,
    wire::Wire,
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    #[command(flatten)]
    #[serde(flatten)]
    flags: Flags,
    /// Networks on which many rooms are listened to.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., default_values_t = Name::value_variants().to_vec())]
    networks: Vec<Name>,
    /// What happens while one sends and one listens.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., default_values_t = Fault::value_variants().to_vec())]
    faults: Vec<Fault>,
    /// What is put beside each other.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Carrier::value_variants().to_vec())]
    carriers: Vec<Carrier>,
    /// Rooms that the one client is in.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50))]
    rooms: u32,
    /// Messages per second in each of them.
    #[arg(long, default_value_t = 4.0)]
    rate: f64,
    /// Bytes of a text.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    bytes: u32,
    /// Seconds of a round before it is measured, and before something happens.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds of a round that are measured.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Messages per second of the one who sends while something happens.
    #[arg(long, default_value_t = 50.0)]
    send_rate: f64,
    /// Messages per second to the one who listens meanwhile: as many as wait for somebody who is not there for a while.
    #[arg(long, default_value_t = 10.0)]
    listen_rate: f64,
    /// Seconds of darkness.
    #[arg(long, default_value_t = 1.0)]
    dark: f64,
    /// Seconds from where something happened to the end: more than a client is silent before it asks whether the server is
    /// there.
    #[arg(long, default_value_t = 15.0)]
    after: f64,
    /// Seconds of silence after which the server takes a client for lost, if not as many as by default. A client asks whether
    /// the server is there after a third of them.
    #[arg(long)]
    idle: Option<u32>,
    /// Rounds, each of every carrier on every network.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Carrier {
    /// Quail over QUIC.
    Quic,
    /// The same, with the rooms of a lane on four streams.
    QuicStreams,
    /// Quail over a WebSocket with TLS.
    Websocket,
    /// mosquitto, MQTT with QoS 1 over TLS.
    Mqtt,
}

impl Carrier {
    /// As it stands in the report.
    fn text(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::QuicStreams => "QUIC, four streams per lane",
            Self::Websocket => "WebSocket, TLS",
            Self::Mqtt => "MQTT, TLS",
        }
    }
}

/// What QUIC's 95th percentile may be of that over a WebSocket, where packets are lost.
const P95_RATIO_MAX: f64 = 0.5;

/// For how many round trips nothing may be acknowledged when the address changes.
const ROUND_TRIPS_MAX: u32 = 3;

/// A client asks whether the server is there when it has heard nothing for so long, or for a third of the time after which the
/// server takes it for lost.
const PING_AFTER_MAX: Duration = Duration::from_secs(10);

impl Scenario for Options {
    const NAME: &'static str = "paths";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let wire = match Wire::make(self.flags.profile(Name::Clean)?).await {
            Ok(wire) => wire,
            Err(why) => {
                stage.report.not_run = Some(format!("{why:#}"));
                return Ok(());
            }
        };
        let data = stage.scratch.path().join("quail");
        let order = serve::Order {
            default_outbox: true,
            websocket_tls: true,
            idle: self.idle,
            listen: Wire::server_address(),
            ..serve::Order::here(data, self.shared.default_limits)
        };
        let server = Server::start_in(Some(wire.near()), order, &mut stage.report).await?;
        stage.report.durability = "acks when the message is in every outbox: rooms are not stored".to_owned();
        stage.report.sampler.process("relay", wire.relay_id());
        let (broker, carriers) = self.broker(&wire, stage).await?;
        let mut ground = Ground { wire, server, broker, options: self, passes: 0 };
        let (began, before) = (Instant::now(), Cpu::of(ground.wire.relay_id())?);
        let mut tally = Tally::default();
        for round in 1..=self.rounds {
            for (name, carrier) in each(&self.networks, &carriers, round) {
                let (name_text, carrier_text) = (name.text(), carrier.text());
                stage.progress.say(&format!("round {round} of {}: {name_text}, {carrier_text}", self.rounds));
                tally.calm(name, carrier, ground.calm(name, carrier, round).await?);
            }
            for (fault, carrier) in each(&self.faults, &carriers, round) {
                let (fault_text, carrier_text) = (fault.text(), carrier.text());
                stage
                    .progress
                    .say(&format!("round {round} of {}: {fault_text}, {carrier_text}", self.rounds));
                tally.broken(fault, carrier, ground.broken(fault, carrier, round).await?);
            }
        }
        let cores = Cpu::of(ground.wire.relay_id())?.since(before).seconds() / began.elapsed().as_secs_f64();
        let report = &mut stage.report;
        report.figure("cores that the relay had", cores);
        tally::tell_packets(report, ground.wire.counts().await?);
        ground.end().await?;
        tally.tell(report)?;
        self.tell_aims(&tally, report)
    }
}

/// All of both, the second in turn for each of the first; another one of them begins in each round.
fn each<A: Copy, B: Copy>(first: &[A], second: &[B], round: u32) -> Vec<(A, B)> {
    let turned = || second.iter().cycle().skip(round as usize).take(second.len());
    first.iter().flat_map(|one| turned().map(|other| (*one, *other))).collect()
}

/// Where it is played.
struct Ground<'a> {
    wire: Wire,
    server: Server,
    broker: Option<Broker>,
    options: &'a Options,
    /// How many times was played, which makes names.
    passes: u32,
}

impl Ground<'_> {
    /// How somebody comes to the server over a carrier.
    fn access(&self, carrier: Carrier, user: &str) -> Access {
        let name = format!("{user}-{}", self.passes);
        match (&self.broker, carrier) {
            (Some(broker), Carrier::Mqtt) => {
                let ping_after = self.options.ping_after();
                Access::Mqtt { broker: broker.target.clone(), name, ping_after }
            }
            _ => Access::Quail {
                visitor: self.server.visitor(name, carrier == Carrier::Websocket),
                streams_per_lane: if carrier == Carrier::QuicStreams { 4 } else { 1 },
            },
        }
    }

    /// Somebody on the server's side of the network, where there is none between them: all come over QUIC to a Quail.
    fn near(&self, carrier: Carrier, user: &str) -> Place<'_> {
        let carrier = if carrier == Carrier::Mqtt { carrier } else { Carrier::Quic };
        Place { namespace: self.wire.near(), access: self.access(carrier, user) }
    }

    /// Somebody on the other side.
    fn far(&self, carrier: Carrier, user: &str) -> Place<'_> {
        Place { namespace: self.wire.far(), access: self.access(carrier, user) }
    }

    fn topics(&self, prefix: &str, count: u32) -> Vec<String> {
        (0..count).map(|number| format!("{prefix}-{}-{number}", self.passes)).collect()
    }

    /// One round of many rooms on a network.
    async fn calm(&mut self, name: Name, carrier: Carrier, round: u32) -> anyhow::Result<Pass> {
        self.passes += 1;
        let options = self.options;
        // The same packets by their number are lost over each carrier.
        self.wire.shape(options.flags.profile(name)?, round.into()).await?;
        let counted = self.wire.counts().await?;
        let topics = self.topics("room", options.rooms);
        let rate = options.rate * f64::from(options.rooms);
        let (from, to) = (self.near(carrier, "alice"), self.far(carrier, "bob"));
        let mut talk = Talk::open(from, to, &topics, rate, options.bytes as usize).await?;
        talk.begin().await?;
        sleep(seconds(options.warm_up)?).await;
        let from = cpu::since_boot();
        sleep(seconds(options.duration)?).await;
        let until = cpu::since_boot();
        let (published, subscribed) = talk.end().await?;
        let packets = self.wire.counts().await?;
        Pass::new(&published, &subscribed, (from, until), (counted, packets))
    }

    /// One round of something that happens while one sends and one listens.
    async fn broken(&mut self, fault: Fault, carrier: Carrier, round: u32) -> anyhow::Result<Broken> {
        self.passes += 1;
        let options = self.options;
        self.wire.shape(options.flags.profile(Name::Distant)?, round.into()).await?;
        let bytes = options.bytes as usize;
        let [up, down] = ["up", "down"].map(|prefix| self.topics(prefix, 1));
        let (from, to) = (self.far(carrier, "alice"), self.near(carrier, "bob"));
        let mut up = Talk::open(from, to, &up, options.send_rate, bytes).await?;
        let (from, to) = (self.near(carrier, "carol"), self.far(carrier, "dave"));
        let mut down = Talk::open(from, to, &down, options.listen_rate, bytes).await?;
        for talk in [&mut up, &mut down] {
            talk.begin().await?;
        }
        sleep(seconds(options.warm_up)?).await;
        let (from, over) = match fault {
            Fault::Blackout => {
                let length = seconds(options.dark)?;
                let from = self.wire.black_out(length).await?;
                (from, from + length)
            }
            Fault::Port | Fault::Address => {
                let from = self.wire.rebind(fault == Fault::Address).await?;
                (from, from)
            }
        };
        sleep(over.saturating_sub(from) + seconds(options.after)?).await;
        let until = cpu::since_boot();
        let (up, down) = (up.end().await?, down.end().await?);
        Broken::new(&up, &down, (from, over, until))
    }

    async fn end(self) -> anyhow::Result<()> {
        self.server.stop().await?;
        if let Some(broker) = self.broker {
            broker.stop().await?;
        }
        self.wire.end().await
    }
}

impl Options {
    /// The broker, if there is one, and the carriers that can be played.
    async fn broker(&self, wire: &Wire, stage: &mut Stage) -> anyhow::Result<(Option<Broker>, Vec<Carrier>)> {
        let mut carriers = self.carriers.clone();
        if !carriers.contains(&Carrier::Mqtt) {
            return Ok((None, carriers));
        }
        let order = Order {
            protocol: Protocol::Mqtt(Qos::AtLeastOnce),
            tls: true,
            scratch: stage.scratch.path(),
            listen: Wire::server_address(),
            namespace: Some(wire.near()),
        };
        match Broker::start(order).await {
            Ok(broker) => {
                stage.report.sampler.process("mosquitto", broker.id());
                Ok((Some(broker), carriers))
            }
            Err(why) if why.is::<Absent>() => {
                carriers.retain(|carrier| *carrier != Carrier::Mqtt);
                let why = format!("NOT RUN: {why:#}");
                stage.report.rows.push(json!({ "carrier": Carrier::Mqtt.text(), "not_run": why }));
                Ok((None, carriers))
            }
            Err(why) => Err(why),
        }
    }

    /// A client asks after so much silence whether the server is there.
    fn ping_after(&self) -> Duration {
        let idle = self.idle.map(|idle| Duration::from_secs(idle.into()) / 3);
        idle.unwrap_or(PING_AFTER_MAX).min(PING_AFTER_MAX)
    }

    fn tell_aims(&self, tally: &Tally, report: &mut crate::report::Report) -> anyhow::Result<()> {
        for carrier in [Carrier::Quic, Carrier::QuicStreams] {
            let Some(mut ratio) = tally.ratio(Name::Lossy, carrier, Carrier::Websocket) else { continue };
            if tally.left_out(Name::Lossy, carrier) > 0 {
                // What never came has no time, and would flatter those that did.
                ratio = f64::INFINITY;
            }
            let what = format!("p95, lossy, {} to WebSocket, TLS (median of rounds)", carrier.text());
            report.at_most(&what, ratio, P95_RATIO_MAX);
        }
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let rtt = self.flags.rtt()?;
        for fault in [Fault::Port, Fault::Address] {
            let Some(worst) = tally.worst(fault, Carrier::Quic) else { continue };
            let when = format!("QUIC, when the {} changed", fault.text());
            report.at_most(&format!("times it connected again, {when}"), worst.reconnects as f64, 0.0);
            let bound = ms(rtt * ROUND_TRIPS_MAX);
            report.at_most(&format!("ms without an ack, {when}"), worst.sender_pause_ms, bound);
            let bound = ms(self.ping_after() + rtt);
            report.at_most(&format!("ms without a delivery, {when}"), worst.listener_pause_ms, bound);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_in_turn_and_none_is_always_first() {
        assert_eq!(each(&['a', 'b'], &[0, 1], 2), [('a', 0), ('a', 1), ('b', 0), ('b', 1)]);
        assert_eq!(each(&['a', 'b'], &[0, 1], 3), [('a', 1), ('a', 0), ('b', 1), ('b', 0)]);
        assert_eq!(each::<char, u8>(&['a'], &[], 1), []);
    }
}
