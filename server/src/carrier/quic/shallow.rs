//! Congestion control that keeps the queue before a client's link shallow.
//!
//! CUBIC fills that queue until packets are lost, and whatever is urgent then waits behind all of it: lanes and stream
//! priorities choose what is sent next, and can take back nothing that was sent. So the window is bounded by what the
//! path holds while packets wait no longer than a target: it is scaled by the round trip that is aimed at, to the one that
//! was seen, and again when packets sent under the new bound have come back. CUBIC stays below the bound and answers losses.
//!
//! Round trips that stay long although next to nothing is in flight are not of our making: another flow fills the queue,
//! or the path became longer. They are then what the target is added to.

mod losses;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

use self::losses::Losses;

/// Packets that may always be in flight: enough for acknowledgements to keep coming.
const PACKETS_MIN: u64 = 4;

/// Rounds of long round trips with as little in flight after which they are taken for the path's own.
const CRAMPED_ROUNDS_MAX: u32 = 8;

/// Makes controllers that let packets wait for `target`.
pub(super) fn factory(target: Duration) -> Arc<dyn ControllerFactory + Send + Sync> {
    Arc::new(Target(target))
}

struct Target(Duration);

impl ControllerFactory for Target {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(Arc::new(CubicConfig::default()), now, mtu);
        Box::new(Shallow { cubic, rule: Rule::new(self.0, mtu), sent: 0, losses: Losses::default() })
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
        self.round.acknowledged = self.round.acknowledged.saturating_add(bytes);
        self.round.full |= full;
    }

    /// A batch of acknowledgements up to packet `largest` is over and leaves so many bytes in flight. Packets up to `sent`
    /// were sent by now, and `window` bytes could be in flight.
    fn batch_ended(&mut self, largest: u64, sent: u64, in_flight: u64, window: u64) {
        let acknowledged = std::mem::take(&mut self.round.acknowledged);
        self.round.flight = self.round.flight.max(in_flight.saturating_add(acknowledged));
        if largest < self.round.last {
            return;
        }
        let next = Round { last: sent.saturating_add(1), counts: !self.round.counts, ..Round::default() };
        let round = std::mem::replace(&mut self.round, next);
        if !round.counts {
            return;
        }
        if let (Some(rtt), Some(base)) = (round.rtt, self.base) {
            self.round_ended(round, rtt, base, window);
        }
    }

    fn round_ended(&mut self, round: Round, rtt: Duration, base: Duration, window: u64) {
        // On a long path round trips differ by more than a short queue makes of them.
        let aim = base.saturating_add(self.target.max(base / 4));
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
    let scaled = u128::from(bytes).saturating_mul(aim.as_nanos()) / rtt.as_nanos().max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// See the module.
#[derive(Clone)]
struct Shallow {
    cubic: Cubic,
    rule: Rule,
    /// The number of the packet sent last.
    sent: u64,
    losses: Losses,
}

impl Shallow {
    /// What losses allow to be in flight.
    fn loss_window(&self) -> u64 {
        self.cubic.window().max(self.losses.floor(self.rule.mtu))
    }
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
        self.losses.acknowledged(bytes, self.rule.mtu);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
        if let Some(largest) = largest {
            self.rule.batch_ended(largest, self.sent, in_flight, self.window());
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, persistent, lost_bytes);
        self.losses.lost(lost_bytes, persistent, self.rule.mtu);
        self.rule.lost(self.loss_window());
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.cubic.on_mtu_update(mtu);
        self.rule.mtu = mtu.into();
    }

    fn window(&self) -> u64 {
        self.loss_window().min(self.rule.bound)
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

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;
    const TARGET: Duration = Duration::from_millis(8);

    /// A path of `base_us` that carries `per_ms` bytes in a millisecond, where the window is always full. Returns the
    /// windows of so many rounds, each of which tells the rule of the queue that the one before left.
    fn windows(rule: &mut Rule, base_us: u64, per_ms: u64, rounds: usize) -> Vec<u64> {
        let mut number = rule.round.last;
        let mut window = rule.bound.min(40 * u64::from(MTU));
        let mut round = || {
            let rtt = Duration::from_micros(base_us.max(window * 1000 / per_ms));
            number += 10;
            rule.acknowledged(rtt, 0, true);
            rule.batch_ended(number, number, window, window);
            window = rule.bound.min(4000 * u64::from(MTU));
            window
        };
        (0..rounds).map(|_| round()).collect()
    }

    #[test]
    fn the_window_settles_at_what_the_path_holds_and_the_target_more() {
        for (base_us, per_ms) in [(200, 2500), (20_000, 2500), (50_000, 12_500)] {
            let mut rule = Rule::new(TARGET, MTU);
            rule.base = Some(Duration::from_micros(base_us));
            let last = windows(&mut rule, base_us, per_ms, 60).pop().unwrap();
            let expected = per_ms * (base_us / 1000 + 8.max(base_us / 4000));
            assert!(last.abs_diff(expected) <= expected / 10, "{base_us}, {per_ms}: {last} for {expected}");
        }
    }

    #[test]
    fn packets_sent_under_the_bound_before_do_not_count() {
        let mut rule = Rule::new(TARGET, MTU);
        rule.base = Some(Duration::from_millis(1));
        rule.acknowledged(Duration::from_millis(90), 0, true);
        rule.batch_ended(1, 10, 90_000, 90_000);
        assert_eq!(rule.bound, u64::MAX, "the first round trip only begins the next");
        rule.acknowledged(Duration::from_millis(90), 0, true);
        rule.batch_ended(10, 20, 90_000, 90_000);
        assert_eq!(rule.bound, u64::MAX, "no packet of this round trip has come back");
        rule.acknowledged(Duration::from_millis(90), 0, true);
        rule.batch_ended(11, 20, 90_000, 90_000);
        assert_eq!(rule.bound, 9000);
    }

    #[test]
    fn a_window_that_is_not_used_stays() {
        let mut rule = Rule::new(TARGET, MTU);
        rule.bound = 50_000;
        let base = Duration::from_millis(1);
        let quiet = Round { flight: 500, full: false, ..Round::default() };
        for rtt in [1, 9, 30] {
            rule.round_ended(quiet, Duration::from_millis(rtt), base, 50_000);
            assert_eq!(rule.bound, 50_000, "{rtt} ms");
        }
    }

    #[test]
    fn a_long_path_that_jitters_does_not_starve() {
        let mut rule = Rule::new(TARGET, MTU);
        let mut number = 0;
        // Rounds whose shortest round trips differ by a fifth, with little in flight.
        for jitter in (0..200).map(|round| round * 7 % 20) {
            number += 10;
            rule.acknowledged(Duration::from_millis(100 + jitter), 0, false);
            rule.batch_ended(number, number, 20_000, 60_000);
        }
        assert_eq!(rule.bound, u64::MAX);
    }

    #[test]
    fn a_controller_keeps_the_floor_under_cubic() {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let now = Instant::now();
        let mut controller = Shallow {
            cubic: Cubic::new(Arc::new(CubicConfig::default()), now, MTU),
            rule: Rule::new(TARGET, MTU),
            sent: 0,
            losses: Losses::default(),
        };
        let mtu = u64::from(MTU);
        for packet in 1..100 {
            let sent = now + Duration::from_millis(100 * packet);
            controller.on_sent(sent, mtu, packet);
            controller.losses.acknowledged(19 * mtu, mtu);
            controller.on_congestion_event(sent + Duration::from_millis(1), sent, false, mtu);
        }
        assert_eq!(controller.window(), 10 * mtu);
        let later = now + Duration::from_secs(60);
        controller.on_congestion_event(later, later, true, mtu);
        assert!(controller.window() < 5 * mtu, "{}", controller.window());
    }

    #[test]
    fn a_queue_of_others_is_taken_for_the_path() {
        let mut rule = Rule::new(TARGET, MTU);
        rule.base = Some(Duration::from_millis(1));
        // Whatever is in flight, every round trip takes 40 ms.
        let last = windows(&mut rule, 40_000, 1_000_000, 100).pop().unwrap();
        assert!(rule.base >= Some(Duration::from_millis(40)), "{:?}", rule.base);
        assert!(last > 1_000_000, "it is not starved: {last}");
    }

    #[test]
    fn numbers_at_their_ends_harm_nothing() {
        assert_eq!(scaled(u64::MAX, Duration::MAX, Duration::ZERO), u64::MAX);
        let mut rule = Rule::new(Duration::MAX, u16::MAX);
        rule.acknowledged(Duration::MAX, u64::MAX, true);
        rule.batch_ended(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert!(rule.bound >= rule.floor());
    }
}
