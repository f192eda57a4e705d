//! What the rounds found out.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::Variant;
use crate::{
    latency::Latencies,
    part::{listen::Heard, pour::Poured},
    report::Report,
    rounds::{Rounds, median},
};

/// One round of one variant.
#[derive(Default)]
pub(super) struct Pass {
    /// Since when it was measured.
    pub(super) from: Duration,
    /// Until when.
    pub(super) until: Duration,
    /// What the link carried, to what it can carry.
    pub(super) utilisation: f64,
    /// Packets that found no room before the link.
    pub(super) drops: u64,
    /// How long what waited before the link would take, in milliseconds, looked at now and then.
    pub(super) queued: Vec<f64>,
    /// The sender of urgent messages.
    pub(super) urgent: Option<Poured>,
    /// The sender of the others.
    pub(super) backlog: Option<Poured>,
    /// The receiver.
    pub(super) heard: Option<Heard>,
}

impl Pass {
    /// What acknowledging the urgent messages took, which is over before they reach the link.
    fn to_ack_p99(&self) -> f64 {
        self.urgent.as_ref().map_or(f64::NAN, |sender| sender.to_ack.percentiles().p99)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<&'static str, Vec<Pass>>);

impl Tally {
    pub(super) fn add(&mut self, variant: Variant, pass: Pass) {
        self.0.entry(variant.name()).or_default().push(pass);
    }

    fn of<T>(&self, variant: Variant, what: impl Fn(&Pass) -> T) -> Vec<T> {
        self.0.get(variant.name()).into_iter().flatten().map(what).collect()
    }

    fn p99s(&self, variant: Variant) -> Vec<f64> {
        self.of(variant, |pass| {
            pass.heard.as_ref().map_or(f64::NAN, |heard| heard.latencies.percentiles().p99)
        })
    }

    /// The median round's 99th percentile in milliseconds.
    pub(super) fn p99(&self, variant: Variant) -> f64 {
        median(self.p99s(variant))
    }

    /// How full the link was in the round in which it was least so.
    pub(super) fn utilisation(&self, variant: Variant) -> f64 {
        self.of(variant, |pass| pass.utilisation).into_iter().fold(f64::INFINITY, f64::min)
    }

    /// Fills the report: a row for each variant, and lanes beside their controls.
    pub(super) fn tell(&self, report: &mut Report) -> anyhow::Result<()> {
        for variant in Variant::ALL {
            self.tell_of(variant, report)?;
        }
        for (control, name) in [
            (Variant::DeepQueue, "urgent p99, shallow to deep queue, QUIC"),
            (Variant::OneLane, "urgent p99, lanes to one lane, QUIC"),
            (Variant::WebSocket, "urgent p99, lanes, QUIC to WebSocket"),
        ] {
            let mut rounds = Rounds::default();
            let pairs = self.p99s(Variant::Lanes).into_iter().zip(self.p99s(control));
            pairs.for_each(|(lanes, control)| rounds.push(lanes, control));
            report.rounds(name, rounds);
        }
        Ok(())
    }

    fn tell_of(&self, variant: Variant, report: &mut Report) -> anyhow::Result<()> {
        let name = variant.name();
        let mut all = Latencies::new()?;
        let [mut missing, mut others, mut dropped, mut behind] = [0; 4];
        for pass in self.0.get(name).into_iter().flatten() {
            if let Some(heard) = &pass.heard {
                all.merge(&heard.latencies);
                missing += heard.missing;
                others += heard.others;
                dropped += heard.dropped;
                behind += heard.behind;
            }
            for failure in [&pass.urgent, &pass.backlog]
                .into_iter()
                .flatten()
                .filter_map(|sender| sender.first_failure.as_ref())
            {
                report.broken.push(format!("{name}: a message was not taken: {failure}"));
            }
        }
        // Without lanes they may be seconds late.
        if missing > 0 && variant != Variant::OneLane {
            report.broken.push(format!("{name}: {missing} urgent messages did not come"));
        }
        let sum = |what: fn(&Pass) -> u64| self.of(variant, what).into_iter().sum::<u64>();
        let rounded = |values: Vec<f64>| values.into_iter().map(|value| (value * 1000.0).round() / 1000.0);
        let queued = self.of(variant, |pass| median(pass.queued.clone()));
        let percentiles = all.percentiles();
        report.rows.push(json!({
            "variant": name,
            "samples": percentiles.count,
            "p50_ms": percentiles.p50,
            "p99_ms": percentiles.p99,
            "max_ms": percentiles.max,
            "p99_ms_of_rounds": self.p99s(variant),
            "p99_ms_median": self.p99(variant),
            "p99_ms_to_ack_of_rounds": self.of(variant, Pass::to_ack_p99),
            "utilisation_of_rounds": rounded(self.of(variant, |pass| pass.utilisation)).collect::<Vec<_>>(),
            "queue_ms_of_rounds": rounded(queued).collect::<Vec<_>>(),
            "packets_dropped": sum(|pass| pass.drops),
            "backlog_sent": sum(|pass| pass.backlog.as_ref().map_or(0, |sender| sender.accepted)),
            "backlog_received": others,
            "dropped_and_told": dropped,
            "missing": missing,
            "gaps_told": behind,
        }));
        report.histogram(&format!("urgent, {name}"), &all);
        Ok(())
    }
}
