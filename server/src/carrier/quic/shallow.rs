//! Congestion control that keeps the queue before a client's link shallow.
//!
//! CUBIC fills that queue until packets are lost, and whatever is urgent then waits behind all of it: lanes and stream
//! priorities choose what is sent next, and can take back nothing that was sent. So the window is bounded by what the
//! path holds while packets wait no longer than a target: it is scaled by the round trip that is aimed at, to the one that
//! was seen, and again when packets sent under the new bound have come back. CUBIC stays below the bound and answers losses.
//!
//! Round trips that stay long although next to nothing is in flight are not of our making: another flow fills the queue,
//! or the path became longer. They are then what the target is added to.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

/// Packets that may always be in flight: enough for acknowledgements to keep coming.
const PACKETS_MIN: u64 = 4;

/// Rounds of long round trips with as little in flight after which they are taken for the path's own.
const CRAMPED_ROUNDS_MAX: u32 = 8;

/// Makes controllers that let packets wait for `target`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShallowConfig {
    pub(super) target: Duration,
}

impl ControllerFactory for ShallowConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(Arc::new(CubicConfig::default()), now, mtu);
        Box::new(Shallow { cubic, rule: Rule::new(self.target, mtu), sent: 0 })
    }
}

/// The bound, as a function of what is seen.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    target: Duration,
    mtu: u64,
    /// Bytes in flight at most.
    bound: u64,
    /// The shortest round trip: that of a path without a queue.
    base: Option<Duration>,
    round: Round,
    /// Rounds at the smallest bound in a row, and the shortest round trip of them.
    cramped: Option<(u32, Duration)>,
}

/// What is seen from one acknowledgement to that of a packet that was sent then: a round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Round {
    /// The number of the packet whose acknowledgement ends it.
    last: u64,
    /// The shortest round trip.
    rtt: Option<Duration>,
    /// Bytes in flight at most.
    flight: u64,
    /// Bytes acknowledged in the batch that is not over.
    acknowledged: u64,
    /// Whether the window held something up.
    full: bool,
    /// False while what is acknowledged was sent under the bound before.
    counts: bool,
}

impl Rule {
    fn new(target: Duration, mtu: u16) -> Self {
        let mtu = mtu.into();
        Self { target, mtu, bound: u64::MAX, base: None, round: Round::default(), cramped: None }
    }

    fn floor(&self) -> u64 {
        PACKETS_MIN * self.mtu
    }

    /// A packet was acknowledged.
    fn acknowledged(&mut self, rtt: Duration, bytes: u64, full: bool) {
        self.base = Some(self.base.map_or(rtt, |base| base.min(rtt)));
        self.round.rtt = Some(self.round.rtt.map_or(rtt, |shortest| shortest.min(rtt)));
        self.round.acknowledged += bytes;
        self.round.full |= full;
    }

    /// A batch of acknowledgements up to packet `largest` is over and leaves so many bytes in flight. Packets up to `sent`
    /// were sent by now, and `window` bytes could be in flight.
    fn batch_ended(&mut self, largest: u64, sent: u64, in_flight: u64, window: u64) {
        let acknowledged = std::mem::take(&mut self.round.acknowledged);
        self.round.flight = self.round.flight.max(in_flight + acknowledged);
        if largest < self.round.last {
            return;
        }
        let next = Round { last: sent + 1, counts: !self.round.counts, ..Round::default() };
        let round = std::mem::replace(&mut self.round, next);
        if !round.counts {
            return;
        }
        if let (Some(rtt), Some(base)) = (round.rtt, self.base) {
            self.round_ended(round, rtt, base, window);
        }
    }

    fn round_ended(&mut self, round: Round, rtt: Duration, base: Duration, window: u64) {
        let aim = base + self.target;
        if rtt <= aim {
            self.cramped = None;
            // What was not used says nothing of what the path holds.
            if round.full {
                let most = window.saturating_add(window / 2);
                self.bound = scaled(window, aim, rtt).min(most).max(self.floor());
            }
        } else if window <= self.floor() {
            let (rounds, shortest) =
                self.cramped.map_or((1, rtt), |(rounds, was)| (rounds + 1, was.min(rtt)));
            self.cramped = Some((rounds, shortest));
            if rounds >= CRAMPED_ROUNDS_MAX {
                self.base = Some(shortest);
                self.cramped = None;
            }
        } else if round.flight >= self.floor() {
            self.bound = scaled(round.flight.min(window), aim, rtt).max(self.floor());
        }
    }

    /// Packets were lost although `window` bytes could be in flight at most.
    fn lost(&mut self, window: u64) {
        self.bound = self.bound.min(window).max(self.floor());
    }
}

/// `bytes` times `aim` to `rtt`.
fn scaled(bytes: u64, aim: Duration, rtt: Duration) -> u64 {
    let scaled = u128::from(bytes) * aim.as_nanos() / rtt.as_nanos().max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// See the module.
#[derive(Clone)]
struct Shallow {
    cubic: Cubic,
    rule: Rule,
    /// The number of the packet sent last.
    sent: u64,
}

impl Controller for Shallow {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.sent = last_packet_number;
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.rule.acknowledged(now.saturating_duration_since(sent), bytes, !app_limited);
        // A window that is not used must not grow, or the first loss would shrink nothing.
        let held = self.rule.bound < self.cubic.window();
        self.cubic.on_ack(now, sent, bytes, app_limited || held, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
        if let Some(largest) = largest {
            self.rule.batch_ended(largest, self.sent, in_flight, self.window());
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, persistent, lost_bytes);
        self.rule.lost(self.cubic.window());
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.cubic.on_mtu_update(mtu);
        self.rule.mtu = mtu.into();
    }

    fn window(&self) -> u64 {
        self.cubic.window().min(self.rule.bound)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
