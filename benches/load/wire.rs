//! A bad network for all carriers alike: two network namespaces of this machine, a TUN device in each, and a
//! [relay](crate::relay) between them.
//!
//! Everything goes with the [`Wire`]: the devices are the relay's, which is a process of its own.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context, anyhow};

use crate::{
    child::{Child, PATIENCE},
    namespace::{Namespace, run},
    part::{
        Part,
        relay::{Ask, Order},
    },
    relay::{Counts, MTU_BYTES, Profile},
};

/// Packets that the kernel keeps for the relay: more than there ever are, so that only the relay drops any.
const KERNEL_QUEUE_PACKETS: &str = "10000";

/// See the module.
pub(crate) struct Wire {
    relay: Child,
    near: Namespace,
    far: Namespace,
    outside: Ipv4Addr,
}

impl Wire {
    /// Addresses are from a block for benchmarks (RFC 2544).
    const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

    const CLIENTS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

    /// Where the server sees clients at first; they come to later ones of the same network.
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);

    const OUTSIDE_NETWORK: &str = "198.18.1.0/24";

    /// Makes one.
    pub(crate) async fn make(profile: Profile) -> anyhow::Result<Self> {
        let [near, far] = Namespace::pair()?;
        let [near_device, far_device] = ["n", "f"].map(|side| format!("ql{}{side}", std::process::id()));
        let order = Order {
            near: near_device.clone(),
            far: far_device.clone(),
            profile,
            seed: 0,
            outside: Self::OUTSIDE,
        };
        let mut relay = Child::start(Part::Relay, &order).await?;
        relay.hear::<Result<(), String>>(PATIENCE).await?.map_err(|why| anyhow!(why))?;
        for (namespace, device, own, peer) in [
            (&near, &near_device, Self::SERVER, Self::OUTSIDE_NETWORK.to_owned()),
            (&far, &far_device, Self::CLIENTS, Self::SERVER.to_string()),
        ] {
            run("ip", &["link", "set", device, "netns", namespace.name()])?;
            let (own, mtu) = (own.to_string(), MTU_BYTES.to_string());
            namespace.ip(&["address", "add", &own, "dev", device])?;
            let up = ["mtu", &mtu, "txqueuelen", KERNEL_QUEUE_PACKETS, "up"];
            namespace.ip(&[&["link", "set", device][..], &up].concat())?;
            namespace.ip(&["route", "add", &peer, "dev", device])?;
        }
        Ok(Self { relay, near, far, outside: Self::OUTSIDE })
    }

    /// Where the server listens.
    pub(crate) fn server_address() -> IpAddr {
        Self::SERVER.into()
    }

    /// The server's namespace.
    pub(crate) fn near(&self) -> &str {
        self.near.name()
    }

    /// The clients' namespace.
    pub(crate) fn far(&self) -> &str {
        self.far.name()
    }

    /// Is like this from now on.
    pub(crate) async fn shape(&mut self, profile: Profile, seed: u64) -> anyhow::Result<()> {
        self.ask(&Ask::Shape { profile, seed }).await.map(drop)
    }

    /// Loses everything from now on for so long. Returns when that began, since the machine started.
    pub(crate) async fn black_out(&mut self, length: Duration) -> anyhow::Result<Duration> {
        self.ask(&Ask::BlackOut(length)).await
    }

    /// Lets the server see clients under other ports from now on, and under another address if it is `elsewhere`. Returns
    /// when that was, since the machine started.
    pub(crate) async fn rebind(&mut self, elsewhere: bool) -> anyhow::Result<Duration> {
        if elsewhere {
            // 254 addresses for as many changes; then they begin anew.
            let [a, b, c, last] = self.outside.octets();
            self.outside = Ipv4Addr::new(a, b, c, last % 254 + 1);
        }
        self.ask(&Ask::Rebind(self.outside)).await
    }

    async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Duration> {
        self.relay.tell(ask).await?;
        self.relay.hear(PATIENCE).await.context("the relay")
    }

    /// What became of all packets so far.
    pub(crate) async fn counts(&mut self) -> anyhow::Result<Counts> {
        self.relay.tell(&Ask::Count).await?;
        self.relay.hear(PATIENCE).await
    }

    /// The relay's process id.
    pub(crate) fn relay_id(&self) -> u32 {
        self.relay.id()
    }

    /// Takes it away.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Self { relay, near, far, .. } = self;
        relay.end().await?;
        drop((near, far));
        Ok(())
    }
}
