//! Logs and metrics.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use quail_protocol::{Code, Priority, session::Missed};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What logs may show.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Logs show whole client addresses, and not only the network they belong to. Default false.
    pub full_addresses: bool,
}

/// Sends logs to standard error; `QUAIL_LOG` holds the filter (`info` by default). Only the first call counts.
///
/// A filter that cannot be read is an error: a server that logs less than it was told to is found out too late.
pub fn log_to_stderr() -> Result<(), String> {
    let filter = match std::env::var("QUAIL_LOG") {
        Ok(filter) => EnvFilter::try_new(filter).map_err(|error| format!("QUAIL_LOG: {error}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // Whoever closed standard error wants no word about it there.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Fails when a subscriber is installed already, as in a test process that starts many servers.
    _ = logging.try_init();
    Ok(())
}

/// An operation by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Operation {
    operation: &'static str,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    operation: &'static str,
    outcome: String,
}

/// A carrier by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Carrier {
    carrier: &'static str,
}

/// Whom a carrier turned away, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    carrier: &'static str,
    reason: &'static str,
}

/// What was said of a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answer {
    answer: String,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    reason: String,
}

/// What became of a message without a number in one outbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcomes {
    outcome: &'static str,
}

/// What became of a message of a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoomOutcome {
    priority: String,
    outcome: String,
}

/// Every metric of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Family<Operation, Histogram, fn() -> Histogram>,
    connections: Family<Carrier, Gauge>,
    refused: Family<Refused, Counter>,
    arriving: Family<Carrier, Gauge>,
    addresses: Gauge,
    untracked: Counter,
    cut_short: Counter,
    held: Counter,
    asked: Counter,
    closes: Family<Reason, Counter>,
    sessions: Gauge,
    visitors: Gauge,
    resumed: Counter,
    answers: Family<Answer, Counter>,
    messages: Counter,
    deliveries: Counter,
    dropped: Counter<u64, AtomicU64>,
    passed: Family<Outcomes, Counter>,
    signals: Family<Reason, Counter>,
    rooms: Gauge,
    room_messages: Family<RoomOutcome, Counter>,
    room_deliveries: Family<RoomOutcome, Counter>,
    history_forgotten: Counter,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("quail");
        let requests = Family::default();
        registry.register(
            "requests",
            "Requests by operation and outcome (ok or the reject code)",
            requests.clone(),
        );
        let seconds: Family<Operation, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_05, 2.0, 18)));
        registry.register("request_seconds", "From a request's arrival to its reply", seconds.clone());
        let connections = Family::default();
        registry.register("connections", "Connections that are open", connections.clone());
        let refused = Family::default();
        registry.register("connections_refused", "Connections turned away, by reason", refused.clone());
        let arriving = Family::default();
        registry.register(
            "connections_arriving",
            "Handshakes and requests under way that are no connections yet",
            arriving.clone(),
        );
        let addresses = Gauge::default();
        registry.register("addresses", "Client addresses that are remembered", addresses.clone());
        let untracked = Counter::default();
        registry.register(
            "addresses_untracked",
            "Connections let in without being counted for their address, for lack of room",
            untracked.clone(),
        );
        let cut_short = Counter::default();
        let held = Counter::default();
        registry.register(
            "connections_held",
            "Times a connection was not read for a while because it asked for too much for free",
            held.clone(),
        );
        registry.register(
            "logins_cut_short",
            "Connections closed for too many refused logins of their address",
            cut_short.clone(),
        );
        let asked = Counter::default();
        registry.register(
            "addresses_asked",
            "Clients that were asked to prove their address first",
            asked.clone(),
        );
        let closes = Family::default();
        registry.register("closes", "Connections that ended, by reason", closes.clone());
        let sessions = Gauge::default();
        registry.register("sessions", "Sessions that are logged in", sessions.clone());
        let visitors = Gauge::default();
        registry.register("visitors", "Sessions of visitors", visitors.clone());
        let resumed = Counter::default();
        registry.register(
            "sessions_resumed",
            "Sessions that went on over another connection",
            resumed.clone(),
        );
        let answers = Family::default();
        registry.register("resume_answers", "Cursors answered, by answer", answers.clone());
        let messages = Counter::default();
        registry.register("messages", "Messages placed", messages.clone());
        let deliveries = Counter::default();
        registry.register("deliveries", "Message events handed to outboxes", deliveries.clone());
        let dropped = Counter::default();
        registry.register(
            "events_dropped",
            "Message events dropped at full outboxes and told as behind",
            dropped.clone(),
        );
        let passed = Family::default();
        registry.register(
            "unnumbered",
            "Messages without a number, by what became of them in each outbox",
            passed.clone(),
        );
        let signals = Family::default();
        registry.register("signals_discarded", "Signals that were discarded, by reason", signals.clone());
        let rooms = Gauge::default();
        registry.register("rooms", "Rooms that are live", rooms.clone());
        let room_messages = Family::default();
        registry.register(
            "room_messages",
            "Messages sent to rooms, by the priority asked for and what was decided",
            room_messages.clone(),
        );
        let room_deliveries = Family::default();
        registry.register(
            "room_deliveries",
            "Messages of rooms, by priority and what became of them in each outbox",
            room_deliveries.clone(),
        );
        let history_forgotten = Counter::default();
        let help = "Messages of rooms that ended, removed from the store";
        registry.register("room_history_forgotten", help, history_forgotten.clone());
        Arc::new(Self {
            registry,
            requests,
            seconds,
            connections,
            refused,
            arriving,
            addresses,
            untracked,
            cut_short,
            held,
            asked,
            closes,
            sessions,
            visitors,
            resumed,
            answers,
            messages,
            deliveries,
            dropped,
            passed,
            signals,
            rooms,
            room_messages,
            room_deliveries,
            history_forgotten,
        })
    }

    /// All metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        _ = text::encode(&mut out, &self.registry);
        out
    }

    /// A request was answered after `seconds`; `outcome` is `ok` or the reject code's name.
    pub fn request(&self, operation: &'static str, outcome: String, seconds: f64) {
        self.requests.get_or_create(&Outcome { operation, outcome }).inc();
        self.seconds.get_or_create(&Operation { operation }).observe(seconds);
    }

    /// A connection was established.
    pub fn connection_opened(&self, carrier: &'static str) {
        self.connections.get_or_create(&Carrier { carrier }).inc();
    }

    /// A connection was turned away.
    pub fn connection_refused(&self, carrier: &'static str, reason: &'static str) {
        self.refused.get_or_create(&Refused { carrier, reason }).inc();
    }

    /// The number of connections of a carrier that are being established changed by `change`.
    pub fn arriving_changed(&self, carrier: &'static str, change: i64) {
        self.arriving.get_or_create(&Carrier { carrier }).inc_by(change);
    }

    /// So many client addresses are remembered.
    pub fn addresses_known(&self, count: usize) {
        self.addresses.set(count as i64);
    }

    /// A connection was let in without being counted for its address.
    pub fn address_untracked(&self) {
        self.untracked.inc();
    }

    /// A connection is not read for a while.
    pub fn connection_held(&self) {
        self.held.inc();
    }

    /// A connection is closed for too many refused logins of its address.
    pub fn login_cut_short(&self) {
        self.cut_short.inc();
    }

    /// A client was asked to prove its address.
    pub fn address_asked(&self) {
        self.asked.inc();
    }

    /// A connection ended.
    pub fn connection_closed(&self, carrier: &'static str, reason: String) {
        self.connections.get_or_create(&Carrier { carrier }).dec();
        self.closes.get_or_create(&Reason { reason }).inc();
    }

    /// The number of sessions changed by `change`.
    pub fn sessions_changed(&self, change: i64) {
        self.sessions.inc_by(change);
    }

    /// The number of visitors changed by `change`.
    pub fn visitors_changed(&self, change: i64) {
        self.visitors.inc_by(change);
    }

    /// A session went on over another connection.
    pub fn session_resumed(&self) {
        self.resumed.inc();
    }

    /// A cursor was answered.
    pub fn resume_answered(&self, missed: Missed) {
        self.answers.get_or_create(&Answer { answer: format!("{missed:?}") }).inc();
    }

    /// A message was placed.
    pub fn message_placed(&self) {
        self.messages.inc();
    }

    /// An event was pushed to one outbox, which dropped so many, this one with them.
    pub fn delivered(&self, dropped: usize) {
        if dropped == 0 {
            self.deliveries.inc();
        }
        self.dropped.inc_by(dropped as u64);
    }

    /// A message without a number was pushed to so many outboxes, and dropped at so many for lack of room.
    pub fn passed(&self, queued: u64, dropped: u64) {
        for (outcome, count) in [("queued", queued), ("dropped", dropped)] {
            if count > 0 {
                self.passed.get_or_create(&Outcomes { outcome }).inc_by(count);
            }
        }
    }

    /// A signal was discarded.
    pub fn signal_discarded(&self, reason: &str) {
        self.signals.get_or_create(&Reason { reason: reason.to_owned() }).inc();
    }

    /// Rooms were made, or ended.
    pub fn rooms_changed(&self, by: i64) {
        self.rooms.inc_by(by);
    }

    /// A message got its place in a room, with this priority.
    pub fn room_placed(&self, asked: Priority, got: Priority) {
        let outcome = if asked == got { "placed" } else { "lowered" };
        let labels = RoomOutcome { priority: format!("{asked:?}"), outcome: outcome.to_owned() };
        self.room_messages.get_or_create(&labels).inc();
    }

    /// A message got no place in a room.
    pub fn room_refused(&self, asked: Priority, code: Code) {
        let labels = RoomOutcome { priority: format!("{asked:?}"), outcome: format!("{code:?}") };
        self.room_messages.get_or_create(&labels).inc();
    }

    /// So many messages of a room that ended were removed from the store.
    pub fn history_forgotten(&self, entries: u64) {
        self.history_forgotten.inc_by(entries);
    }

    /// A message of a room reached so many outboxes, and was dropped at so many.
    pub fn room_told(&self, priority: Priority, queued: u64, dropped: u64) {
        for (outcome, count) in [("queued", queued), ("dropped", dropped)] {
            if count > 0 {
                let labels = RoomOutcome { priority: format!("{priority:?}"), outcome: outcome.to_owned() };
                self.room_deliveries.get_or_create(&labels).inc_by(count);
            }
        }
    }
}
