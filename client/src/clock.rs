//! Server time as this client estimates it, and message ids made with it.

use std::sync::{Mutex, PoisonError};

use quail_protocol::{Timestamp, id::ClientMessageId};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

/// The server's clock, carried forward from the login reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    learned: Instant,
    server: Timestamp,
}

impl ServerClock {
    pub(crate) fn new(learned: Instant, server: Timestamp) -> Self {
        Self { learned, server }
    }

    pub(crate) fn at(&self, now: Instant) -> Timestamp {
        let elapsed = now.saturating_duration_since(self.learned).as_millis();
        Timestamp(self.server.0.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX)))
    }
}

/// Makes client message ids.
pub(crate) struct MessageIds(Mutex<StdRng>);

impl MessageIds {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Mutex::new(StdRng::from_seed(seed)))
    }

    /// A UUIDv7 of `time`.
    pub(crate) fn make(&self, time: Timestamp) -> ClientMessageId {
        let mut random = [0; 10];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut random);
        ClientMessageId::at(time.0, random)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_carry_server_time_and_differ() {
        let learned = Instant::now();
        let clock = ServerClock::new(learned, Timestamp(1_700_000_000_000));
        assert_eq!(clock.at(learned + Duration::from_millis(1500)), Timestamp(1_700_000_001_500));
        let ids = MessageIds::new([7; 32]);
        let (a, b) = (ids.make(Timestamp(5)), ids.make(Timestamp(5)));
        assert_eq!((a.unix_ms(), b.unix_ms()), (5, 5));
        assert_ne!(a, b);
        assert_eq!((a.0[6] >> 4, a.0[8] >> 6), (7, 2), "version 7, variant 2");
    }
}
