//! A network between two sides: what becomes of each packet and when it comes out, without a socket or a clock of its own.
//!
//! On the near side is the server, on the far side are the clients, behind a NAT at their end. A packet waits in a bounded
//! queue for its turn on the link, may be lost on it, and comes out later by the delay. Packets do not overtake each other.

mod nat;
mod packet;
mod path;

use std::{net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use self::path::Fates;
use self::{nat::Nat, packet::Packet, path::Path};

/// Bytes of a packet at most, its IP header included.
pub(crate) const MTU_BYTES: usize = 1500;

/// What both directions are like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// From one side to the other.
    pub(crate) delay: Duration,
    /// Up to so much more, anew for each packet.
    pub(crate) jitter: Duration,
    /// Of the packets of a direction, 0 to 1.
    pub(crate) loss: f64,
    /// Bits per second of a direction, IP headers included; 0 if nothing waits for its turn.
    pub(crate) bits_per_second: u64,
    /// Bytes of packets that wait for their turn, at most.
    pub(crate) queue_bytes: u64,
}

/// Where a packet comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The server's.
    Near,
    /// The clients'.
    Far,
}

/// What became of all packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Of those to the server.
    pub(crate) up: Fates,
    /// Of those to the clients.
    pub(crate) down: Fates,
    /// Those that were no whole IPv4 packet of UDP or TCP.
    pub(crate) strange: u64,
    /// Those to an address that the NAT knows nothing of any more.
    pub(crate) unmapped: u64,
    /// Bytes of the largest.
    pub(crate) largest_bytes: u64,
}

/// See the module. Times run from any moment on, the same for all calls.
#[derive(Debug)]
pub(crate) struct Relay {
    up: Path,
    down: Path,
    nat: Nat,
    counts: Counts,
}

impl Relay {
    /// One whose clients show themselves at `outside`.
    pub(crate) fn new(profile: Profile, seed: u64, outside: Ipv4Addr) -> Self {
        let (up, down) = (Path::new(profile, seed), Path::new(profile, !seed));
        Self { up, down, nat: Nat::new(outside), counts: Counts::default() }
    }

    /// Is like this from now on. What is on its way arrives as it would have.
    pub(crate) fn shape(&mut self, profile: Profile, seed: u64) {
        self.up.shape(profile, seed);
        self.down.shape(profile, !seed);
    }

    /// Loses all that comes before `until`.
    pub(crate) fn black_out(&mut self, until: Duration) {
        self.up.black_out(until);
        self.down.black_out(until);
    }

    /// Forgets under which ports clients are known, and shows them at `outside` from now on.
    pub(crate) fn rebind(&mut self, outside: Ipv4Addr) {
        self.nat.rebind(outside);
    }

    /// A packet came from a side.
    pub(crate) fn came(&mut self, from: Side, now: Duration, bytes: &[u8]) {
        self.counts.largest_bytes = self.counts.largest_bytes.max(bytes.len() as u64);
        let Some(mut packet) = Packet::read(bytes) else {
            self.counts.strange += 1;
            return;
        };
        match from {
            Side::Far => {
                self.nat.outward(&mut packet);
                self.up.offer(now, packet);
            }
            Side::Near => self.down.offer(now, packet),
        }
    }

    /// When the next packet is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        [self.up.due(), self.down.due()].into_iter().flatten().min()
    }

    /// A packet that is due, and the side that it goes to.
    pub(crate) fn leave(&mut self, now: Duration) -> Option<(Side, Vec<u8>)> {
        if let Some(packet) = self.up.take(now) {
            return Some((Side::Near, packet.into_bytes()));
        }
        while let Some(mut packet) = self.down.take(now) {
            // The NAT is at the clients' end: what was on its way to a port that is forgotten does not arrive.
            if self.nat.inward(&mut packet) {
                return Some((Side::Far, packet.into_bytes()));
            }
            self.counts.unmapped += 1;
        }
        None
    }

    /// What became of all packets so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts { up: self.up.fates(), down: self.down.fates(), ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::{
        packet::tests::{is_sound, tcp, udp},
        *,
    };

    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 2), 4000);
    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 443);

    fn relay() -> Relay {
        let profile = Profile {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            bits_per_second: 0,
            queue_bytes: 0,
        };
        Relay::new(profile, 7, OUTSIDE)
    }

    /// What the server sees as the sender of a packet that leaves now.
    fn seen(relay: &mut Relay, now: u64, bytes: &[u8]) -> SocketAddrV4 {
        let ms = Duration::from_millis;
        relay.came(Side::Far, ms(now), bytes);
        assert_eq!(relay.due(), Some(ms(now + 10)));
        assert_eq!(relay.leave(ms(now + 9)), None);
        let (side, bytes) = relay.leave(ms(now + 10)).unwrap();
        assert_eq!(side, Side::Near);
        assert!(is_sound(&bytes), "{bytes:x?}");
        Packet::read(&bytes).unwrap().source()
    }

    /// Where an answer to that arrives.
    fn arrives(relay: &mut Relay, now: u64, bytes: &[u8]) -> Option<SocketAddrV4> {
        let ms = Duration::from_millis;
        relay.came(Side::Near, ms(now), bytes);
        let (side, bytes) = relay.leave(ms(now + 10))?;
        assert_eq!(side, Side::Far);
        assert!(is_sound(&bytes), "{bytes:x?}");
        Some(Packet::read(&bytes).unwrap().destination())
    }

    #[test]
    fn an_answer_finds_its_way_back_until_the_address_changes() {
        for make in [udp, tcp] {
            let mut relay = relay();
            let shown = seen(&mut relay, 0, &make(CLIENT, SERVER, b"hello"));
            assert_eq!(*shown.ip(), OUTSIDE);
            assert_eq!(seen(&mut relay, 20, &make(CLIENT, SERVER, b"more")), shown);
            assert_eq!(arrives(&mut relay, 40, &make(SERVER, shown, b"yes")), Some(CLIENT));
            for (now, outside) in [(60, OUTSIDE), (160, ELSEWHERE)] {
                relay.rebind(outside);
                assert_eq!(arrives(&mut relay, now, &make(SERVER, shown, b"lost")), None);
                let anew = seen(&mut relay, now + 20, &make(CLIENT, SERVER, b"hello"));
                assert_ne!(anew, shown);
                assert_eq!(*anew.ip(), outside);
                assert_eq!(arrives(&mut relay, now + 40, &make(SERVER, anew, b"yes")), Some(CLIENT));
                assert_eq!(arrives(&mut relay, now + 60, &make(SERVER, shown, b"lost")), None);
            }
            assert_eq!(relay.counts().unmapped, 4);
        }
    }

    #[test]
    fn what_is_on_its_way_when_the_address_changes_does_not_arrive() {
        let mut relay = relay();
        let shown = seen(&mut relay, 0, &udp(CLIENT, SERVER, b"hello"));
        relay.came(Side::Near, Duration::from_millis(20), &udp(SERVER, shown, b"yes"));
        relay.rebind(ELSEWHERE);
        assert_eq!(relay.leave(Duration::from_secs(1)), None);
    }

    #[test]
    fn other_packets_are_counted_and_go_nowhere() {
        let mut relay = relay();
        let whole = udp(CLIENT, SERVER, b"hello");
        let (mut sixth, mut fragment, mut ping) = (whole.clone(), whole.clone(), whole.clone());
        (sixth[0], fragment[6], ping[9]) = (0x60, 0x20, 1);
        for strange in [&[][..], &sixth, &fragment, &ping, &whole[..27]] {
            relay.came(Side::Far, Duration::ZERO, strange);
        }
        assert_eq!((relay.due(), relay.counts().strange), (None, 5));
        assert_eq!(relay.counts().largest_bytes, whole.len() as u64);
    }
}
