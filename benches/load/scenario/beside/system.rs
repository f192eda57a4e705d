//! What is put beside each other, and a running one of each.

use std::{fmt, net::Ipv4Addr, path::Path};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    broker::{
        Protocol, Qos,
        server::{self, Broker},
    },
    cpu::Memory,
    part::attend::House,
    report::Report,
    scenario::door::{Bare, Server},
};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// A Quail.
    Quail,
    /// The loop over bare QUIC streams.
    Bare,
    /// nats-server.
    Nats,
    /// The same with TLS.
    NatsTls,
    /// mosquitto, QoS 0.
    Mosquitto,
    /// The same with TLS.
    MosquittoTls,
    /// mosquitto, QoS 1.
    MosquittoQos1,
    /// The same with TLS.
    MosquittoQos1Tls,
}

/// One that runs.
pub(super) enum Running {
    Quail(Box<Server>),
    Bare(Bare),
    Broker(Broker),
}

impl System {
    /// Those that are played if nothing else is said.
    pub(super) const USUAL: [Self; 6] =
        [Self::Quail, Self::Nats, Self::Mosquitto, Self::NatsTls, Self::MosquittoTls, Self::Bare];

    /// What its clients speak and whether over TLS, if it is a broker.
    fn broker(self) -> Option<(Protocol, bool)> {
        let (most, least) = (Protocol::Mqtt(Qos::AtMostOnce), Protocol::Mqtt(Qos::AtLeastOnce));
        match self {
            Self::Quail | Self::Bare => None,
            Self::Nats => Some((Protocol::Nats, false)),
            Self::NatsTls => Some((Protocol::Nats, true)),
            Self::Mosquitto => Some((most, false)),
            Self::MosquittoTls => Some((most, true)),
            Self::MosquittoQos1 => Some((least, false)),
            Self::MosquittoQos1Tls => Some((least, true)),
        }
    }

    /// Whether anybody on the way could read along.
    pub(super) fn is_encrypted(self) -> bool {
        self.broker().is_none_or(|(_, tls)| tls)
    }

    /// Whether a message may be lost without anybody having broken a promise.
    pub(super) fn may_lose(self) -> bool {
        self.broker().is_some_and(|(protocol, _)| !protocol.acknowledges())
    }

    /// Starts one with a directory of its own in `scratch`.
    pub(super) async fn start(
        self,
        scratch: &Path,
        default_limits: bool,
        report: &mut Report,
    ) -> anyhow::Result<Running> {
        let Some((protocol, tls)) = self.broker() else {
            return Ok(match self {
                Self::Bare => Running::Bare(Bare::fan(scratch).await?),
                _ => Running::Quail(Server::start(scratch, default_limits, report).await?.into()),
            });
        };
        let listen = Ipv4Addr::LOCALHOST.into();
        let order = server::Order { protocol, tls, scratch, listen, namespace: None };
        Ok(Running::Broker(Broker::start(order).await?))
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Running {
    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Quail(server) => server.id(),
            Self::Bare(bare) => bare.id(),
            Self::Broker(broker) => broker.id(),
        }
    }

    /// Where its clients go.
    pub(super) fn house(&self) -> House {
        match self {
            Self::Quail(server) => House::Quail(server.target().clone()),
            Self::Bare(bare) => House::Bare(bare.target.clone()),
            Self::Broker(broker) => House::Broker(broker.target.clone()),
        }
    }

    /// Its version and how it was set up, if it is not built from here.
    pub(super) fn broker(&self) -> Option<(&str, &str)> {
        match self {
            Self::Quail(_) | Self::Bare(_) => None,
            Self::Broker(broker) => Some((&broker.version, &broker.configuration)),
        }
    }

    /// Memory now.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.id())
    }

    /// Ends it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Quail(server) => server.stop().await,
            Self::Bare(bare) => bare.stop().await,
            Self::Broker(broker) => broker.stop().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_found_by_the_name_that_reports_have() {
        for system in System::value_variants() {
            let name = system.to_string();
            assert_eq!(System::from_str(&name, false), Ok(*system));
            assert_eq!(serde_json::to_value(system).unwrap(), name);
            let broker = name.split('-').next().filter(|first| !["quail", "bare"].contains(first));
            assert_eq!(system.is_encrypted(), name.ends_with("tls") || broker.is_none());
            assert_eq!(system.may_lose(), broker.is_some() && !name.contains("qos1"));
        }
    }
}
