//! The only source of randomness: ids, jitter, hasher seeds. Seeded, a run repeats exactly.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::fast::FixedState;
use quail_protocol::Timestamp;
use rand::{
    Rng, RngExt, SeedableRng,
    rngs::{StdRng, SysRng},
};

/// See the module.
#[derive(Debug)]
pub struct Entropy(Mutex<StdRng>);

impl Entropy {
    /// Seeded by the operating system.
    pub fn from_system() -> std::io::Result<Self> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(std::io::Error::other)?;
        Ok(Self(Mutex::new(rng)))
    }

    /// Repeats itself. For tests and simulation; its ids can be guessed.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Unpredictable bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        bytes
    }

    /// A number below 2^53 for log lines.
    pub fn trace_id(&self) -> u64 {
        self.with(|rng| rng.next_u64() >> 11)
    }

    /// `base` and up to a quarter of it more, so that those who wait do not come back together.
    pub fn jittered(&self, base: Duration) -> Duration {
        base + self.with(|rng| base.mul_f64(rng.random_range(0.0..0.25)))
    }

    /// Anything up to `longest`, so that those who are sent away do not come back together.
    pub fn up_to(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.with(|rng| rng.random_range(0.0..=1.0)))
    }

    /// A hasher for tables whose keys strangers choose.
    pub fn hasher(&self) -> FixedState {
        FixedState::with_seed(self.with(Rng::next_u64))
    }

    /// The random part of an id made at `time`, as `Id::at` takes it.
    pub fn id_parts(&self, time: Timestamp) -> (u64, [u8; 10]) {
        (time.0, self.bytes())
    }

    fn with<T>(&self, use_rng: impl FnOnce(&mut StdRng) -> T) -> T {
        use_rng(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn a_seed_repeats_ids_jitter_and_hashes() {
        let draw = |seed| {
            let entropy = Entropy::seeded(seed);
            let second = Duration::from_secs(1);
            let hash = entropy.hasher().hash_one("key");
            (entropy.id_parts(Timestamp(7)), entropy.jittered(second), entropy.trace_id(), hash)
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).2 < 1 << 53);
        assert!((Duration::from_secs(1)..Duration::from_millis(1250)).contains(&draw(1).1));
        assert!(Entropy::seeded(1).up_to(Duration::from_secs(1)) <= Duration::from_secs(1));
        assert_eq!(Entropy::seeded(1).up_to(Duration::ZERO), Duration::ZERO);
    }
}
