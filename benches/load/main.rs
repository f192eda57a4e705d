//! How much a whole Quail bears: scenarios with a control in the same run.
//!
//! `load SCENARIO` starts this binary again for every part of the scenario, so that server, clients and controls are
//! processes of their own, and talks to them in lines of JSON. `benches/README.md` has the commands and what they showed.

mod body;
mod broker;
mod chain;
mod child;
mod clients;
mod compare;
mod cpu;
mod disk;
mod flags;
mod flight;
mod latency;
mod ledger;
mod link;
mod machine;
mod metrics;
mod namespace;
mod number;
mod page;
mod part;
mod plan;
mod progress;
mod relay;
mod report;
mod rounds;
mod sampler;
mod scenario;
mod schedule;
mod series;
mod suite;
mod topics;
mod tunnel;
mod weather;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    flags::{Cli, Command},
    report::NotRun,
};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Part { part } => part::run(part),
        Command::Scenario(options) => scenario::run(*options),
        Command::Run { file } => suite::run(&file),
        Command::Report { files, html } => page::run(&files, &html),
        Command::Compare { a, b } => compare::run(&a, &b),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            let not_run = error.downcast_ref::<NotRun>().is_some();
            if not_run { ExitCode::from(NotRun::CODE) } else { ExitCode::FAILURE }
        }
    }
}
