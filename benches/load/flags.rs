//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::{
    part::Part,
    scenario::{
        beside, handshake, idle, lanes, mixed, overload, paths, peer, recovery, room, slow, soak, storm,
    },
};

/// See the crate.
#[derive(Debug, Parser)]
#[command(name = "load", about = "Puts a Quail on this machine under load and measures it")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays a scenario.
    #[command(flatten)]
    Scenario(Box<Scenario>),
    /// Plays the scenarios that a file lists.
    Run {
        /// TOML: a `[[scenario]]` for each, with its name and its flags as keys.
        file: PathBuf,
    },
    /// Shows two reports of one scenario side by side.
    Compare {
        /// The first, as `--json` wrote it.
        a: PathBuf,
        /// The second.
        b: PathBuf,
    },
    /// Makes one page of HTML with charts of reports.
    Report {
        /// As `--json` wrote them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where the page is written.
        #[arg(long, value_name = "FILE")]
        html: PathBuf,
    },
    /// Plays a part in one; started by the scenario.
    #[command(hide = true)]
    Part {
        /// Which.
        part: Part,
    },
}

/// The scenarios by name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Users write to each other in pairs; control: the same rows in the bare engine.
    Peer(peer::Options),
    /// Sessions that say nothing; control: bare QUIC connections.
    Idle(idle::Options),
    /// Connects and logins as fast as the server takes them; control: bare QUIC handshakes.
    Handshake(handshake::Options),
    /// Urgent messages over a slow link that is full of others; controls: without lanes, and over a WebSocket.
    Lanes(lanes::Options),
    /// Rooms that are spoken to; control: a loop over bare QUIC streams.
    Room(room::Options),
    /// More than the server takes, in rooms and between pairs; control: the bare loop.
    Overload(overload::Options),
    /// What an app may be like, all at once; control: the bare loop with as many deliveries.
    Mixed(mixed::Options),
    /// A room in which some read slowly; control: one in which all read well.
    Slow(slow::Options),
    /// The same conversation over several networks, some of them bad; QUIC beside other carriers.
    Paths(paths::Options),
    /// A room over a bad network in which members come and go, for long.
    Soak(soak::Options),
    /// The same said over a Quail and over other brokers; each is the control of the other.
    Beside(Box<beside::Options>),
    /// Readers come back to what was written meanwhile; control: the same read as it is written.
    Recovery(recovery::Options),
    /// Everybody loses the server and comes back; control: as many bare QUIC connections.
    Storm(storm::Options),
}

/// Flags of every scenario.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Shared {
    /// Also write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep the server's default rates, budgets and caps.
    #[arg(long)]
    pub(crate) default_limits: bool,
    /// Client processes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) processes: u32,
    /// Sessions of a client process that share one UDP socket.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_socket: u32,
    /// Where the scenario makes its data directories; they are removed at the end.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub(crate) scratch: PathBuf,
    /// Seconds between looks at what servers have, for what they had over time; 0 for none.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) sample: f64,
}
