//! One direction of the network.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Profile, packet::Packet};
use crate::weather::uniform;

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fates {
    /// Those that came out, or will.
    pub(crate) passed: u64,
    /// Bytes of them, IP headers included.
    pub(crate) passed_bytes: u64,
    /// Those that were lost by chance.
    pub(crate) lost: u64,
    /// Those that found no room in the queue.
    pub(crate) crowded_out: u64,
    /// Those that came while everything was lost.
    pub(crate) blacked_out: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Path {
    profile: Profile,
    /// Changes with each packet.
    random: u64,
    /// When the link has sent all that waits.
    idle_at: Duration,
    /// Everything is lost until then.
    dark_until: Duration,
    on_its_way: VecDeque<(Duration, Packet)>,
    fates: Fates,
}

impl Path {
    /// One that treats the packets alike of every one with the same seed.
    pub(super) fn new(profile: Profile, seed: u64) -> Self {
        let (idle_at, dark_until, on_its_way, fates) = Default::default();
        Self { profile, random: scattered(seed), idle_at, dark_until, on_its_way, fates }
    }

    /// Is like this from now on.
    pub(super) fn shape(&mut self, profile: Profile, seed: u64) {
        (self.profile, self.random) = (profile, scattered(seed));
    }

    /// Loses all that comes before `until`.
    pub(super) fn black_out(&mut self, until: Duration) {
        self.dark_until = until;
    }

    /// Takes a packet.
    pub(super) fn offer(&mut self, now: Duration, packet: Packet) {
        let bytes = packet.len() as u64;
        if now < self.dark_until {
            self.fates.blacked_out += 1;
            return;
        }
        let rate = self.profile.bits_per_second;
        let mut sent_at = now;
        if rate > 0 {
            let waits = self.idle_at.saturating_sub(now);
            if waits > sending(self.profile.queue_bytes.saturating_sub(bytes), rate) {
                self.fates.crowded_out += 1;
                return;
            }
            self.idle_at = now + waits + sending(bytes, rate);
            sent_at = self.idle_at;
        }
        // Two for each packet, so that whether one is lost does not hang on the jitter.
        let [chance, jitter] = [self.random, self.random.wrapping_add(1)].map(uniform);
        self.random = self.random.wrapping_add(2);
        if chance < self.profile.loss {
            // It was on the link when it was lost, and took its time there.
            self.fates.lost += 1;
            return;
        }
        self.fates.passed += 1;
        self.fates.passed_bytes += bytes;
        let due = sent_at + self.profile.delay + self.profile.jitter.mul_f64(jitter);
        let before = self.on_its_way.back().map_or(Duration::ZERO, |(due, _)| *due);
        self.on_its_way.push_back((due.max(before), packet));
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.on_its_way.front().map(|(due, _)| *due)
    }

    /// The next packet, if it is due.
    pub(super) fn take(&mut self, now: Duration) -> Option<Packet> {
        if self.due()? > now {
            return None;
        }
        self.on_its_way.pop_front().map(|(_, packet)| packet)
    }

    /// What became of all packets so far.
    pub(super) fn fates(&self) -> Fates {
        self.fates
    }
}

/// How long so many bytes take.
fn sending(bytes: u64, bits_per_second: u64) -> Duration {
    let nanoseconds = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(bits_per_second);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Seeds beside each other begin far from each other.
fn scattered(seed: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::{super::packet::tests::udp, *};

    const MS: Duration = Duration::from_millis(1);

    const CLEAN: Profile = Profile {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        bits_per_second: 0,
        queue_bytes: 0,
    };

    /// One of so many bytes that bears a number.
    fn packet(number: u16, bytes: usize) -> Packet {
        let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, number);
        Packet::read(&udp(from, from, &vec![0; bytes - 28])).unwrap()
    }

    /// The numbers and times in microseconds of all that comes out.
    fn out(path: &mut Path) -> Vec<(u16, u128)> {
        let mut out = vec![];
        while let Some(due) = path.due() {
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                assert_eq!(path.take(before), None);
            }
            out.push((path.take(due).unwrap().source().port(), due.as_micros()));
        }
        out
    }

    #[test]
    fn packets_come_out_when_they_are_due() {
        // 1 Mbit/s: 125 bytes take a millisecond. Of each packet: when it comes, and its bytes.
        let slow = Profile { bits_per_second: 1_000_000, queue_bytes: 1000, ..CLEAN };
        let delayed = Profile { delay: 15 * MS, ..CLEAN };
        for (profile, packets, expected) in [
            (CLEAN, &[(0, 100), (0, 100), (5, 100)][..], &[(0, 0), (1, 0), (2, 5000)][..]),
            (delayed, &[(0, 100), (1, 1500)], &[(0, 15_000), (1, 16_000)]),
            (slow, &[(0, 125), (0, 250), (10, 125)], &[(0, 1000), (1, 3000), (2, 11_000)]),
            // Eight fit, of nine at once.
            (
                slow,
                &[(0, 125), (0, 125), (0, 125), (0, 125), (0, 125), (0, 125), (0, 125), (0, 125), (0, 125)],
                &[(0, 1000), (1, 2000), (2, 3000), (3, 4000), (4, 5000), (5, 6000), (6, 7000), (7, 8000)],
            ),
            // What has left makes room, to the byte.
            (slow, &[(0, 1000), (0, 125), (1, 126), (1, 125)], &[(0, 8000), (3, 9000)]),
            (Profile { delay: 2 * MS, ..slow }, &[(0, 125), (0, 125)], &[(0, 3000), (1, 4000)]),
        ] {
            let mut path = Path::new(profile, 7);
            for (number, (at, bytes)) in packets.iter().enumerate() {
                path.offer(*at * MS, packet(number as u16, *bytes));
            }
            assert_eq!(out(&mut path), expected, "{profile:?} {packets:?}");
            let fates = path.fates();
            assert_eq!(fates.passed, expected.len() as u64);
            assert_eq!(fates.crowded_out, (packets.len() - expected.len()) as u64);
        }
    }

    #[test]
    fn as_many_are_lost_as_were_to_be_and_the_same_ones_of_the_same_seed() {
        let which = |loss, jitter, seed| {
            let mut path = Path::new(Profile { loss, jitter, ..CLEAN }, seed);
            (0..50_000).for_each(|number| path.offer(Duration::ZERO, packet(number, 40)));
            let numbers: Vec<u16> = out(&mut path).into_iter().map(|(number, _)| number).collect();
            assert_eq!(path.fates().lost, 50_000 - numbers.len() as u64);
            assert_eq!(path.fates().passed_bytes, 40 * numbers.len() as u64);
            numbers
        };
        for (loss, lost) in [(0.0, 0..1), (0.02, 900..1100), (0.05, 2300..2700), (1.0, 50_000..50_001)] {
            let passed = which(loss, Duration::ZERO, 7);
            assert!(lost.contains(&(50_000 - passed.len())), "{loss}: {}", passed.len());
            assert_eq!(passed, which(loss, 5 * MS, 7));
        }
        assert_ne!(which(0.02, Duration::ZERO, 7), which(0.02, Duration::ZERO, !7));
    }

    #[test]
    fn jitter_is_spread_and_nobody_overtakes() {
        let mut path = Path::new(Profile { delay: 50 * MS, jitter: 20 * MS, ..CLEAN }, 7);
        // Far enough from each other that none waits for another.
        (0..1000).for_each(|number| path.offer(100 * MS * u32::from(number), packet(number, 100)));
        let late: Vec<u128> =
            out(&mut path).iter().map(|(number, us)| us - 100_000 * u128::from(*number)).collect();
        assert!(late.iter().all(|us| (50_000..70_000).contains(us)));
        let mean = late.iter().sum::<u128>() / 1000;
        assert!((59_000..61_000).contains(&mean), "{mean}");
        (0..1000).for_each(|number| path.offer(200_000 * MS, packet(number, 100)));
        let out = out(&mut path);
        assert!(out.is_sorted(), "{out:?}");
    }

    #[test]
    fn all_that_comes_in_the_dark_is_lost() {
        let mut path = Path::new(Profile { delay: 5 * MS, ..CLEAN }, 7);
        path.offer(9 * MS, packet(0, 100));
        path.black_out(20 * MS);
        for (number, at) in [(1, 10), (2, 19), (3, 20)] {
            path.offer(at * MS, packet(number, 100));
        }
        assert_eq!(out(&mut path), [(0, 14_000), (3, 25_000)]);
        assert_eq!(path.fates().blacked_out, 2);
    }
}
