//! What coming back to a backlog costs, in figures.

use std::time::Duration;

use serde_json::json;

use crate::{
    child::Stop,
    cpu::Cpu,
    latency::Latencies,
    ledger::Account,
    part::{chat::Chatted, regain::Regained},
    report::Report,
    rounds::Rounds,
};

/// What was written once to all readers and read by them.
pub(super) struct Regain {
    /// Of the server, while it was written and not read.
    pub(super) write: Cpu,
    /// Of the server, while it was read.
    pub(super) read: Cpu,
    /// When it began to be read, since this machine started.
    pub(super) from: Duration,
    /// What the readers of each process have.
    pub(super) all: Vec<Regained>,
    /// Sessions that went on.
    pub(super) resumed: u64,
}

/// So many messages and so long a cut, live and later.
pub(super) struct Case {
    messages: u64,
    cut_for: f64,
    /// µs of the server per message in all: written before it was read, to read as it was written.
    cpu: Rounds,
    /// µs of the server per message that was recovered, of each round.
    recovered_us: Vec<f64>,
    /// Until a reader had everything.
    complete: Latencies,
    account: Account,
    /// Clients that were told that they missed messages and could not fetch them, and messages of nobody.
    broken: u64,
    resumed: u64,
}

impl Case {
    pub(super) fn new(messages: u64, cut_for: f64) -> anyhow::Result<Self> {
        let (cpu, recovered_us, account) = Default::default();
        let (complete, broken, resumed) = (Latencies::new()?, 0, 0);
        Ok(Self { messages, cut_for, cpu, recovered_us, complete, account, broken, resumed })
    }

    /// Adds a round.
    pub(super) fn add(&mut self, live: Regain, later: Regain) -> anyhow::Result<()> {
        let from_us = later.from.as_micros() as u64;
        for complete_us in later.all.iter().flat_map(|some| &some.complete_us) {
            // Whoever got nothing since is missed by the account.
            if let Some(took_us) = complete_us.checked_sub(from_us) {
                self.complete.record(Duration::from_micros(took_us));
            }
        }
        self.resumed += later.resumed;
        let [live_us, write_us, read_us] =
            [live.read, later.write, later.read].map(|cpu| cpu.seconds() * 1e6);
        let delivered = [live, later].map(|regain| self.account(regain));
        let [live, later] = delivered;
        let (live, later) = (live? as f64, later? as f64);
        self.cpu.push((write_us + read_us) / later.max(1.0), live_us / live.max(1.0));
        self.recovered_us.push(read_us / later.max(1.0));
        Ok(())
    }

    /// Counts what became of the messages; returns how many arrived.
    fn account(&mut self, regain: Regain) -> anyhow::Result<u64> {
        let chats = regain.all.into_iter().map(|some| some.chatted).collect();
        let Chatted { account, behind, strange, .. } = Chatted::sum(chats)?;
        self.account.add(&account);
        self.broken += behind + strange;
        Ok(account.delivered)
    }
}

/// Tells the report of all cases.
pub(super) fn cases(report: &mut Report, cases: Vec<Case>, readers: u32) {
    report.count("readers", readers.into());
    let mut all = Account::default();
    for case in cases {
        let Case { messages, cut_for, cpu, recovered_us, complete, account, broken, resumed } = case;
        let name = format!("{messages} to each, cut off for {cut_for} s");
        all.add(&account);
        report.broken.extend(account.broken().into_iter().map(|what| format!("{name}: {what}")));
        if broken > 0 {
            report.broken.push(format!(
                "{name}: {broken} times clients were told what nobody wrote, or could not fetch it"
            ));
        }
        report.rows.push(json!({
            "row": name,
            "messages_to_each": messages,
            "cut_for_s": cut_for,
            "sessions_that_went_on": resumed,
            "readers_that_came_back": complete.percentiles().count,
            "ms_until_a_reader_has_everything": complete.percentiles(),
            "server_cpu_us_per_recovered_message": recovered_us,
            "account": account,
        }));
        report.rounds(&format!("{name}: server CPU µs per message, later to live"), cpu);
    }
    report.account(&all);
}

/// How long servers took from the start of the process until they listened.
#[derive(Default)]
pub(super) struct Starts {
    empty: Duration,
    full: Vec<(Stop, Duration)>,
}

impl Starts {
    /// Without anything stored.
    pub(super) fn empty(&mut self, took: Duration) {
        self.empty = took;
    }

    /// After the one before was ended so.
    pub(super) fn full(&mut self, how: Stop, took: Duration) {
        self.full.push((how, took));
    }

    /// Tells the report.
    pub(super) fn tell(&self, report: &mut Report, stored: u64, conversations: u32) {
        report.count("messages stored when the server was started again", stored);
        report.count("conversations of them", conversations.into());
        report.figure("s until an empty server listens", self.empty.as_secs_f64());
        for (how, took) in &self.full {
            report.figure(&format!("s until the full one listens after {how:?}"), took.as_secs_f64());
        }
    }
}
