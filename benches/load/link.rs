//! A slow link: two network namespaces of this machine and a shaped pair of interfaces between them.
//!
//! Both go with the [`Link`]; those of a run that was killed are removed by the next one.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Bytes that pass at once after a pause.
const BURST_BYTES: u32 = 15_000;

/// What namespaces of ours are called; behind it stand the process that made them and their side.
const PREFIX: &str = "quail-load-";

/// Names of interfaces are short and, each in a namespace of its own, need not differ between runs.
const INTERFACE: &str = "quail0";

/// A network namespace, removed with this.
struct Namespace(String);

impl Namespace {
    fn make(side: &str) -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}-{side}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self(name);
        run("ip", &["-n", &namespace.0, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Gives its end of the pair an address and shapes what leaves by it.
    fn shape(&self, address: Ipv4Addr, megabits: u32, queue_ms: u32) -> anyhow::Result<()> {
        run("ip", &["-n", &self.0, "address", "add", &format!("{address}/30"), "dev", INTERFACE])?;
        run("ip", &["-n", &self.0, "link", "set", INTERFACE, "up"])?;
        let (rate, burst) = (format!("{megabits}mbit"), BURST_BYTES.to_string());
        let queue = format!("{queue_ms}ms");
        let shaped = ["root", "tbf", "rate", &rate, "burst", &burst, "latency", &queue];
        run("tc", &[&["-n", &self.0, "qdisc", "add", "dev", INTERFACE][..], &shaped].concat()).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run("ip", &["netns", "delete", &self.0]) {
            eprintln!("a network namespace is left: {error:#}");
        }
    }
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
        remove_orphans()?;
        let link = Self { near: Namespace::make("near")?, far: Namespace::make("far")? };
        let Self { near, far } = &link;
        let pair = ["name", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns", &far.0];
        run("ip", &[&["-n", &near.0, "link", "add"][..], &pair].concat())?;
        near.shape(Self::SERVER, megabits, queue_ms)?;
        far.shape(Self::RECEIVER, megabits, queue_ms)?;
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
        &self.near.0
    }

    /// The receiver's namespace.
    pub(crate) fn far(&self) -> &str {
        &self.far.0
    }

    /// Asks the queue from near to far.
    pub(crate) fn counters(&self) -> anyhow::Result<Counters> {
        let text = run("tc", &["-n", &self.near.0, "-s", "-j", "qdisc", "show", "dev", INTERFACE])?;
        let at = Instant::now();
        let all: Vec<Said> = serde_json::from_str(&text).with_context(|| format!("tc said {text:?}"))?;
        let Said { bytes, drops, backlog } = all.into_iter().next().context("tc knows no queue")?;
        Ok(Counters { at, bytes, drops, backlog })
    }
}

/// Removes namespaces whose maker is gone.
fn remove_orphans() -> anyhow::Result<()> {
    for line in run("ip", &["netns", "list"])?.lines() {
        let name = line.split_ascii_whitespace().next().unwrap_or_default();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            drop(Namespace(name.to_owned()));
        }
    }
    Ok(())
}

/// What a program printed.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), why.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
