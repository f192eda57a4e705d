//! Readers come back to what was written to them while they were cut off; control: the same, read as it is written.

mod tell;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use self::tell::{Case, Regain, Starts};
use super::{
    Scenario, Stage,
    door::{Server, seconds},
    storm::Carrier,
};
use crate::{
    child::{Child, PATIENCE, Stop},
    clients::Crowd,
    cpu::{self, Cpu},
    flags::Shared,
    part::{
        Part,
        cling::Way,
        regain::{Ask, Order, Regained},
        serve,
    },
};

/// Flags of the scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    shared: Shared,
    /// Readers; as many write, each to one of them.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    readers: u32,
    /// Messages to each reader, in turn.
    #[arg(long, default_values_t = [10, 100, 1000], value_delimiter = ',')]
    messages: Vec<u64>,
    /// Seconds for which readers are cut off, in turn; longer if it takes longer to write. A client notices after 20, and
    /// the server keeps its session for 30 from when it last heard of it.
    #[arg(long, default_values_t = [24.0, 45.0], value_delimiter = ',')]
    cut_for: Vec<f64>,
    /// Seconds of silence after which the server takes a client for lost, if not as many as by default.
    #[arg(long)]
    idle: Option<u32>,
    /// Seconds for which the server keeps a session without a connection, if not as many as by default.
    #[arg(long)]
    grace: Option<u32>,
    /// What clients come over.
    #[arg(long, default_value = "quic")]
    carrier: Carrier,
    /// Bytes of a text.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    bytes: u32,
    /// Seconds in which all should have everything.
    #[arg(long, default_value_t = 120.0)]
    patience: f64,
    /// Rounds, each of what is read as it is written and what is read later.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// How the full server ends before it is started again, in turn.
const STOPS: [Stop; 2] = [Stop::SigTerm, Stop::SigKill];

impl Scenario for Options {
    const NAME: &'static str = "recovery";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let order = serve::Order {
            idle: self.idle,
            grace: self.grace,
            ..serve::Order::here(stage.scratch.path().join("quail"), self.shared.default_limits)
        };
        let mut starts = Starts::default();
        let begun = Instant::now();
        let server = Server::start_in(None, order, &mut stage.report).await?;
        starts.empty(begun.elapsed());
        let mut children = self.connect(&server).await?;
        let mut cases = vec![];
        for &messages in &self.messages {
            for &cut_for in &self.cut_for {
                let mut case = Case::new(messages, cut_for)?;
                for round in 1..=self.rounds {
                    stage
                        .progress
                        .say(&format!("round {round}: {messages} to each, cut off for {cut_for} s"));
                    let live = self.live(&server, &mut children, messages).await?;
                    let later = self.later(&server, &mut children, messages, cut_for).await?;
                    case.add(live, later)?;
                }
                cases.push(case);
            }
        }
        for child in children {
            child.end().await?;
        }
        tell::cases(&mut stage.report, cases, self.readers);
        let stored = server.counter("quail_messages_total").await?;
        let mut server = server;
        for how in STOPS {
            let order = server.give_way(how).await?;
            let begun = Instant::now();
            server = Server::start_in(None, order, &mut stage.report).await?;
            starts.full(how, begun.elapsed());
        }
        server.stop().await?;
        starts.tell(&mut stage.report, stored, self.readers);
        Ok(())
    }
}

impl Options {
    async fn connect(&self, server: &Server) -> anyhow::Result<Vec<Child>> {
        let Shared { processes, per_socket, .. } = self.shared;
        let way = match self.carrier {
            Carrier::Quic => Way::Quic,
            Carrier::WebSocket => Way::WebSocket(server.websocket()),
        };
        let mut children = vec![];
        for crowd in Crowd::split(server.target(), 2 * self.readers, processes, per_socket) {
            let half = crowd.users / 2;
            let readers = Crowd { users: half, ..crowd.clone() };
            // Addresses go by numbers, and those of the others must not be cut off.
            let writers = Crowd { first: crowd.first + half, users: half, ..crowd };
            let order = Order { readers, writers, way, bytes: self.bytes };
            children.push(Child::start(Part::Regain, &order).await?);
        }
        for child in &mut children {
            child.hear::<u32>(10 * PATIENCE).await?;
        }
        Ok(children)
    }

    /// Everything is read as it is written.
    async fn live(&self, server: &Server, children: &mut [Child], messages: u64) -> anyhow::Result<Regain> {
        let before = server.cpu()?;
        let begun = cpu::since_boot();
        self.write(children, messages).await?;
        let all = self.settle(children).await?;
        let cpu = server.cpu()?.since(before);
        Ok(Regain { write: Cpu::default(), read: cpu, from: begun, all, resumed: 0 })
    }

    /// Everything is written while the readers are cut off.
    async fn later(
        &self,
        server: &Server,
        children: &mut [Child],
        messages: u64,
        cut_for: f64,
    ) -> anyhow::Result<Regain> {
        let resumed = server.counter("quail_sessions_resumed_total").await?;
        tell_all(children, Ask::Cut(true)).await?;
        let until = Instant::now() + seconds(cut_for)?;
        let before = server.cpu()?;
        self.write(children, messages).await?;
        sleep_until(until).await;
        // What it costs to send to those who are not there is part of it.
        let write = server.cpu()?.since(before);
        let (before, from) = (server.cpu()?, cpu::since_boot());
        tell_all(children, Ask::Cut(false)).await?;
        let all = self.settle(children).await?;
        let read = server.cpu()?.since(before);
        let resumed = server.counter("quail_sessions_resumed_total").await? - resumed;
        Ok(Regain { write, read, from, all, resumed })
    }

    async fn write(&self, children: &mut [Child], messages: u64) -> anyhow::Result<()> {
        tell_all(children, Ask::Write(messages)).await?;
        for child in children {
            child.hear::<()>(10 * PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits until all have everything.
    async fn settle(&self, children: &mut [Child]) -> anyhow::Result<Vec<Regained>> {
        let patience = seconds(self.patience)?;
        tell_all(children, Ask::Settle(patience.as_millis() as u64)).await?;
        let mut all = vec![];
        for child in children {
            all.push(child.hear(patience + PATIENCE).await?);
        }
        Ok(all)
    }
}

async fn tell_all(children: &mut [Child], ask: Ask) -> anyhow::Result<()> {
    for child in children {
        child.tell(&ask).await?;
    }
    Ok(())
}
