//! What a seed stands for: who there is, how bad the network is, and what goes wrong when.

use std::{num::NonZeroU64, time::Duration};

use quail_protocol::{Priority, id::UserId};
use quail_server::apps::Rooms;
use quail_tests::{Carrier, history};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::network::Cut;

/// Messages that the devices send together.
const SENDS: usize = 300;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) devices: Vec<Device>,
    /// How much of the datagrams is lost, and how much arrives twice.
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// The longest way of a packet from near and from far devices.
    pub(crate) latencies: [Duration; 2],
    pub(crate) sync_max: Duration,
    /// After so long a silence a connection is given up.
    pub(crate) idle_timeout: Duration,
    pub(crate) call_timeout: Duration,
    /// How long a session without a connection is kept.
    pub(crate) grace: Duration,
    /// So many entries of a thread are kept, if not all.
    pub(crate) entries_max: Option<NonZeroU64>,
    /// So many events may wait for a reader: few, or as many as usual.
    pub(crate) lane_items: Option<usize>,
    /// What rooms may have.
    pub(crate) rooms: Rooms,
    /// A user has one session, the newest, and watchers.
    pub(crate) one_session: bool,
    pub(crate) watchers: Vec<Watcher>,
    /// When everything is healed.
    pub(crate) length: Duration,
    /// In the order of time.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

/// A device and what its app does.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) name: history::Device,
    pub(crate) carrier: Carrier,
    /// When its app is opened.
    pub(crate) opens: Duration,
    /// In the order of time.
    pub(crate) sends: Vec<Sending>,
    /// When it marks what it received, in the order of time.
    pub(crate) marks: Vec<Duration>,
}

/// A terminal that speaks the wire itself: it comes and goes, and asks with cursors of its own.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) number: usize,
    pub(crate) name: history::Device,
    /// When it comes for the first time.
    pub(crate) opens: Duration,
    /// The longest that it stays, and that it is away.
    pub(crate) stays: Duration,
    pub(crate) is_away: Duration,
    /// It looks for what is new while it stays.
    pub(crate) keen: bool,
}

/// A message that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) at: Duration,
    pub(crate) to: UserId,
    pub(crate) priority: Priority,
    pub(crate) body: String,
}

/// Something that happens to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server is told to stop and starts again after a while.
    Stop(Duration),
    /// The server's machine loses its power.
    PowerLoss,
    /// The server's machine starts, perhaps with what its disk held some time ago.
    PowerBack { older: bool },
    /// The way of a device is cut, or whole again.
    Cut(usize, Cut),
    /// TCP connections of a device are reset, and QUIC goes on from another address.
    Break(usize),
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let length = Duration::from_secs(rng.random_range(40..=120));
        let users: Vec<_> = (0..rng.random_range(2..=8)).map(user).collect();
        let mut devices = Vec::new();
        for user in &users {
            for name in ["phone", "desk"].into_iter().take(rng.random_range(1..=2)) {
                let name = history::Device { user: user.clone(), name: name.to_owned() };
                let carrier = *Carrier::ALL.choose(&mut rng).expect("there are carriers");
                let (number, opens) = (devices.len(), Duration::ZERO);
                devices.push(Device { number, name, carrier, opens, sends: vec![], marks: vec![] });
            }
        }
        let one_session = rng.random_bool(0.15);
        if one_session {
            for device in devices.iter_mut().filter(|device| device.name.name == "desk") {
                device.opens =
                    Duration::from_millis(rng.random_range(5000..length.as_millis() as u64 - 10_000));
            }
        }
        for number in 0..SENDS {
            let device = rng.random_range(0..devices.len());
            let device = &mut devices[device];
            let others: Vec<_> = users.iter().filter(|user| **user != device.name.user).collect();
            let to = (*others.choose(&mut rng).expect("there are two users")).clone();
            let priority = *Priority::ALL.choose(&mut rng).expect("there are priorities");
            let at = Duration::from_millis(rng.random_range(500..length.as_millis() as u64 - 2000));
            let filling = "x".repeat(if rng.random_bool(0.1) { rng.random_range(0..6000) } else { 12 });
            let body = format!("{seed}/{number} {filling}");
            device.sends.push(Sending { at, to, priority, body });
        }
        for device in &mut devices {
            device.sends.sort_by_key(|sending| sending.at);
            let end = length.as_millis() as u64;
            let marks = (0..rng.random_range(0..=8)).map(|_| rng.random_range(1000..end));
            device.marks = marks.map(Duration::from_millis).collect();
            device.marks.sort();
        }
        let watchers = watchers(&mut rng, &users, devices.len(), length);
        let losses = [0.0, 0.0, 0.01, 0.03, 0.06, 0.1];
        let milliseconds = |ms: u64| Duration::from_millis(ms);
        let latencies = [rng.random_range(10..60), rng.random_range(20..200)].map(milliseconds);
        let faults = faults(&mut rng, devices.len() + watchers.len(), length);
        Self {
            seed,
            devices,
            loss: *losses.choose(&mut rng).expect("there are losses"),
            duplicates: if rng.random_bool(0.3) { 0.02 } else { 0.0 },
            latencies,
            sync_max: milliseconds(rng.random_range(1..=20)),
            idle_timeout: milliseconds(rng.random_range(6000..=15_000)),
            call_timeout: milliseconds(rng.random_range(3000..=15_000)),
            grace: Duration::from_secs(if rng.random_bool(0.3) { 2 } else { 30 }),
            entries_max: rng.random_bool(0.5).then(|| rng.random_range(20..=60)).and_then(NonZeroU64::new),
            lane_items: rng.random_bool(0.25).then(|| rng.random_range(1..=3)),
            rooms: Rooms::default(),
            one_session,
            watchers,
            length,
            faults,
        }
    }
}

impl Plan {
    /// Everybody who has a way to the server.
    pub(crate) fn terminals(&self) -> usize {
        self.devices.len() + self.watchers.len()
    }
}

/// One that comes and goes often, and one that is away for long.
fn watchers(rng: &mut StdRng, users: &[UserId], devices: usize, length: Duration) -> Vec<Watcher> {
    let seconds = Duration::from_secs;
    let half = length.as_secs() / 2;
    let watcher = |(number, keen): (usize, bool)| Watcher {
        number: devices + number,
        name: history::Device {
            user: users.choose(rng).expect("there are users").clone(),
            name: if keen { "keen" } else { "lazy" }.to_owned(),
        },
        opens: seconds(if keen { 0 } else { rng.random_range(1..half) }),
        stays: seconds(if keen { rng.random_range(3..12) } else { 3 }),
        is_away: seconds(if keen { rng.random_range(1..6) } else { rng.random_range(15..50) }),
        keen,
    };
    [true, false].into_iter().enumerate().map(watcher).collect()
}

pub(crate) fn user(number: usize) -> UserId {
    UserId::new(format!("user{number}")).expect("a user id")
}

fn faults(rng: &mut StdRng, devices: usize, length: Duration) -> Vec<(Duration, Fault)> {
    let end = length.as_millis() as u64;
    let milliseconds = Duration::from_millis;
    let mut faults = Vec::new();
    // Restarts one after the other; cuts and breaks whenever they come.
    let mut at = rng.random_range(5000..20_000);
    let mut may_restore = rng.random_bool(0.2);
    while at + 6000 < end {
        let down = rng.random_range(100..5000);
        if rng.random_bool(0.4) {
            faults.push((milliseconds(at), Fault::Stop(milliseconds(down))));
        } else {
            let older = may_restore && rng.random_bool(0.5);
            may_restore &= !older;
            faults.push((milliseconds(at), Fault::PowerLoss));
            faults.push((milliseconds(at + down), Fault::PowerBack { older }));
        }
        at += down + rng.random_range(5000..30_000);
    }
    for _ in 0..rng.random_range(0..=8) {
        let at = rng.random_range(1000..end);
        let until = (at + rng.random_range(200..15_000)).min(end);
        let cut = match rng.random_range(0..3) {
            0 => Cut { up: true, down: false },
            1 => Cut { up: false, down: true },
            _ => Cut { up: true, down: true },
        };
        let all = rng.random_bool(0.2);
        let one = rng.random_range(0..devices);
        for device in (0..devices).filter(|device| all || *device == one) {
            faults.push((milliseconds(at), Fault::Cut(device, cut)));
            faults.push((milliseconds(until), Fault::Cut(device, Cut::default())));
        }
    }
    for _ in 0..rng.random_range(0..=6) {
        let at = milliseconds(rng.random_range(1000..end));
        faults.push((at, Fault::Break(rng.random_range(0..devices))));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
