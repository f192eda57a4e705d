//! What processes had over time: looked at while a scenario runs, whatever it does.
//!
//! A server is looked at from its start without a word of the scenario. A look reads two files of the kernel for each
//! process and the page of a server, so one a second costs nothing that could be measured.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::{
    cpu::{Cpu, Memory},
    metrics::Metrics,
    progress::Progress,
    series::{self, AllSeries, Latest},
};

/// Looks at processes and counters of a scenario; all clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Sampler(Arc<Mutex<Looking>>);

/// What is looked at, and what was seen.
#[derive(Debug)]
struct Looking {
    began: Instant,
    processes: Vec<Process>,
    counts: Vec<(String, Count, Meter)>,
    series: AllSeries,
    /// What the last look saw.
    latest: Vec<Latest>,
}

/// A process that is looked at.
#[derive(Debug)]
struct Process {
    name: String,
    id: u32,
    cpu: Meter,
    /// Where the page of a server is, and what it counted.
    page: Option<(SocketAddr, [Meter; 2])>,
}

/// Makes rates of a number that grows.
#[derive(Clone, Copy, Debug, Default)]
struct Meter(Option<(f64, f64)>);

impl Meter {
    /// What it grew by per second since the last time; nothing the first time.
    fn rate(&mut self, seconds: f64, value: f64) -> Option<f64> {
        let (before, had) = self.0.replace((seconds, value))?;
        (seconds > before).then(|| (value - had) / (seconds - before))
    }

    /// The same of a number that comes in steps: not before the next, or a second has passed.
    fn rate_of_steps(&mut self, seconds: f64, value: f64) -> Option<f64> {
        let waits = self.0.is_some_and(|(before, had)| value == had && seconds < before + 1.0);
        if waits { None } else { self.rate(seconds, value) }
    }
}

/// A number that a scenario counts itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    /// There were so many more.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

/// What a server counted, for the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    /// Messages that were placed or passed on.
    messages: u64,
    /// Those put into the outbox of somebody.
    deliveries: u64,
    /// Sessions now.
    sessions: u64,
}

impl Counted {
    fn read(page: &Metrics) -> anyhow::Result<Self> {
        let taken = ["outcome=\"placed\"", "outcome=\"lowered\""];
        let [placed, lowered] = taken.map(|label| page.sum("quail_room_messages_total", label));
        let queued = ["quail_room_deliveries_total", "quail_unnumbered_total"];
        let [in_rooms, unnumbered] = queued.map(|family| page.sum(family, "outcome=\"queued\""));
        Ok(Self {
            messages: page.counter("quail_messages_total")? + placed? + lowered?,
            deliveries: page.counter("quail_deliveries_total")? + in_rooms? + unnumbered?,
            sessions: page.counter("quail_sessions")?,
        })
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampler {
    /// Looks at nothing yet.
    pub(crate) fn new() -> Self {
        let (processes, counts, series, latest) = Default::default();
        Self(Arc::new(Mutex::new(Looking { began: Instant::now(), processes, counts, series, latest })))
    }

    fn looking(&self) -> MutexGuard<'_, Looking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at CPU and memory of this process from now on, until it ends. One that is looked at already gets another
    /// name; a name of another that still runs gets a number behind it.
    pub(crate) fn process(&self, name: &str, id: u32) {
        self.looking().watch(name, id, None);
    }

    /// The same of a server whose page is there; what it counted is looked at as well.
    pub(crate) fn server(&self, name: &str, id: u32, admin: SocketAddr) {
        self.looking().watch(name, id, Some(admin));
    }

    /// A number whose rate is looked at as long as the scenario keeps it, as `clients: deliveries`.
    pub(crate) fn count(&self, name: &str) -> Count {
        let count = Count::default();
        self.looking().counts.push((name.to_owned(), count.clone(), Meter::default()));
        count
    }

    /// Looks as often as is said, and half as often whenever there are too many points; shows what it saw.
    pub(crate) async fn run(&self, mut every: Duration, progress: &Progress) -> Infallible {
        loop {
            let mut often = interval_at((Instant::now() + every).into(), every);
            often.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                often.tick().await;
                self.look(every).await;
                progress.show(self.looking().latest.clone());
                if series::thin(&mut self.looking().series) {
                    break;
                }
            }
            every *= 2;
        }
    }

    async fn look(&self, patience: Duration) {
        let pages = self.looking().look();
        for (id, admin) in pages {
            // Of a server that has no time for it nothing is known for a while.
            if let Ok(Ok(page)) = timeout(patience, Metrics::of(admin)).await
                && let Ok(counted) = Counted::read(&page)
            {
                self.looking().counted(id, counted);
            }
        }
    }

    /// What was seen so far.
    pub(crate) fn series(&self) -> AllSeries {
        self.looking().series.clone()
    }
}

impl Looking {
    fn watch(&mut self, name: &str, id: u32, admin: Option<SocketAddr>) {
        self.processes.retain(|process| process.id == id || process.runs());
        let taken = |name: &str| self.processes.iter().any(|other| other.name == name && other.id != id);
        let numbered = (2..).map(|number| format!("{name} {number}"));
        let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name));
        let name = free.unwrap_or_default();
        match self.processes.iter_mut().find(|process| process.id == id) {
            Some(known) => known.name = name,
            None => {
                let page = admin.map(|admin| (admin, Default::default()));
                self.processes.push(Process { name, id, cpu: Meter::default(), page });
            }
        }
    }

    /// Looks at what the kernel and the scenario say; returns the servers whose pages are to be read.
    fn look(&mut self) -> Vec<(u32, SocketAddr)> {
        self.latest.clear();
        let mut processes = std::mem::take(&mut self.processes);
        processes.retain_mut(|process| self.look_at(process).is_ok());
        let pages = processes.iter().filter_map(|process| Some((process.id, process.page?.0))).collect();
        self.processes = processes;
        let mut counts = std::mem::take(&mut self.counts);
        counts.retain_mut(|(name, count, meter)| {
            // Nobody else has it any more: this is the last time.
            let counts_on = Arc::strong_count(&count.0) > 1;
            let rate = meter.rate_of_steps(self.seconds(), count.0.load(Relaxed) as f64);
            self.push(name, "1/s", rate);
            counts_on
        });
        self.counts = counts;
        pages
    }

    /// An error if it has ended.
    fn look_at(&mut self, process: &mut Process) -> anyhow::Result<()> {
        let Process { name, id, cpu, .. } = process;
        let (spent, memory) = (Cpu::of(*id)?, Memory::of(*id)?);
        let cores = cpu.rate(self.seconds(), spent.seconds());
        self.push(&format!("{name}: CPU"), "cores", cores);
        let mib = memory.resident as f64 / f64::from(1 << 20);
        self.push(&format!("{name}: memory"), "MiB", Some(mib));
        Ok(())
    }

    /// What the page of this server says.
    fn counted(&mut self, id: u32, counted: Counted) {
        let seconds = self.seconds();
        let Counted { messages, deliveries, sessions } = counted;
        // It may have ended meanwhile.
        let Some(process) = self.processes.iter_mut().find(|process| process.id == id) else { return };
        let Process { name, page: Some((_, meters)), .. } = process else { return };
        let name = name.clone();
        let [placed, queued] = meters;
        let rates = [placed.rate(seconds, messages as f64), queued.rate(seconds, deliveries as f64)];
        for (what, rate) in ["messages", "deliveries"].into_iter().zip(rates) {
            self.push(&format!("{name}: {what}"), "1/s", rate);
        }
        self.push(&format!("{name}: sessions"), "sessions", Some(sessions as f64));
    }

    fn push(&mut self, name: &str, unit: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        let seconds = self.seconds();
        if !self.series.contains_key(name) {
            let unit = unit.to_owned();
            self.series.insert(name.to_owned(), series::Series { unit, points: vec![] });
        }
        if let Some(series) = self.series.get_mut(name) {
            series.points.push((seconds, value));
        }
        let (who, what) = series::who_and_what(name);
        let [who, what, unit] = [who, what, unit].map(str::to_owned);
        self.latest.push(Latest { who, what, unit, value });
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

impl Process {
    fn runs(&self) -> bool {
        // A process that ended and was not asked for its end yet has no memory.
        Memory::of(self.id).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_looks_at_different_times() {
        let mut meter = Meter::default();
        for (seconds, value, rate) in
            [(1.0, 10.0, None), (2.0, 30.0, Some(20.0)), (2.0, 31.0, None), (4.0, 31.0, Some(0.0))]
        {
            assert_eq!(meter.rate(seconds, value), rate, "{seconds}");
        }
    }

    #[test]
    fn a_number_that_comes_in_steps_is_waited_for() {
        let mut meter = Meter::default();
        for (seconds, value, rate) in [
            (1.0, 10.0, None),
            (1.5, 10.0, None),
            (1.75, 25.0, Some(20.0)),
            (2.5, 25.0, None),
            (2.75, 25.0, Some(0.0)),
        ] {
            assert_eq!(meter.rate_of_steps(seconds, value), rate, "{seconds}");
        }
    }

    #[test]
    fn a_process_has_one_name_and_a_name_one_process_at_a_time() {
        let (sampler, this) = (Sampler::new(), std::process::id());
        let names =
            || -> Vec<_> { sampler.looking().processes.iter().map(|process| process.name.clone()).collect() };
        sampler.process("server", this);
        sampler.process("deep queue", this);
        assert_eq!(names(), ["deep queue"]);
        // Whoever started this still runs.
        sampler.process("deep queue", std::os::unix::process::parent_id());
        assert_eq!(names(), ["deep queue", "deep queue 2"]);
        assert_eq!(sampler.looking().look(), []);
        let series = sampler.series();
        assert!(series["deep queue: memory"].points[0].1 > 0.0);
        assert_eq!(series["deep queue 2: memory"].unit, "MiB");
    }

    #[test]
    fn who_ended_is_looked_at_no_more() {
        let sampler = Sampler::new();
        // No process has the highest number.
        sampler.process("server", u32::MAX);
        sampler.looking().look();
        assert!(sampler.looking().processes.is_empty() && sampler.series().is_empty());
    }

    #[test]
    fn what_a_scenario_counts_becomes_a_rate() {
        let sampler = Sampler::new();
        let count = sampler.count("clients: deliveries");
        sampler.looking().look();
        count.add(7);
        sampler.looking().look();
        let series = sampler.series();
        let series = &series["clients: deliveries"];
        assert_eq!((series.unit.as_str(), series.points.len()), ("1/s", 1));
        assert!(series.points[0].1 > 0.0);
        drop(count);
        sampler.looking().look();
        assert!(sampler.looking().counts.is_empty(), "nobody counts it any more");
    }

    #[test]
    fn a_page_is_summed_over_rooms_and_users() {
        let page = Metrics::from_text(
            "quail_messages_total 1\nquail_deliveries_total 2\nquail_sessions 3\n\
             quail_room_messages_total{priority=\"High\",outcome=\"placed\"} 10\n\
             quail_room_messages_total{priority=\"High\",outcome=\"lowered\"} 20\n\
             quail_room_messages_total{priority=\"High\",outcome=\"RateLimited\"} 40\n\
             quail_room_deliveries_total{priority=\"High\",outcome=\"queued\"} 100\n\
             quail_room_deliveries_total{priority=\"High\",outcome=\"dropped\"} 200\n\
             quail_unnumbered_total{outcome=\"queued\"} 400\n",
        );
        let counted = Counted { messages: 31, deliveries: 502, sessions: 3 };
        assert_eq!(Counted::read(&page).unwrap(), counted);
        assert!(Counted::read(&Metrics::from_text("")).is_err());
    }
}
