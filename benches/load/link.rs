//! A slow link: two network namespaces of this machine and a shaped pair of interfaces between them.
//!
//! Both go with the [`Link`].

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use anyhow::Context;
use serde::Deserialize;

use crate::namespace::{Namespace, run};

/// Bytes that pass at once after a pause.
const BURST_BYTES: u32 = 15_000;

/// Names of interfaces are short and, each in a namespace of its own, need not differ between runs.
const INTERFACE: &str = "quail0";

/// Gives an end of the pair an address and shapes what leaves by it.
fn shape(end: &Namespace, address: Ipv4Addr, megabits: u32, queue_ms: u32) -> anyhow::Result<()> {
    end.ip(&["address", "add", &format!("{address}/30"), "dev", INTERFACE])?;
    end.ip(&["link", "set", INTERFACE, "up"])?;
    let (rate, burst) = (format!("{megabits}mbit"), BURST_BYTES.to_string());
    let queue = format!("{queue_ms}ms");
    let shaped = ["root", "tbf", "rate", &rate, "burst", &burst, "latency", &queue];
    run("tc", &[&["-n", end.name(), "qdisc", "add", "dev", INTERFACE][..], &shaped].concat()).map(drop)
}

/// The link; what leaves `near` for `far` goes through its queue.
pub(crate) struct Link {
    near: Namespace,
    far: Namespace,
}

/// What the link's queue counted so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// When.
    pub(crate) at: Instant,
    /// Bytes that left it, headers of all layers included.
    pub(crate) bytes: u64,
    /// Packets that found no room.
    pub(crate) drops: u64,
    /// Bytes that wait in it now.
    pub(crate) backlog: u64,
}

/// The same as `tc` says it.
#[derive(Deserialize)]
struct Said {
    bytes: u64,
    drops: u64,
    backlog: u64,
}

impl Link {
    /// Makes one of `megabits` per second in each direction, with queues that hold what takes `queue_ms` to send.
    pub(crate) fn make(megabits: u32, queue_ms: u32) -> anyhow::Result<Self> {
        let [near, far] = Namespace::pair()?;
        let pair = ["name", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns", far.name()];
        near.ip(&[&["link", "add"][..], &pair].concat())?;
        shape(&near, Self::SERVER, megabits, queue_ms)?;
        shape(&far, Self::RECEIVER, megabits, queue_ms)?;
        let link = Self { near, far };
        Ok(link)
    }

    /// The address in `near`, from a block for benchmarks (RFC 2544).
    const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

    const RECEIVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

    /// Where the server listens.
    pub(crate) fn server_address() -> IpAddr {
        Self::SERVER.into()
    }

    /// The server's namespace.
    pub(crate) fn near(&self) -> &str {
        self.near.name()
    }

    /// The receiver's namespace.
    pub(crate) fn far(&self) -> &str {
        self.far.name()
    }

    /// Asks the queue from near to far.
    pub(crate) fn counters(&self) -> anyhow::Result<Counters> {
        let text = run("tc", &["-n", self.near.name(), "-s", "-j", "qdisc", "show", "dev", INTERFACE])?;
        let at = Instant::now();
        let all: Vec<Said> = serde_json::from_str(&text).with_context(|| format!("tc said {text:?}"))?;
        let Said { bytes, drops, backlog } = all.into_iter().next().context("tc knows no queue")?;
        Ok(Counters { at, bytes, drops, backlog })
    }
}
