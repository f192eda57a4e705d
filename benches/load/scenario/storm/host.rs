//! What is lost and comes back: a Quail or a bare endpoint.

use std::{collections::BTreeMap, path::PathBuf};

use super::super::door::{Bare, Server};
use crate::{
    child::Stop,
    clients::Target,
    cpu::{Cpu, Memory},
    report::Report,
};

/// See the module.
pub(super) enum Host {
    /// A Quail.
    Quail(Box<Server>),
    /// A bare endpoint and the directory of its files.
    Bare(Box<Bare>, PathBuf),
}

impl Host {
    /// Ends it and starts another in its place.
    pub(super) async fn restart(self, how: Stop, report: &mut Report, name: &str) -> anyhow::Result<Self> {
        let host = match self {
            Self::Quail(server) => {
                let order = server.give_way(how).await?;
                Self::Quail(Box::new(Server::start_in(None, order, report).await?))
            }
            Self::Bare(bare, scratch) => {
                let port = bare.give_way(how).await?;
                Self::Bare(Box::new(Bare::start_on(&scratch, port).await?), scratch)
            }
        };
        host.watch(report, name);
        Ok(host)
    }

    /// What it has over time is in the report under this name.
    pub(super) fn watch(&self, report: &Report, name: &str) {
        report.sampler.process(name, self.id());
    }

    /// How clients reach it.
    pub(super) fn target(&self) -> &Target {
        match self {
            Self::Quail(server) => server.target(),
            Self::Bare(bare, _) => &bare.target,
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Quail(server) => server.id(),
            Self::Bare(bare, _) => bare.id(),
        }
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.id())
    }

    /// Memory now.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.id())
    }

    /// What it counted since it started: connections it turned away and those that ended, by reason, and clients that had to
    /// prove their address first. Nothing of a bare endpoint.
    pub(super) async fn counters(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let Self::Quail(server) = self else { return Ok(BTreeMap::new()) };
        let mut all = BTreeMap::new();
        for (name, family) in
            [("refused", "quail_connections_refused_total"), ("ended", "quail_closes_total")]
        {
            let values = server.family(family).await?;
            all.extend(values.into_iter().map(|(labels, count)| (format!("{name} {labels}"), count)));
        }
        all.insert(
            "asked to prove their address".into(),
            server.counter("quail_addresses_asked_total").await?,
        );
        all.insert("sessions resumed".into(), server.counter("quail_sessions_resumed_total").await?);
        Ok(all)
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Quail(server) => server.stop().await,
            Self::Bare(bare, _) => bare.stop().await,
        }
    }
}
