//! A [relay](crate::relay) between two TUN devices.

use std::{net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use tun_rs::{AsyncDevice, DeviceBuilder};

use crate::{
    child::{Orders, say},
    cpu,
    relay::{MTU_BYTES, Profile, Relay, Side},
};

/// What to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The name of the device on the server's side.
    pub(crate) near: String,
    /// Of the one on the clients' side.
    pub(crate) far: String,
    /// What it is like at first.
    pub(crate) profile: Profile,
    /// What is lost is the same of the same seed.
    pub(crate) seed: u64,
    /// Where clients are seen at first.
    pub(crate) outside: Ipv4Addr,
}

/// What it is asked. All but the last is answered with the time since the machine started at which it was done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Be like this.
    Shape {
        /// What it is like.
        profile: Profile,
        /// What is lost is the same of the same seed.
        seed: u64,
    },
    /// Lose everything for so long.
    BlackOut(Duration),
    /// Forget the ports of clients, and show them there.
    Rebind(Ipv4Addr),
    /// Say what became of all packets so far: [`Counts`](crate::relay::Counts).
    Count,
}

/// Makes the devices and says whether it could, then relays until there is no scenario any more.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let devices = device(&order.near).and_then(|near| Ok((near, device(&order.far)?)));
    let (near, far) = match devices {
        Ok(devices) => devices,
        Err(why) => return say(&Err::<(), _>(format!("a TUN device: {why}"))),
    };
    say(&Ok::<_, String>(()))?;
    let begun = Instant::now();
    let mut relay = Relay::new(order.profile, order.seed, order.outside);
    let [mut from_near, mut from_far] = [[0; 2 * MTU_BYTES]; 2];
    loop {
        let due = relay.due();
        tokio::select! {
            len = near.recv(&mut from_near) => relay.came(Side::Near, begun.elapsed(), &from_near[..len?]),
            len = far.recv(&mut from_far) => relay.came(Side::Far, begun.elapsed(), &from_far[..len?]),
            () = sleep_until(begun + due.unwrap_or_default()), if due.is_some() => {}
            ask = orders.next() => match ask? {
                None => return Ok(()),
                Some(ask) => answer(&mut relay, begun.elapsed(), ask)?,
            },
        }
        while let Some((side, packet)) = relay.leave(begun.elapsed()) {
            match side {
                Side::Near => near.send(&packet).await?,
                Side::Far => far.send(&packet).await?,
            };
        }
    }
}

/// One that hands over packets as they would be on a wire: none is merged with others, all checksums are there.
fn device(name: &str) -> std::io::Result<AsyncDevice> {
    DeviceBuilder::new().name(name).offload(false).packet_information(false).enable(false).build_async()
}

fn answer(relay: &mut Relay, now: Duration, ask: Ask) -> anyhow::Result<()> {
    match ask {
        Ask::Shape { profile, seed } => relay.shape(profile, seed),
        Ask::BlackOut(length) => relay.black_out(now + length),
        Ask::Rebind(outside) => relay.rebind(outside),
        Ask::Count => return say(&relay.counts()),
    }
    say(&cpu::since_boot())
}
