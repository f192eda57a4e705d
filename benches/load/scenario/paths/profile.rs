//! The networks that are tried, and what happens on them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{relay, scenario::door::seconds};

/// A network by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    /// No delay, nothing lost.
    Clean,
    /// A link of so many megabits per second.
    Narrow,
    /// A round trip of so many milliseconds.
    Distant,
    /// The same, with packets that are lost.
    Lossy,
    /// Far away, many packets lost, and delays that change.
    Poor,
}

/// What happens once on the network of [`Name::Distant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Everything is lost for a while.
    Blackout,
    /// The clients' NAT forgets their ports and gives them others.
    Port,
    /// The same, and they have another address.
    Address,
}

/// What they are like. Each holds for both directions by itself: of a round trip, twice as much is lost.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Flags {
    /// Megabits per second of the narrow network, in each direction.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    link: u32,
    /// Milliseconds of packets that wait before it, at most.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=2000))]
    queue: u32,
    /// Milliseconds of a round trip of the distant and the lossy network.
    #[arg(long, default_value_t = 30.0)]
    rtt: f64,
    /// Percent of packets that the lossy network loses, in each direction.
    #[arg(long, default_value_t = 2.0)]
    loss: f64,
    /// Milliseconds of a round trip of the poor network, without its jitter.
    #[arg(long, default_value_t = 100.0)]
    poor_rtt: f64,
    /// Percent of packets that the poor network loses, in each direction.
    #[arg(long, default_value_t = 5.0)]
    poor_loss: f64,
    /// Milliseconds by which the poor network delays packets more, at most, in each direction; none overtakes another.
    #[arg(long, default_value_t = 20.0)]
    poor_jitter: f64,
}

impl Name {
    /// As it stands in the report.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Narrow => "narrow",
            Self::Distant => "distant",
            Self::Lossy => "lossy",
            Self::Poor => "poor",
        }
    }
}

impl Fault {
    /// As it stands in the report.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Blackout => "blackout",
            Self::Port => "port",
            Self::Address => "address",
        }
    }
}

impl Flags {
    /// What a network is like.
    pub(super) fn profile(&self, name: Name) -> anyhow::Result<relay::Profile> {
        let clean = relay::Profile {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            bits_per_second: 0,
            queue_bytes: 0,
        };
        let bits_per_second = u64::from(self.link) * 1_000_000;
        Ok(match name {
            Name::Clean => clean,
            Name::Narrow => relay::Profile {
                bits_per_second,
                queue_bytes: bits_per_second / 8 * u64::from(self.queue) / 1000,
                ..clean
            },
            Name::Distant => relay::Profile { delay: half(self.rtt)?, ..clean },
            Name::Lossy => relay::Profile { delay: half(self.rtt)?, loss: self.loss / 100.0, ..clean },
            Name::Poor => relay::Profile {
                delay: half(self.poor_rtt)?,
                jitter: seconds(self.poor_jitter / 1000.0)?,
                loss: self.poor_loss / 100.0,
                ..clean
            },
        })
    }

    /// The round trip of the network on which faults happen.
    pub(super) fn rtt(&self) -> anyhow::Result<Duration> {
        seconds(self.rtt / 1000.0)
    }
}

/// One way of a round trip in milliseconds.
fn half(rtt: f64) -> anyhow::Result<Duration> {
    seconds(rtt / 2000.0)
}
