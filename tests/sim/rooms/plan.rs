//! What a seed stands for in a world of rooms: who is in which room when, who says what there, and whose app is slow.

use std::time::Duration;

use bytesize::ByteSize;
use quail_protocol::{Priority, id::RoomId};
use quail_server::apps::{Budget, Rooms};
use quail_tests::{Carrier, history};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    network::Cut,
    plan::{Device, Fault, Plan, Sending, user},
};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) plan: Plan,
    /// By the number of their device.
    pub(super) people: Vec<Person>,
}

/// What the app on a device does in rooms.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    /// So long it takes over each event, as long as the world is not healed. Whoever takes longer than the server's
    /// `write_timeout` over what one write holds is closed, and not only told of gaps.
    pub(super) slow: Option<Duration>,
    /// In the order of time for each room.
    pub(super) stays: Vec<Stay>,
    /// In the order of time.
    pub(super) says: Vec<Saying>,
    /// In the order of time.
    pub(super) orders: Vec<Order>,
}

#[derive(Clone, Debug)]
pub(super) struct Stay {
    pub(super) room: RoomId,
    pub(super) from: Duration,
    /// Until the end of the world if `None`.
    pub(super) until: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(super) struct Saying {
    pub(super) at: Duration,
    pub(super) room: RoomId,
    pub(super) priority: Priority,
    pub(super) text: String,
    /// Whether it gets a number.
    pub(super) numbered: bool,
}

/// What the owner of a room does.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) at: Duration,
    pub(super) room: RoomId,
    /// To which device's user.
    pub(super) to: usize,
    pub(super) what: Ordered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    Kick,
    Mute,
    Unmute,
}

fn milliseconds(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Scene {
    /// The scene of a seed. In two of five nothing is cut or stopped.
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0072_006f_006f_006d);
        let calm = seed % 5 < 2;
        // A slow reader has to be too slow for a minute.
        let length = Duration::from_secs(if calm { 66 } else { rng.random_range(35..=50) });
        let rooms: Vec<_> = (0..rng.random_range(2..=3))
            .map(|number| RoomId::new(format!("room{number}")).expect("a room id"))
            .collect();
        let one_session = !calm && rng.random_bool(0.25);
        let devices = devices(&mut rng, length, one_session);
        let mut people: Vec<_> = devices.iter().map(|_| Person::default()).collect();
        for (number, person) in people.iter_mut().enumerate() {
            // The first is in every room first, and makes it.
            person.slow = (number > 0 && (number == 1 || rng.random_bool(0.25)))
                .then(|| milliseconds(rng.random_range(60..=110)));
            person.stays =
                stays(&mut rng, &rooms, number, person.slow.is_some(), length, devices[number].opens);
        }
        let end = length.as_millis() as u64 - 1500;
        let mut number = 0;
        let mut at = 1500;
        while at < end {
            // Now and then many speak at once.
            let crowd = if rng.random_bool(0.06) { rng.random_range(6..=16) } else { 1 };
            let one = rng.random_range(0..people.len());
            for _ in 0..crowd {
                let who = if people[one].slow.is_some() { 0 } else { one };
                number += 1;
                let saying = saying(&mut rng, &rooms, milliseconds(at), format!("{seed}/{number}"));
                people[who].says.push(saying);
            }
            at += rng.random_range(10..=110);
        }
        let members = people.len();
        people[0].orders = orders(&mut rng, &rooms, members, end);
        let faults = if calm { Vec::new() } else { faults(&mut rng, members, length) };
        let losses = [0.0, 0.0, 0.01, 0.03, 0.05];
        let plan = Plan {
            seed,
            devices,
            loss: *losses.choose(&mut rng).expect("there are losses"),
            duplicates: if rng.random_bool(0.3) { 0.02 } else { 0.0 },
            latencies: [rng.random_range(10..40), rng.random_range(20..120)].map(milliseconds),
            sync_max: milliseconds(rng.random_range(1..=20)),
            idle_timeout: milliseconds(rng.random_range(10_000..=15_000)),
            call_timeout: milliseconds(rng.random_range(8000..=15_000)),
            grace: Duration::from_secs(rng.random_range(4..=12)),
            entries_max: None,
            // A lane notes drops without a number of so many rooms as it has items; who drops some of more is closed.
            lane_items: Some(rng.random_range(2..=16).max(rooms.len())),
            rooms: kept(&mut rng),
            one_session,
            watchers: vec![],
            length,
            faults,
        };
        Self { plan, people }
    }
}

fn devices(rng: &mut StdRng, length: Duration, one_session: bool) -> Vec<Device> {
    let mut devices = Vec::new();
    let users: Vec<_> = (0..rng.random_range(3..=4)).map(user).collect();
    for (number, user) in users.iter().enumerate() {
        // Whoever has the rooms has one device: its session is not to give way.
        let second = number > 1 && (one_session || rng.random_bool(0.2));
        for name in ["phone", "desk"].into_iter().take(1 + usize::from(second)) {
            let late = one_session && name == "desk";
            let opens = if late { length / 2 } else { Duration::ZERO };
            let name = history::Device { user: user.clone(), name: name.to_owned() };
            let carrier = *Carrier::ALL.choose(rng).expect("there are carriers");
            let number = devices.len();
            devices.push(Device { number, name, carrier, opens, sends: vec![], marks: vec![] });
        }
    }
    // Chat goes on beside all that, to the slow ones too.
    let end = length.as_millis() as u64 - 1500;
    for number in 0..40 {
        let device = rng.random_range(0..devices.len());
        let device = &mut devices[device];
        let others: Vec<_> = users.iter().filter(|user| **user != device.name.user).collect();
        let to = if number % 2 == 0 && device.name.user != users[1] { &users[1] } else { others[0] };
        let priority = *Priority::ALL.choose(rng).expect("there are priorities");
        let at = milliseconds(rng.random_range(1000..end)).max(device.opens);
        device.sends.push(Sending { at, to: to.clone(), priority, body: format!("chat {number}") });
    }
    devices.iter_mut().for_each(|device| device.sends.sort_by_key(|sending| sending.at));
    devices
}

/// The slow ones are where the most is said and stay there; others come and go.
fn stays(
    rng: &mut StdRng,
    rooms: &[RoomId],
    number: usize,
    slow: bool,
    length: Duration,
    opens: Duration,
) -> Vec<Stay> {
    let mut stays = Vec::new();
    let end = length.as_millis() as u64;
    for (at, room) in rooms.iter().enumerate() {
        let from = if number == 0 { 0 } else { rng.random_range(1000..3000) };
        let mut from = milliseconds(from) + opens;
        if number > 0 && !slow && rng.random_bool(0.5) {
            for _ in 0..rng.random_range(1..=3) {
                let begin = from.as_millis() as u64;
                if begin + 6000 > end {
                    break;
                }
                let until = milliseconds(rng.random_range(begin + 2000..end - 2000));
                stays.push(Stay { room: room.clone(), from, until: Some(until) });
                from = until + milliseconds(rng.random_range(1..4000));
            }
        }
        if number == 0 || at == 0 || rng.random_bool(0.6) {
            stays.push(Stay { room: room.clone(), from, until: None });
        }
    }
    stays
}

fn saying(rng: &mut StdRng, rooms: &[RoomId], at: Duration, name: String) -> Saying {
    // The first room is the busiest.
    let room = if rng.random_bool(0.6) { &rooms[0] } else { rooms.choose(rng).expect("there are rooms") };
    let filling = "x".repeat(if rng.random_bool(0.5) { rng.random_range(2000..7000) } else { 20 });
    let priority = *Priority::ALL.choose(rng).expect("there are priorities");
    let numbered = rng.random_bool(0.9);
    let filling = if numbered { &filling[..] } else { &filling[..20] };
    Saying { at, room: room.clone(), priority, text: format!("{room} {name} {filling}"), numbered }
}

fn orders(rng: &mut StdRng, rooms: &[RoomId], members: usize, end: u64) -> Vec<Order> {
    let mut orders = Vec::new();
    for _ in 0..rng.random_range(0..=3) {
        let room = rooms.choose(rng).expect("there are rooms").clone();
        let to = rng.random_range(1..members);
        let at = rng.random_range(5000..end);
        let order = |at, what| Order { at: milliseconds(at), room: room.clone(), to, what };
        if rng.random_bool(0.5) {
            orders.push(order(at, Ordered::Kick));
        } else {
            orders.push(order(at, Ordered::Mute));
            orders.push(order(at + rng.random_range(2000..10_000), Ordered::Unmute));
        }
    }
    orders.sort_by_key(|order| order.at);
    orders
}

/// Some rooms keep little, and pass on little.
fn kept(rng: &mut StdRng) -> Rooms {
    let mut rooms = Rooms { ring_size: ByteSize::mib(16), ring_entries: 4000, ..Rooms::default() };
    if rng.random_bool(0.4) {
        rooms.ring_entries = rng.random_range(10..60);
    }
    if rng.random_bool(0.6) {
        let high = rng.random_range(6..=12);
        let Budget { window, .. } = rooms.budget;
        rooms.budget = Budget { window, high, normal: high / 2, low: high / 3, lowest: high / 4 };
    }
    rooms
}

fn faults(rng: &mut StdRng, devices: usize, length: Duration) -> Vec<(Duration, Fault)> {
    let end = length.as_millis() as u64;
    let mut faults = Vec::new();
    for _ in 0..rng.random_range(0..=2) {
        let (at, down) = (rng.random_range(6000..end - 6000), rng.random_range(100..3000));
        if rng.random_bool(0.5) {
            faults.push((milliseconds(at), Fault::Stop(milliseconds(down))));
            // One thing after the other.
            break;
        }
        let back = (milliseconds(at + down), Fault::PowerBack { older: false });
        let loss = (milliseconds(at), Fault::PowerLoss);
        let clear = faults.iter().all(|(other, _): &(Duration, Fault)| {
            *other + Duration::from_secs(8) < loss.0 || loss.0 + Duration::from_secs(8) < *other
        });
        if clear {
            faults.extend([loss, back]);
        }
    }
    for _ in 0..rng.random_range(1..=6) {
        let at = rng.random_range(3000..end - 1000);
        // Some outlast the grace.
        let lasts = if rng.random_bool(0.5) { 200..4000 } else { 8000..25_000 };
        let until = (at + rng.random_range(lasts)).min(end);
        let cut = match rng.random_range(0..4) {
            0 => Cut { up: true, down: false },
            1 => Cut { up: false, down: true },
            _ => Cut { up: true, down: true },
        };
        let device = rng.random_range(0..devices);
        faults.push((milliseconds(at), Fault::Cut(device, cut)));
        faults.push((milliseconds(until), Fault::Cut(device, Cut::default())));
    }
    for _ in 0..rng.random_range(0..=3) {
        let at = milliseconds(rng.random_range(3000..end));
        faults.push((at, Fault::Break(rng.random_range(0..devices))));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
