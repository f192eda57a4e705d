//! The server of a scenario, and what it says of itself.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    child::{Child, PATIENCE, Stop},
    clients::{Target, Visitor},
    cpu::{Cpu, Memory},
    metrics::Metrics,
    part::{
        Part, bare_serve,
        serve::{self, Ask, Serving},
    },
    report::Report,
};

/// A running Quail.
pub(crate) struct Server {
    child: Child,
    order: serve::Order,
    serving: Serving,
}

impl Server {
    /// Starts one with a data directory in `scratch`, and tells the report of it.
    pub(crate) async fn start(
        scratch: &Path,
        default_limits: bool,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let order = serve::Order::here(scratch.join("quail"), default_limits);
        Self::start_in(None, order, report).await
    }

    /// Starts one in a network namespace.
    pub(crate) async fn start_in(
        namespace: Option<&str>,
        order: serve::Order,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let mut child = Child::start_in(namespace, Part::Serve, &order).await?;
        let serving: Serving = child.hear(PATIENCE).await?;
        report.server = serving.config.clone();
        report.durability =
            "acks after the sync: one batch of the embedded engine, one sync per batch".to_owned();
        match namespace {
            None => report.sampler.server("server", child.id(), serving.admin),
            // Its page is behind the link.
            Some(_) => report.sampler.process("server", child.id()),
        }
        Ok(Self { child, order, serving })
    }

    /// How clients reach it.
    pub(crate) fn target(&self) -> &Target {
        &self.serving.target
    }

    /// Its TCP address, for WebSockets.
    pub(crate) fn websocket(&self) -> SocketAddr {
        self.serving.websocket_address
    }

    /// A user of it; over QUIC, or over a WebSocket, with TLS if the server was ordered so.
    pub(crate) fn visitor(&self, user: String, websocket: bool) -> Visitor {
        let Serving { target, fingerprint, websocket: url, .. } = &self.serving;
        let websocket = websocket.then(|| url.clone());
        Visitor { user, quic: target.quic, fingerprint: *fingerprint, websocket }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.id())
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.id())
    }

    /// Processor time of the committer's thread so far.
    pub(crate) fn committer_cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of_threads(self.id(), "quail-committer")
    }

    /// How large the batches were since the last time.
    pub(crate) async fn batches(&mut self) -> anyhow::Result<Vec<u32>> {
        self.child.tell(&Ask::Batches).await?;
        self.child.hear(PATIENCE).await
    }

    /// The value of one of its counters.
    pub(crate) async fn counter(&self, name: &str) -> anyhow::Result<u64> {
        self.metrics().await?.counter(name)
    }

    /// A family's values by their labels, as `a="b"`; what was never counted is not among them.
    pub(crate) async fn family(&self, name: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        self.metrics().await?.family(name)
    }

    /// The sum of those of a family's values that have this label.
    pub(crate) async fn sum(&self, family: &str, label: &str) -> anyhow::Result<u64> {
        self.metrics().await?.sum(family, label)
    }

    async fn metrics(&self) -> anyhow::Result<Metrics> {
        timeout(PATIENCE, Metrics::of(self.serving.admin)).await?
    }
    /// Ends it with a signal and waits until it is gone. Returns what starts another in its place.
    pub(crate) async fn give_way(self, how: Stop) -> anyhow::Result<serve::Order> {
        let Self { child, order, serving } = self;
        child.stop(how).await?;
        let ports =
            [serving.target.quic, serving.websocket_address, serving.admin].map(|address| address.port());
        Ok(serve::Order { ports, ..order })
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.tell(&Ask::Stop).await?;
        self.child.end().await
    }
}

/// A running bare endpoint.
pub(crate) struct Bare {
    child: Child,
    /// How clients reach it.
    pub(crate) target: Target,
}

impl Bare {
    /// Starts one with its certificate in `scratch`.
    pub(crate) async fn start(scratch: &Path) -> anyhow::Result<Self> {
        Self::start_as(Part::BareServe, scratch, 0).await
    }

    /// Starts one where another has ended.
    pub(crate) async fn start_on(scratch: &Path, port: u16) -> anyhow::Result<Self> {
        Self::start_as(Part::BareServe, scratch, port).await
    }

    /// Starts one that writes what it is told to everybody in a room.
    pub(crate) async fn fan(scratch: &Path) -> anyhow::Result<Self> {
        Self::start_as(Part::BareFan, scratch, 0).await
    }

    async fn start_as(part: Part, scratch: &Path, port: u16) -> anyhow::Result<Self> {
        let data = scratch.join("bare");
        let mut child = Child::start(part, &bare_serve::Order { data, port }).await?;
        let target = child.hear(PATIENCE).await?;
        Ok(Self { child, target })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.child.id())
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Ends it, having told everybody or at once, and waits until it is gone. Returns the port for another in its place.
    pub(crate) async fn give_way(self, how: Stop) -> anyhow::Result<u16> {
        let port = self.target.quic.port();
        match how {
            Stop::SigTerm => self.stop().await?,
            Stop::SigKill => self.child.stop(how).await?,
        }
        Ok(port)
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.tell(&Value::Null).await?;
        self.child.end().await
    }
}

/// Seconds as a flag says them.
pub(crate) fn seconds(seconds: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(seconds).context("a flag is not a time")
}
