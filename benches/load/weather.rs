//! A bad network: UDP sockets of this process that lose packets at random in both directions, or all of them for a while.
//!
//! The kernel's own (`tc netem`) is in few kernels and needs rights; QUIC cannot tell the difference.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use quail_server::carrier::quic::make_room;
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use serde::{Deserialize, Serialize};
use tokio::{net::UdpSocket, sync::watch};

/// What becomes of packets.
#[derive(Debug)]
pub(crate) struct Weather {
    /// Of all packets, 0 to 1.
    loss: f64,
    random: AtomicU64,
    passed: AtomicU64,
    lost: AtomicU64,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Packets {
    /// Those that went on, in both directions.
    pub(crate) passed: u64,
    /// Those that were lost, those of sockets that were cut off not counted.
    pub(crate) lost: u64,
}

impl Weather {
    /// One that loses this part of all packets, always the same of the same `seed`.
    pub(crate) fn new(loss: f64, seed: u64) -> Arc<Self> {
        let (passed, lost) = Default::default();
        Arc::new(Self { loss, random: seed.into(), passed, lost })
    }

    /// What became of all packets so far.
    pub(crate) fn packets(&self) -> Packets {
        Packets { passed: self.passed.load(Relaxed), lost: self.lost.load(Relaxed) }
    }

    fn lets_pass(&self) -> bool {
        let passes = uniform(self.random.fetch_add(1, Relaxed)) >= self.loss;
        if passes { &self.passed } else { &self.lost }.fetch_add(1, Relaxed);
        passes
    }
}

/// A number from 0 to 1 for each number, in no order (splitmix64).
pub(crate) fn uniform(number: u64) -> f64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether a socket is cut off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<watch::Sender<bool>>);

impl Line {
    /// Loses everything from now on, or does not any more.
    pub(crate) fn cut(&self, cut: bool) {
        self.0.send_replace(cut);
    }

    fn is_cut(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is, or is not.
    pub(crate) async fn until(self, cut: bool) {
        // It lives as long as this.
        _ = self.0.subscribe().wait_for(|is| *is == cut).await;
    }
}

/// An endpoint in this weather, at an address of this machine.
pub(crate) async fn endpoint(
    weather: Arc<Weather>,
    line: Line,
    address: Ipv4Addr,
) -> anyhow::Result<Endpoint> {
    let socket = UdpSocket::bind((address, 0)).await?;
    make_room(&socket);
    let socket = Arc::new(Socket { socket, weather, line });
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, runtime)?)
}

struct Socket {
    socket: UdpSocket,
    weather: Arc<Weather>,
    line: Line,
}

impl Socket {
    fn lets_pass(&self) -> bool {
        !self.line.is_cut() && self.weather.lets_pass()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.lets_pass() {
            // What finds no room in the kernel is lost as well.
            _ = self.socket.try_send_to(transmit.contents, transmit.destination);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            match self.socket.try_recv_from(&mut buffers[0]) {
                Ok((len, addr)) if self.lets_pass() => {
                    meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {:?}", self.socket, self.weather)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_packets_are_lost_as_were_to_be() {
        for (loss, lost) in [(0.0, 0..1), (0.01, 900..1100), (1.0, 100_000..100_001)] {
            let weather = Weather::new(loss, 7);
            let passed = (0..100_000).filter(|_| weather.lets_pass()).count() as u64;
            let packets = weather.packets();
            assert_eq!((packets.passed, packets.lost), (passed, 100_000 - passed));
            assert!(lost.contains(&packets.lost), "{loss}: {packets:?}");
        }
    }
}
