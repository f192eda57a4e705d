//! What losses say of a network: some are of a radio, others of a router that has too much to carry.

/// Packets that losses leave in flight: as many as a connection may begin with (RFC 6928). At what a chat says, losses are
/// mostly of radio links, and a smaller window would be a queue in the server.
const LOSSY_PACKETS_MIN: u64 = 10;

/// One lost of so many is more than a radio link loses: somebody on the way throws away what is too much.
const LOST_OF_MAX: u64 = 4;

/// Packets over which that is counted.
const COUNTED_PACKETS: u64 = 64;

/// What was lost of late, and whether that may be the radio.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Losses {
    acknowledged: u64,
    lost: u64,
    /// Bytes that are to arrive before losses are taken for the radio's again.
    suspended: u64,
}

impl Losses {
    /// So many bytes arrived.
    pub(super) fn acknowledged(&mut self, bytes: u64, mtu: u64) {
        self.suspended = self.suspended.saturating_sub(bytes);
        self.acknowledged = self.acknowledged.saturating_add(bytes);
        self.age(mtu);
    }

    /// So many bytes were lost; none means that a router says it has too much to carry.
    pub(super) fn lost(&mut self, bytes: u64, persistent: bool, mtu: u64) {
        self.lost = self.lost.saturating_add(bytes);
        self.age(mtu);
        if persistent || bytes == 0 {
            self.suspended = LOSSY_PACKETS_MIN * mtu;
        }
    }

    fn age(&mut self, mtu: u64) {
        if self.acknowledged.saturating_add(self.lost) > COUNTED_PACKETS * mtu {
            self.acknowledged /= 2;
            self.lost /= 2;
        }
    }

    /// What losses leave in flight at least.
    pub(super) fn floor(&self, mtu: u64) -> u64 {
        let heavy = self.lost.saturating_mul(LOST_OF_MAX) > self.acknowledged.saturating_add(self.lost);
        if heavy || self.suspended > 0 { 0 } else { LOSSY_PACKETS_MIN * mtu }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;

    /// A network on which of each `of` packets one is lost, for some time.
    fn lossy(losses: &mut Losses, of: u64) {
        let mtu = u64::from(MTU);
        for _ in 0..100 {
            losses.acknowledged((of - 1) * mtu, mtu);
            losses.lost(mtu, false, mtu);
        }
    }

    #[test]
    fn losses_of_a_radio_leave_as_many_in_flight_as_a_connection_begins_with_and_heavier_ones_do_not() {
        let mtu = u64::from(MTU);
        for (of, expected) in [(50, 10), (20, 10), (6, 10), (3, 0), (2, 0)] {
            let mut losses = Losses::default();
            lossy(&mut losses, of);
            assert_eq!(losses.floor(mtu), expected * mtu, "one of {of}");
        }
        assert_eq!(Losses::default().floor(mtu), 10 * mtu);
    }

    #[test]
    fn after_darkness_or_a_mark_ten_packets_arrive_before_losses_are_the_radios_again() {
        let mtu = u64::from(MTU);
        for (bytes, persistent) in [(mtu, true), (0, false)] {
            let mut losses = Losses::default();
            lossy(&mut losses, 20);
            losses.lost(bytes, persistent, mtu);
            assert_eq!(losses.floor(mtu), 0);
            losses.acknowledged(9 * mtu, mtu);
            assert_eq!(losses.floor(mtu), 0);
            losses.acknowledged(mtu, mtu);
            assert_eq!(losses.floor(mtu), 10 * mtu, "whatever CUBIC makes of the losses since");
        }
    }
}
