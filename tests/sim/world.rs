//! One run of a world: the server, its disk, the devices and what happens to them, all in one thread and one time.

use std::{
    collections::BTreeSet,
    fmt,
    ops::RangeInclusive,
    sync::{Arc, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use quail_tests::{
    check::{Violation, check},
    history::{Answer, Record, What},
};
use tokio::task::JoinSet;

use crate::{
    disk::Disk,
    judge::read_everything,
    network::{Network, Trace, host_of},
    plan::{Fault, Plan},
    server::{Flaw, Stop, certificate, serve},
    town::{Town, hash},
    watcher::watch,
    workload::live,
};

/// Why a run came to nothing.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// How a run went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) history: Vec<Record>,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
    /// Why the run is no good, if it came to nothing.
    pub(crate) wrong: Vec<String>,
    /// The promises that its history shows broken.
    pub(crate) violations: Vec<Violation>,
}

/// What there was in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sends: usize,
    pub(crate) restarts: usize,
    pub(crate) cuts: usize,
    pub(crate) logins: usize,
    /// Logins that went on with a session.
    pub(crate) resumes: usize,
    /// Answers to cursors: nothing missed, replay, trimmed, another epoch, no member.
    pub(crate) answers: [usize; 5],
    pub(crate) marks: usize,
    pub(crate) kicks: usize,
    /// Simulated time.
    pub(crate) time: Duration,
}

impl Counts {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            sends: self.sends + other.sends,
            restarts: self.restarts + other.restarts,
            cuts: self.cuts + other.cuts,
            logins: self.logins + other.logins,
            resumes: self.resumes + other.resumes,
            answers: std::array::from_fn(|answer| self.answers[answer] + other.answers[answer]),
            marks: self.marks + other.marks,
            kicks: self.kicks + other.kicks,
            time: self.time + other.time,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sends, restarts, cuts, logins, resumes, marks, kicks, .. } = self;
        let [caught_up, replay, trimmed, epoch, not_member] = self.answers;
        write!(f, "{sends} sends, {marks} marks, {restarts} restarts, {cuts} faults of the network, ")?;
        write!(
            f,
            "{logins} logins, {resumes} resumes, {kicks} sessions that gave way, {caught_up} CaughtUp, "
        )?;
        write!(f, "{replay} Replay, {trimmed} Trimmed, {epoch} EpochChanged, {not_member} NotMember, ")?;
        write!(f, "{} s simulated", self.time.as_secs())
    }
}

/// The longest that it may take from the end of all faults until every device has everything.
const CALM_WITHIN: Duration = Duration::from_secs(60);

/// When nothing happened for so long, nothing will: a device that did not notice yet that it lost its server has asked.
const CALM: Duration = Duration::from_secs(8);

/// One step of the network.
const TICK: Duration = Duration::from_millis(5);

/// Runs the world of a seed, whose server has a flaw.
pub(crate) fn run(seed: u64, flaw: Flaw) -> Outcome {
    let plan = Plan::of(seed);
    let network = Network::new(seed, plan.loss, plan.duplicates);
    let disk = Disk::new(seed, plan.sync_max, flaw.lie);
    let town = Arc::new(Town::new(plan, network.clone(), certificate().fingerprint));
    if let Err(error) = happen(&town, &disk, flaw) {
        town.diary().wrong.push(error.to_string());
    }
    let diary = std::mem::take(&mut *town.diary());
    let (history, wrong) = (diary.history, diary.wrong);
    let violations = check(&history);
    let counts = count(&history);
    Outcome { history, trace: network.trace(), counts, wrong, violations }
}

impl Outcome {
    /// Stands for all that happened: packets and records.
    pub(crate) fn fingerprint(&self) -> String {
        let records: String = self.history.iter().map(|record| format!("{record:?}")).collect();
        format!("{:?} {} records {:016x}", self.trace, self.history.len(), hash(records.as_bytes()))
    }

    /// What is wrong, in words.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.wrong.iter().cloned().chain(self.violations.iter().map(ToString::to_string)).collect()
    }
}

fn count(history: &[Record]) -> Counts {
    let mut counts =
        Counts { time: history.last().map_or(Duration::ZERO, |last| last.at), ..Counts::default() };
    let mut ids = BTreeSet::new();
    for record in history {
        match &record.what {
            What::Send { id, .. } => counts.sends += usize::from(ids.insert(*id)),
            What::ServerEnded => counts.restarts += 1,
            What::Fault(_) => counts.cuts += 1,
            What::LoggedIn { resumed, .. } => {
                counts.logins += 1;
                counts.resumes += usize::from(*resumed);
            }
            What::Resumed { answer, .. } => {
                let answer = match answer {
                    Answer::CaughtUp => 0,
                    Answer::Replay => 1,
                    Answer::Trimmed => 2,
                    Answer::EpochChanged => 3,
                    Answer::NotMember => 4,
                };
                counts.answers[answer] += 1;
            }
            What::Marked { .. } => counts.marks += 1,
            What::KickedOut => counts.kicks += 1,
            _ => {}
        }
    }
    counts
}

/// Segments of a TCP connection that may be under way, and more connections than anyone has.
pub(crate) const TCP_CAPACITY: usize = 4096;

/// An empty world whose packets are under way for some time of `latency`.
pub(crate) fn simulation(
    seed: u64,
    latency: RangeInclusive<Duration>,
    tcp_capacity: usize,
) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(*latency.start())
        .max_message_latency(*latency.end())
        .udp_capacity(4096)
        .tcp_capacity(tcp_capacity)
        .tick_duration(TICK)
        .build()
}

fn happen(town: &Arc<Town>, disk: &Disk, flaw: Flaw) -> Result<(), Failure> {
    let people = |town: &Arc<Town>, host: &str| {
        let mut living = JoinSet::new();
        for device in town.plan.devices.iter().filter(|device| host_of(device.number) == host) {
            living.spawn(live(town.clone(), device.clone()));
        }
        for watcher in town.plan.watchers.iter().filter(|watcher| host_of(watcher.number) == host) {
            living.spawn(watch(town.clone(), watcher.clone()));
        }
        living
    };
    let sim = simulation(town.plan.seed, Duration::from_millis(2)..=town.plan.latencies[0], TCP_CAPACITY);
    let mut sim = live_through(sim, town, disk, flaw, people)?;
    judge(&mut sim, town, read_everything(town.clone()))
}

/// Lives through all that a plan has in store, until everything is calm. Who there is on a host is up to `people`.
pub(crate) fn live_through<'a>(
    mut sim: turmoil::Sim<'a>,
    town: &Arc<Town>,
    disk: &Disk,
    flaw: Flaw,
    people: impl Fn(&Arc<Town>, &str) -> JoinSet<()> + Clone + 'static,
) -> Result<turmoil::Sim<'a>, Failure> {
    let Plan { latencies, length, .. } = town.plan;
    let stop: Stop = Arc::default();
    let lives = Arc::new(AtomicU64::new(0));
    sim.host("server", {
        let (town, disk, stop) = (town.clone(), disk.clone(), stop.clone());
        move || serve(town.clone(), disk.clone(), flaw, stop.clone(), lives.clone())
    });
    for host in ["near", "far"] {
        let (town, people) = (town.clone(), people.clone());
        sim.client(host, async move {
            let mut living = people(&town, host);
            while let Some(ended) = living.join_next().await {
                ended?;
            }
            std::future::pending().await
        });
    }
    sim.set_link_max_message_latency("server", "far", latencies[1]);

    let mut faults = town.plan.faults.iter().peekable();
    while sim.elapsed() < length {
        while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= sim.elapsed()) {
            strike(&mut sim, town, disk, &stop, *fault);
        }
        sim.step()?;
    }
    for (_, fault) in faults {
        // Whoever is down gets up again.
        if matches!(fault, Fault::PowerBack { .. }) {
            strike(&mut sim, town, disk, &stop, *fault);
        }
    }
    town.network.heal();
    let calm = sim.elapsed() + CALM_WITHIN;
    // Who stops takes leave of everyone first.
    while !town.diary().serving {
        sim.step()?;
        if sim.elapsed() > calm {
            return Err("the server does not come back".into());
        }
    }
    town.record_at(sim.elapsed(), None, What::Healed);
    settle(&mut sim, town)?;
    Ok(sim)
}

/// Has everything read from the server; the last that is written down is a `Complete`.
pub(crate) fn judge(
    sim: &mut turmoil::Sim<'_>,
    town: &Town,
    reading: impl Future<Output = Result<(), Failure>> + 'static,
) -> Result<(), Failure> {
    sim.client("judge", reading);
    let done = sim.elapsed() + CALM_WITHIN;
    while !matches!(town.diary().history.last(), Some(Record { what: What::Complete { .. }, .. })) {
        sim.step()?;
        if sim.elapsed() > done {
            return Err("the logs cannot be read".into());
        }
    }
    Ok(())
}

/// Waits until every device has everything.
fn settle(sim: &mut turmoil::Sim<'_>, town: &Town) -> Result<(), Failure> {
    let deadline = sim.elapsed() + CALM_WITHIN;
    let (mut records, mut since) = (0, sim.elapsed());
    loop {
        sim.step()?;
        let diary = town.diary();
        let ready = diary.answered.iter().chain(&diary.connected).all(|ready| *ready);
        if diary.history.len() > records || !ready {
            (records, since) = (diary.history.len(), sim.elapsed());
        }
        if ready && sim.elapsed() - since > CALM {
            return Ok(());
        }
        if sim.elapsed() > deadline {
            let (answered, connected) = (&diary.answered, &diary.connected);
            return Err(format!("no calm: all answered {answered:?}, connected {connected:?}").into());
        }
    }
}

fn strike(sim: &mut turmoil::Sim<'_>, town: &Town, disk: &Disk, stop: &Stop, fault: Fault) {
    let record = |what| town.record_at(sim.elapsed(), None, what);
    match fault {
        Fault::Stop(down) => {
            let stop = stop.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(stop) = stop {
                town.diary().serving = false;
                // One that failed meanwhile fails the run.
                _ = stop.send(down);
            }
        }
        Fault::PowerLoss => {
            town.diary().serving = false;
            record(What::ServerEnded);
            // Nothing that the machine would have said at its end gets out.
            town.network.set_dark(true);
            for host in ["near", "far"] {
                sim.partition("server", host);
            }
            sim.crash("server");
            for host in ["near", "far"] {
                sim.repair("server", host);
            }
            disk.lose_power();
        }
        Fault::PowerBack { older } => {
            if older {
                disk.restore_older();
            }
            town.network.set_dark(false);
            sim.bounce("server");
        }
        Fault::Cut(device, cut) => {
            town.network.cut(device, cut);
            record(What::Fault(format!("{cut:?} of {device}")));
        }
        Fault::Break(device) => {
            town.network.break_connections(device);
            if let Some(moves) = &town.diary().moves[device] {
                // A device that is gone moves no more.
                _ = moves.send(());
            }
            record(What::Fault(format!("break of {device}")));
        }
    }
}
