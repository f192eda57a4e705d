//! What the rounds found out.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    Carrier, judge,
    profile::{Fault, Name},
};
use crate::{
    latency::Latencies,
    ledger::Account,
    part::{publish::Published, subscribe::Subscribed},
    relay::Counts,
    report::Report,
    rounds::{Rounds, median},
};

/// What became of messages and connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    account: Account,
    left_out: u64,
    reconnects: u64,
    /// Why messages were not taken, and how many.
    failed: BTreeMap<String, u64>,
}

/// One round of one carrier on one network.
pub(super) struct Pass {
    latencies: Latencies,
    outcome: Outcome,
    /// Packets that were sent, and those that did not arrive.
    packets: (u64, u64),
}

/// One round of one carrier while something happens.
pub(super) struct Broken {
    /// The longest time without an ack to the one who sends, and when none was missing any more.
    sender: [Duration; 2],
    /// The longest time without a message to the one who listens, and when none was missing any more.
    listener: [Duration; 2],
    sending: Outcome,
    listening: Outcome,
}

/// The worst of all rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Worst {
    pub(super) reconnects: u64,
    pub(super) sender_pause_ms: f64,
    pub(super) listener_pause_ms: f64,
}

impl Outcome {
    fn new(published: &Published, subscribed: &Subscribed) -> anyhow::Result<Self> {
        Ok(Self {
            account: judge::account(published, subscribed)?,
            left_out: subscribed.left_out,
            reconnects: (published.lost.len() + subscribed.lost.len()) as u64,
            failed: published.failed.clone(),
        })
    }

    fn add(&mut self, other: &Self) {
        self.account.add(&other.account);
        self.left_out += other.left_out;
        self.reconnects += other.reconnects;
        for (why, count) in &other.failed {
            *self.failed.entry(why.clone()).or_default() += count;
        }
    }

    /// What breaks a promise of the carrier.
    fn broken(&self, carrier: Carrier) -> Vec<String> {
        let mut account = self.account;
        if carrier == Carrier::Mqtt {
            // QoS 1 is at least once, and what comes once more comes behind later ones.
            (account.duplicates, account.misordered) = (0, 0);
        }
        // What the client was told of is not lost.
        account.lost = account.lost.saturating_sub(self.left_out);
        let failed = self.failed.iter().map(|(why, count)| format!("{count} were not taken: {why}"));
        account.broken().into_iter().chain(failed).collect()
    }

    fn row(&self) -> Value {
        json!({
            "sent": self.account.sent,
            "delivered": self.account.delivered,
            "lost": self.account.lost,
            "left_out_and_told": self.left_out,
            "duplicated": self.account.duplicates,
            "out_of_order": self.account.misordered,
            "not_taken": self.failed,
        })
    }
}

impl Pass {
    /// By what both ends saw, of the messages of a stretch of time, and what was counted before and after.
    pub(super) fn new(
        published: &Published,
        subscribed: &Subscribed,
        (from, until): (Duration, Duration),
        (before, after): (Counts, Counts),
    ) -> anyhow::Result<Self> {
        let all = |counts: Counts| {
            [counts.up, counts.down].iter().fold((0, 0), |(sent, missing), fates| {
                let gone = fates.lost + fates.crowded_out + fates.blacked_out;
                (sent + fates.passed + gone, missing + gone)
            })
        };
        let ((sent_before, gone_before), (sent, gone)) = (all(before), all(after));
        Ok(Self {
            latencies: judge::latencies(&subscribed.arrivals, from, until)?,
            outcome: Outcome::new(published, subscribed)?,
            packets: (sent - sent_before, gone - gone_before),
        })
    }
}

impl Broken {
    /// By what both ends of both saw: from when, until when it lasted, and until when was looked.
    pub(super) fn new(
        up: &(Published, Subscribed),
        down: &(Published, Subscribed),
        (from, over, until): (Duration, Duration, Duration),
    ) -> anyhow::Result<Self> {
        let (acks, arrivals) = (&up.0.acknowledged, &down.1.arrivals);
        let times = |seen: &[_]| [judge::pause(seen, from, until), judge::recovery(seen, over)];
        Ok(Self {
            sender: times(acks),
            listener: times(arrivals),
            sending: Outcome::new(&up.0, &up.1)?,
            listening: Outcome::new(&down.0, &down.1)?,
        })
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Tally {
    calm: BTreeMap<(&'static str, Carrier), Vec<Pass>>,
    broken: BTreeMap<(&'static str, Carrier), Vec<Broken>>,
}

impl Tally {
    /// Adds a round.
    pub(super) fn calm(&mut self, name: Name, carrier: Carrier, pass: Pass) {
        self.calm.entry((name.text(), carrier)).or_default().push(pass);
    }

    /// Adds a round.
    pub(super) fn broken(&mut self, fault: Fault, carrier: Carrier, broken: Broken) {
        self.broken.entry((fault.text(), carrier)).or_default().push(broken);
    }

    fn p95s(&self, name: &'static str, carrier: Carrier) -> Vec<f64> {
        let passes = self.calm.get(&(name, carrier)).into_iter().flatten();
        passes.map(|pass| pass.latencies.percentiles().p95).collect()
    }

    fn rounds(&self, name: &'static str, carrier: Carrier, control: Carrier) -> Option<Rounds> {
        let mut rounds = Rounds::default();
        let (measured, control) = (self.p95s(name, carrier), self.p95s(name, control));
        measured.into_iter().zip(control).for_each(|(measured, control)| rounds.push(measured, control));
        (!rounds.measured.is_empty()).then_some(rounds)
    }

    /// Messages that a carrier left out and told of.
    pub(super) fn left_out(&self, name: Name, carrier: Carrier) -> u64 {
        let passes = self.calm.get(&(name.text(), carrier)).into_iter().flatten();
        passes.map(|pass| pass.outcome.left_out).sum()
    }

    /// The median of the rounds' ratios of the 95th percentiles; `None` if it was not played.
    pub(super) fn ratio(&self, name: Name, carrier: Carrier, control: Carrier) -> Option<f64> {
        self.rounds(name.text(), carrier, control).map(|rounds| rounds.ratio())
    }

    /// The worst of the rounds in which something happened; `None` if it was not played.
    pub(super) fn worst(&self, fault: Fault, carrier: Carrier) -> Option<Worst> {
        let rounds = self.broken.get(&(fault.text(), carrier))?;
        Some(rounds.iter().fold(Worst::default(), |worst, round| Worst {
            reconnects: worst.reconnects + round.sending.reconnects + round.listening.reconnects,
            sender_pause_ms: worst.sender_pause_ms.max(ms(round.sender[0])),
            listener_pause_ms: worst.listener_pause_ms.max(ms(round.listener[0])),
        }))
    }

    /// Fills the report: a row for each network and carrier.
    pub(super) fn tell(&self, report: &mut Report) -> anyhow::Result<()> {
        for ((name, carrier), passes) in &self.calm {
            let (mut all, mut outcome, mut packets) = (Latencies::new()?, Outcome::default(), (0, 0));
            for pass in passes {
                all.merge(&pass.latencies);
                outcome.add(&pass.outcome);
                packets = (packets.0 + pass.packets.0, packets.1 + pass.packets.1);
            }
            let percentiles = all.percentiles();
            let p95s = self.p95s(name, *carrier);
            let row = json!({
                "network": name,
                "carrier": carrier.text(),
                "samples": percentiles.count,
                "p50_ms": percentiles.p50,
                "p95_ms": percentiles.p95,
                "p99_ms": percentiles.p99,
                "max_ms": percentiles.max,
                "p95_ms_of_rounds": p95s,
                "p95_ms_median": median(p95s.clone()),
                "packets": packets.0,
                "packets_gone_percent": rounded(packets.1 as f64 * 100.0 / packets.0.max(1) as f64),
                "reconnects": outcome.reconnects,
            });
            report.rows.push(merged(row, outcome.row()));
            let place = format!("{name}, {}", carrier.text());
            report.histogram(&place, &all);
            tell_broken(report, *carrier, &place, &outcome);
        }
        for ((fault, carrier), rounds) in &self.broken {
            let mut outcome = Outcome::default();
            for round in rounds {
                outcome.add(&round.sending);
                outcome.add(&round.listening);
            }
            let of = |what: fn(&Broken) -> Duration| -> Vec<f64> {
                rounds.iter().map(what).map(|time| rounded(ms(time))).collect()
            };
            let counts = |what: fn(&Broken) -> u64| -> Vec<u64> { rounds.iter().map(what).collect() };
            let row = json!({
                "fault": fault,
                "carrier": carrier.text(),
                "sender_pause_ms_of_rounds": of(|round| round.sender[0]),
                "sender_recovered_after_ms_of_rounds": of(|round| round.sender[1]),
                "listener_pause_ms_of_rounds": of(|round| round.listener[0]),
                "listener_recovered_after_ms_of_rounds": of(|round| round.listener[1]),
                "sender_reconnects_of_rounds": counts(|round| round.sending.reconnects),
                "listener_reconnects_of_rounds": counts(|round| round.listening.reconnects),
            });
            report.rows.push(merged(row, outcome.row()));
            tell_broken(report, *carrier, &format!("{fault}, {}", carrier.text()), &outcome);
        }
        let names: Vec<&'static str> = self.calm.keys().map(|(name, _)| *name).collect();
        let pairs = [
            (Carrier::QuicStreams, Carrier::Quic),
            (Carrier::Quic, Carrier::Websocket),
            (Carrier::QuicStreams, Carrier::Websocket),
            (Carrier::Quic, Carrier::Mqtt),
            (Carrier::QuicStreams, Carrier::Mqtt),
        ];
        for (name, (carrier, control)) in names.into_iter().flat_map(|name| pairs.map(|pair| (name, pair))) {
            if let Some(rounds) = self.rounds(name, carrier, control) {
                report.rounds(&format!("p95, {name}, {} to {}", carrier.text(), control.text()), rounds);
            }
        }
        Ok(())
    }
}

fn tell_broken(report: &mut Report, carrier: Carrier, place: &str, outcome: &Outcome) {
    report.broken.extend(outcome.broken(carrier).iter().map(|what| format!("{place}: {what}")));
}

/// What the relay says of all packets.
pub(super) fn tell_packets(report: &mut Report, counts: Counts) {
    let Counts { up, down, strange, unmapped, largest_bytes } = counts;
    for (way, fates) in [("to the server", up), ("to the clients", down)] {
        for (what, count) in [
            ("passed", fates.passed),
            ("lost by chance", fates.lost),
            ("that found no room in the queue", fates.crowded_out),
            ("lost in the dark", fates.blacked_out),
        ] {
            report.count(&format!("packets {way} {what}"), count);
        }
    }
    report.count("packets of other protocols", strange);
    report.count("packets to an address that was left", unmapped);
    report.count("bytes of the largest packet", largest_bytes);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The fields of both.
fn merged(mut row: Value, more: Value) -> Value {
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}
