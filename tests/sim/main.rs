//! Whole worlds in one thread: the real server and real clients over a simulated network, disk and time. A seed decides
//! about everything, so what went wrong once goes wrong again.
//!
//! `SIM_SEEDS` says how many worlds there are to be, `SIM_SEED` which one `one_seed` runs; with `SIM_HISTORY` that prints
//! every record, and with `QUAIL_LOG` what server and client log. Worlds of rooms have seeds of their own, see `rooms`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the time is simulated")]

mod bugs;
mod cut;
mod disk;
mod judge;
mod network;
mod plan;
mod rooms;
mod server;
mod town;
mod watcher;
mod workload;
mod world;

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use server::Flaw;
use world::{Counts, Outcome, run};

/// Worlds that are tried.
const SEEDS: u64 = 200;

/// Worlds that are tried twice.
const REPEATED: u64 = 20;

/// How many worlds there are to be: what `SIM_SEEDS` says, or else `usual`.
fn seeds(usual: u64) -> u64 {
    std::env::var("SIM_SEEDS").map_or(usual, |seeds| seeds.parse().unwrap())
}

/// Asks a child process for the traces of the first worlds.
const CHILD: &str = "SIM_TRACES";

fn run_seed(seed: u64) -> Outcome {
    run(seed, Flaw::NONE)
}

fn traces() -> Vec<String> {
    (0..seeds(REPEATED)).map(|seed| format!("{seed} {}", run_seed(seed).fingerprint())).collect()
}

#[test]
fn a_seed_repeats_itself() {
    let here = traces();
    if std::env::var_os(CHILD).is_some() {
        here.iter().for_each(|trace| println!("trace {trace}"));
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_seed_repeats_itself", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&child.stdout).into_owned();
    let there: Vec<_> =
        printed.lines().filter_map(|line| line.split_once("trace ")).map(|(_, trace)| trace).collect();
    assert_eq!(here, there);
}

#[test]
fn many_seeds() {
    let next = AtomicU64::new(0);
    let seeds = seeds(SEEDS);
    let started = Instant::now();
    let (mut total, mut failed) = (Counts::default(), Vec::new());
    std::thread::scope(|scope| {
        let work = || {
            let (mut counts, mut failed) = (Counts::default(), Vec::new());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return (counts, failed);
                }
                let outcome = run_seed(seed);
                counts = counts.and(outcome.counts);
                failed.extend(outcome.complaints().first().map(|wrong| complaint(seed, wrong)));
            }
        };
        for thread in [scope.spawn(work), scope.spawn(work)] {
            let (counts, found) = thread.join().unwrap();
            total = total.and(counts);
            failed.extend(found);
        }
    });
    println!("{seeds} seeds in {:.1?}: {total}", started.elapsed());
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
    // Fewer worlds need not have all of it.
    if seeds >= SEEDS {
        let Counts { sends, restarts, cuts, resumes, answers, .. } = total;
        assert!(sends >= 50_000 && restarts >= 200 && cuts >= 500 && resumes >= 1000, "too little happened");
        assert!(answers.iter().all(|answer| *answer >= 20), "an answer is rare");
    }
}

fn complaint(seed: u64, wrong: &str) -> String {
    format!("SIM_SEED={seed} cargo test -p quail-tests --test sim one_seed -- --nocapture\n    {wrong}")
}

#[test]
fn one_seed() {
    let seed = std::env::var("SIM_SEED").map_or(0, |seed| seed.parse().unwrap());
    if std::env::var_os("QUAIL_LOG").is_some() {
        quail_server::telemetry::log_to_stderr().unwrap();
    }
    let started = Instant::now();
    let outcome = run_seed(seed);
    println!("seed {seed} in {:.2?}: {:?}, {:?}", started.elapsed(), outcome.counts, outcome.trace);
    if std::env::var_os("SIM_HISTORY").is_some() {
        outcome.history.iter().for_each(|record| println!("{record:?}"));
    }
    let wrong = outcome.complaints();
    assert!(wrong.is_empty(), "\n{}\n{}\n", complaint(seed, ""), wrong.join("\n"));
    assert!(outcome.counts.time > Duration::from_secs(40));
}
