//! The network of a simulation: UDP and TCP of turmoil, and what goes wrong between a device and the server.

mod appointed;
mod tcp;

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::appointed::Appointed;
pub(crate) use self::{
    appointed::{CutAt, Direction},
    tcp::{Door, Tcp},
};

/// An end of the way between a device and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Device(usize),
    Server,
}

/// Which directions of a device's way are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// From the device to the server.
    pub(crate) up: bool,
    /// From the server to the device.
    pub(crate) down: bool,
}

/// A hash over the packets of a run and how many they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) packets: u64,
}

impl Trace {
    fn add(&mut self, words: [u64; 3]) {
        for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.packets += 1;
    }
}

/// See the module. Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<Ways>>);

struct Ways {
    rng: StdRng,
    loss: f64,
    duplicates: f64,
    /// Whose an address is.
    devices: BTreeMap<SocketAddr, usize>,
    cuts: BTreeMap<usize, Cut>,
    /// How often the TCP connections of a device were broken.
    breaks: BTreeMap<usize, u64>,
    /// The server's machine has no power.
    dark: bool,
    next_stream: u64,
    /// Who waits for a change, by stream.
    waiting: BTreeMap<u64, Waker>,
    trace: Trace,
    appointed: Option<Appointed>,
}

impl End {
    /// Which way goes what this end sends.
    fn sends(self) -> Direction {
        if self == Self::Server { Direction::Down } else { Direction::Up }
    }

    /// Which way comes what this end receives.
    fn receives(self) -> Direction {
        if self == Self::Server { Direction::Up } else { Direction::Down }
    }
}

impl Ways {
    /// The cut that is appointed for a device.
    fn appointed(&mut self, device: Option<usize>) -> Option<&mut Appointed> {
        self.appointed.as_mut().filter(|appointed| Some(appointed.device) == device)
    }

    fn device(&self, end: End, remote: SocketAddr) -> Option<usize> {
        match end {
            End::Device(device) => Some(device),
            End::Server => self.devices.get(&remote).copied(),
        }
    }

    fn cut(&self, device: usize) -> Cut {
        self.cuts.get(&device).copied().unwrap_or_default()
    }

    fn note(&mut self, end: End, device: Option<usize>, bytes: usize) {
        let now = now().as_micros() as u64;
        let way = device.map_or(u64::MAX, |device| device as u64 * 2 + u64::from(end == End::Server));
        self.trace.add([now, bytes as u64, way]);
    }

    /// How often a datagram from `end` arrives.
    fn copies(&mut self, end: End, remote: SocketAddr, bytes: usize) -> usize {
        let device = self.device(end, remote);
        self.note(end, device, bytes);
        let cut = device.map(|device| self.cut(device)).unwrap_or_default();
        let stopped = if end == End::Server { cut.down } else { cut.up || self.dark };
        let passes = self.appointed(device).is_none_or(|cut| cut.datagram(end.sends(), now()));
        if stopped || !passes || self.rng.random_bool(self.loss) {
            return 0;
        }
        if self.rng.random_bool(self.duplicates) { 2 } else { 1 }
    }
}

impl Network {
    /// A network whose luck follows from `seed`.
    pub(crate) fn new(seed: u64, loss: f64, duplicates: f64) -> Self {
        Self(Arc::new(Mutex::new(Ways {
            rng: StdRng::seed_from_u64(seed),
            loss,
            duplicates,
            devices: BTreeMap::new(),
            cuts: BTreeMap::new(),
            breaks: BTreeMap::new(),
            dark: false,
            next_stream: 0,
            waiting: BTreeMap::new(),
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, packets: 0 },
            appointed: None,
        })))
    }

    /// Appoints a cut of the first connection of a device.
    pub(crate) fn cut_at(&self, device: usize, cut: CutAt) {
        self.ways().appointed = Some(Appointed::new(device, cut));
    }

    /// Whether the appointed cut was made.
    pub(crate) fn was_cut(&self) -> bool {
        self.ways().appointed.as_ref().is_some_and(Appointed::is_done)
    }

    /// Messages of a TCP connection passed. True if the connection is cut behind them now.
    fn pass(&self, end: End, remote: SocketAddr, direction: Direction, messages: u32, arrives: bool) -> bool {
        let mut ways = self.ways();
        let device = ways.device(end, remote);
        let Some(appointed) = ways.appointed(device).filter(|cut| cut.cut.arrives == arrives) else {
            return false;
        };
        let (device, cut) = (appointed.device, appointed.pass(direction, messages, now()));
        drop(ways);
        if cut {
            self.break_connections(device);
        }
        cut
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Ways)) {
        let mut ways = self.ways();
        change(&mut ways);
        let waiting = std::mem::take(&mut ways.waiting);
        drop(ways);
        waiting.into_values().for_each(Waker::wake);
    }

    /// From now on the way of a device is cut like this.
    pub(crate) fn cut(&self, device: usize, cut: Cut) {
        self.change(|ways| {
            ways.cuts.insert(device, cut);
        });
    }

    /// Resets the TCP connections of a device.
    pub(crate) fn break_connections(&self, device: usize) {
        self.change(|ways| *ways.breaks.entry(device).or_default() += 1);
    }

    /// Whether the server's machine has power.
    pub(crate) fn set_dark(&self, dark: bool) {
        self.change(|ways| ways.dark = dark);
    }

    /// Nothing is lost or cut any more.
    pub(crate) fn heal(&self) {
        self.change(|ways| {
            ways.cuts.clear();
            (ways.loss, ways.duplicates, ways.dark) = (0.0, 0.0, false);
        });
    }

    /// What was sent so far.
    pub(crate) fn trace(&self) -> Trace {
        self.ways().trace
    }

    /// A UDP socket; port 0 is any.
    pub(crate) async fn udp(&self, end: End, port: u16) -> io::Result<Arc<Udp>> {
        let socket = turmoil::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        if let End::Device(device) = end {
            self.own(device, socket.local_addr()?);
        }
        let (network, local, readable) = (self.clone(), socket.local_addr()?, Mutex::new(None));
        Ok(Arc::new(Udp { network, end, local, socket: Mutex::new(Some(Arc::new(socket))), readable }))
    }

    /// A TCP connection of a device to the server.
    pub(crate) async fn connect(&self, device: usize, address: String) -> io::Result<Tcp> {
        let stream = self.take_number();
        // A handshake needs both ways.
        poll_fn(|cx| {
            let mut ways = self.ways();
            if ways.cut(device) == Cut::default() && !ways.dark {
                return Poll::Ready(());
            }
            ways.waiting.insert(stream, cx.waker().clone());
            Poll::Pending
        })
        .await;
        let tcp = turmoil::net::TcpStream::connect(address).await?;
        self.own(device, tcp.local_addr()?);
        Ok(Tcp::new(self.clone(), End::Device(device), stream, tcp.peer_addr()?, tcp))
    }

    /// Where the server accepts TCP connections.
    pub(crate) async fn listen(&self, port: u16) -> io::Result<Door> {
        let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        Ok(Door { network: self.clone(), listener })
    }

    fn own(&self, device: usize, local: SocketAddr) {
        // A socket that is bound to any address is known to others by that of its host.
        let ip = if local.ip().is_unspecified() { turmoil::lookup(host_of(device)) } else { local.ip() };
        self.ways().devices.insert(SocketAddr::new(ip, local.port()), device);
    }

    fn take_number(&self) -> u64 {
        let mut ways = self.ways();
        ways.next_stream += 1;
        ways.next_stream
    }
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// Half of the devices are far away.
pub(crate) fn host_of(device: usize) -> &'static str {
    if device.is_multiple_of(2) { "near" } else { "far" }
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// UDP for quinn.
pub(crate) struct Udp {
    network: Network,
    end: End,
    local: SocketAddr,
    /// `None` after its process ended.
    socket: Mutex<Option<Arc<turmoil::net::UdpSocket>>>,
    readable: Mutex<Option<Readable>>,
}

impl Udp {
    /// Its process ends; whatever still holds it reaches nobody.
    pub(crate) fn close(&self) {
        self.readable.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn socket(&self) -> Option<Arc<turmoil::net::UdpSocket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl AsyncUdpSocket for Udp {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(socket) = self.socket() else { return Ok(()) };
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            let copies = self.network.ways().copies(self.end, transmit.destination, datagram.len());
            for _ in 0..copies {
                // Whom a datagram does not reach does not matter to the sender.
                _ = socket.try_send_to(datagram, transmit.destination);
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(socket) = self.socket() else { return Poll::Pending };
        loop {
            match socket.try_recv_from(&mut buffers[0]) {
                Ok((len, addr)) => {
                    meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = readable.get_or_insert_with(|| {
                let socket = socket.clone();
                Box::pin(async move { socket.readable().await })
            });
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *readable = None;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP of {:?}", self.end)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
