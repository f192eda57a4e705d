//! Worlds of rooms: crowds that speak at all priorities, apps that are too slow for them, links that are cut for shorter or
//! longer than the grace, and a server that is stopped; one of the rooms keeps its messages. In two of five nothing is cut or
//! stopped, and what clients are told of drops is what the server counts, to the last one.
//!
//! `ROOM_SEEDS=500 cargo test -p quail-tests --test sim many_worlds_of_rooms -- --nocapture` tries more of them. `ROOM_SEED`
//! says which one `one_world_of_rooms` runs; with `SIM_HISTORY` that prints every record, and with `QUAIL_LOG` what server and
//! client log.

mod app;
mod bugs;
mod plan;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quail_protocol::message::BehindCause;
use quail_tests::{
    check::{
        check,
        room::{RoomViolation, check_rooms},
    },
    history::{Counted, InRoom, Record, What},
};
use tokio::task::JoinSet;

use self::{
    bugs::{Bug, Tap},
    plan::{Person, Scene},
};
use crate::{
    disk::{Disk, Lie},
    judge::read_everything,
    network::{Network, host_of},
    plan::Device,
    server::{Flaw, certificate},
    town::{Town, hash, placed},
    world::{Failure, judge, live_through, simulation},
};

/// Worlds that are tried.
const SEEDS: u64 = 16;

/// Worlds that are tried twice.
const REPEATED: u64 = 2;

/// Segments of a TCP connection that may be under way: few, so that whoever reads slowly is noticed.
const TCP_CAPACITY: usize = 8;

/// How a run went.
struct Outcome {
    history: Vec<Record>,
    violations: Vec<RoomViolation>,
    /// Whatever else is wrong.
    wrong: Vec<String>,
    fingerprint: String,
}

fn run(seed: u64, bug: Bug, flaw: Flaw) -> Outcome {
    let Scene { plan, people } = Scene::of(seed);
    let network = Network::new(seed, plan.loss, plan.duplicates);
    let disk = Disk::new(seed, plan.sync_max, Lie::None);
    let town = Arc::new(Town::new(plan, network.clone(), certificate().fingerprint));
    if let Err(error) = happen(&town, &disk, &Arc::new(people), bug, flaw) {
        town.diary().wrong.push(error.to_string());
    }
    let diary = std::mem::take(&mut *town.diary());
    let (history, mut wrong) = (diary.history, diary.wrong);
    wrong.extend(check(&history).iter().map(ToString::to_string));
    let violations = check_rooms(&history);
    let records: String = history.iter().map(|record| format!("{record:?}")).collect();
    let fingerprint = format!("{:?} {:016x}", network.trace(), hash(records.as_bytes()));
    Outcome { history, violations, wrong, fingerprint }
}

fn happen(
    town: &Arc<Town>,
    disk: &Disk,
    people: &Arc<Vec<Person>>,
    bug: Bug,
    flaw: Flaw,
) -> Result<(), Failure> {
    let latency = Duration::from_millis(2)..=town.plan.latencies[0];
    let people = people.clone();
    let living = move |town: &Arc<Town>, host: &str| {
        let mut living = JoinSet::new();
        for device in town.plan.devices.iter().filter(|device| host_of(device.number) == host) {
            let person = people[device.number].clone();
            living.spawn(app::live(town.clone(), device.clone(), person, Tap::new(bug)));
        }
        living
    };
    let sim = simulation(town.plan.seed, latency, TCP_CAPACITY);
    let mut sim = live_through(sim, town, disk, flaw, living)?;
    let mut counted = counted(town);
    if bug == Bug::Miscounts {
        counted.dropped = counted.dropped.saturating_sub(1);
    }
    town.record_at(sim.elapsed(), None, What::Counted(counted));
    judge(&mut sim, town, read(town.clone()))
}

/// What all lives of the server counted.
fn counted(town: &Town) -> Counted {
    let mut counted = Counted::default();
    for metrics in &town.diary().metrics {
        for line in metrics.render().lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let value = || value.parse::<u64>().expect("a count");
            let is_dropped = name.contains("outcome=\"dropped\"");
            if name.starts_with("quail_room_deliveries_total") {
                *if is_dropped { &mut counted.dropped } else { &mut counted.queued } += value();
            } else if name.starts_with("quail_unnumbered_total") {
                *if is_dropped { &mut counted.passed_dropped } else { &mut counted.passed } += value();
            } else if name.starts_with("quail_room_messages_total") && name.contains("RoomThrottled") {
                counted.throttled += value();
            }
        }
    }
    counted
}

/// Reads what is kept of every room, and every thread.
async fn read(town: Arc<Town>) -> Result<(), Failure> {
    let mut device: Device = town.plan.devices[0].clone();
    device.number = town.plan.terminals();
    device.name.name = "judge".into();
    let (builder, _endpoint) = town.client(&device, 2).await?;
    let (client, _events) = builder.connect().await?;
    for number in 0..3 {
        let room = client.room(format!("room{number}"))?;
        if room.join(0).await.is_err() {
            // There may be two.
            continue;
        }
        let (mut entries, mut from) = (Vec::new(), 1);
        loop {
            let page = room.history(from..).await?;
            entries.extend(page.messages.iter().map(placed));
            let Some(next) = page.next else {
                let what = InRoom::Log { head: page.head, first: page.first, entries };
                town.record(None, What::Room { room: room.id().clone(), what });
                break;
            };
            from = next.0;
        }
    }
    read_everything(town).await
}

/// What there was in all worlds together.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sends: usize,
    throttled: usize,
    received: usize,
    gaps: usize,
    missing: u64,
    dropped: u64,
    entered: usize,
    left: usize,
    lost: usize,
    behind: usize,
    restarts: usize,
    kicked: usize,
}

impl Counts {
    /// Both together.
    fn and(self, other: Self) -> Self {
        Self {
            sends: self.sends + other.sends,
            throttled: self.throttled + other.throttled,
            received: self.received + other.received,
            gaps: self.gaps + other.gaps,
            missing: self.missing + other.missing,
            dropped: self.dropped + other.dropped,
            entered: self.entered + other.entered,
            left: self.left + other.left,
            lost: self.lost + other.lost,
            behind: self.behind + other.behind,
            restarts: self.restarts + other.restarts,
            kicked: self.kicked + other.kicked,
        }
    }

    fn add(&mut self, history: &[Record]) {
        for record in history {
            match &record.what {
                What::ServerEnded => self.restarts += 1,
                What::KickedOut => self.kicked += 1,
                What::Room { what, .. } => match what {
                    InRoom::Send { .. } => self.sends += 1,
                    InRoom::Refused { code, .. } => {
                        self.throttled += usize::from(*code == quail_protocol::Code::RoomThrottled);
                    }
                    InRoom::Received { .. } => self.received += 1,
                    InRoom::Gap { count, .. } => {
                        self.gaps += 1;
                        self.missing += u64::from(*count);
                    }
                    InRoom::Dropped { count } => self.dropped += u64::from(*count),
                    InRoom::Entered { .. } => self.entered += 1,
                    InRoom::Left { .. } => self.left += 1,
                    InRoom::Behind { cause: BehindCause::NotMember, .. } => self.lost += 1,
                    InRoom::Behind { .. } => self.behind += 1,
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

impl Outcome {
    /// What is wrong, in words.
    fn complaints(&self) -> Vec<String> {
        self.wrong.iter().cloned().chain(self.violations.iter().map(ToString::to_string)).collect()
    }
}

fn complaint(seed: u64, wrong: &str) -> String {
    format!(
        "ROOM_SEED={seed} cargo test -p quail-tests --test sim one_world_of_rooms -- --nocapture\n    {wrong}"
    )
}

#[test]
fn a_world_of_rooms_repeats_itself() {
    for seed in 0..REPEATED {
        assert_eq!(
            run(seed + 1, Bug::None, Flaw::NONE).fingerprint,
            run(seed + 1, Bug::None, Flaw::NONE).fingerprint
        );
    }
}

#[test]
fn many_worlds_of_rooms() {
    let seeds = std::env::var("ROOM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let work = || {
        let (mut counts, mut failed) = (Counts::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (counts, failed);
            }
            let outcome = run(seed, Bug::None, Flaw::NONE);
            counts.add(&outcome.history);
            failed.extend(outcome.complaints().first().map(|wrong| complaint(seed, wrong)));
        }
    };
    let done = std::thread::scope(|scope| {
        [scope.spawn(work), scope.spawn(work)].map(|thread| thread.join().unwrap())
    });
    let [(one, mut failed), (other, more)] = done;
    failed.extend(more);
    let total = one.and(other);
    println!("{seeds} worlds of rooms in {:.1?}: {total:?}", started.elapsed());
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
    // Fewer worlds need not have all of it.
    if seeds >= SEEDS {
        let Counts { sends, throttled, gaps, dropped, left, lost, restarts, .. } = total;
        assert!(sends >= 10_000 && throttled >= 500 && gaps >= 100 && dropped >= 100, "too little is said");
        assert!(left >= 20 && lost >= 20 && restarts >= 3, "too little happened");
    }
}

#[test]
fn one_world_of_rooms() {
    let seed = std::env::var("ROOM_SEED").map_or(0, |seed| seed.parse().unwrap());
    if std::env::var_os("QUAIL_LOG").is_some() {
        quail_server::telemetry::log_to_stderr().unwrap();
    }
    let started = Instant::now();
    let outcome = run(seed, Bug::None, Flaw::NONE);
    let mut counts = Counts::default();
    counts.add(&outcome.history);
    println!("seed {seed} in {:.2?}: {counts:?}, {}", started.elapsed(), outcome.fingerprint);
    if std::env::var_os("SIM_HISTORY").is_some() {
        outcome.history.iter().for_each(|record| println!("{record:?}"));
    }
    let wrong = outcome.complaints();
    assert!(wrong.is_empty(), "\n{}\n{}\n", complaint(seed, ""), wrong.join("\n"));
}
