//! When to show signs of life, and when to give the server up.

use std::time::Duration;

use quail_protocol::session::Limits;
use tokio::time::Instant;

/// Keeps a server's odd limits from becoming a storm of pings.
const PING_AFTER_MIN: Duration = Duration::from_millis(100);

pub(crate) struct Silence {
    ping_after: Duration,
    idle_timeout: Duration,
    sent: Instant,
    received: Instant,
}

impl Silence {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let ping_after = Duration::from_millis(limits.ping_after_ms.into()).max(PING_AFTER_MIN);
        let idle_timeout = Duration::from_millis(limits.idle_timeout_ms.into()).max(2 * ping_after);
        Self { ping_after, idle_timeout, sent: now, received: now }
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    pub(crate) fn received(&mut self, now: Instant) {
        self.received = now;
    }

    /// When to ping. A client that only receives speaks up at half the idle timeout, since the server hears nothing of
    /// it until then.
    pub(crate) fn ping_at(&self) -> Instant {
        let quiet = self.sent.max(self.received) + self.ping_after;
        quiet.min(self.sent + self.idle_timeout / 2)
    }

    /// When the server counts as gone: a ping has gone unanswered by then, and the server still keeps the session.
    pub(crate) fn gone_at(&self) -> Instant {
        self.received + (self.idle_timeout * 2 / 3).max(2 * self.ping_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_follow_silence_on_both_ways_or_long_silence_of_our_own() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let limits =
            Limits { ping_after_ms: 10_000, idle_timeout_ms: 30_000, grace_ms: 30_000, ..Limits::default() };
        let mut silence = Silence::new(&limits, start);
        assert_eq!((silence.ping_at(), silence.gone_at()), (after(10), after(20)));
        silence.received(after(4));
        assert_eq!((silence.ping_at(), silence.gone_at()), (after(14), after(24)));
        silence.received(after(14));
        assert_eq!(silence.ping_at(), after(15), "nothing sent for half the idle timeout");
        silence.sent(after(15));
        assert_eq!((silence.ping_at(), silence.gone_at()), (after(25), after(34)));
    }
}
