//! An IPv4 packet of UDP or TCP whose addresses can be rewritten.
//!
//! The checksums are not computed anew but brought up to date (RFC 1624), so that a packet that was damaged stays so.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Where things are in an IPv4 header.
const IP_CHECKSUM: usize = 10;
const IP_SOURCE: usize = 12;
const IP_DESTINATION: usize = 16;
const IP_BYTES_MIN: usize = 20;

/// The same in the header behind it, of both protocols.
const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;

/// What is in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    /// Where its checksum is, from its header on.
    fn checksum(self) -> usize {
        match self {
            Self::Udp => 6,
            Self::Tcp => 16,
        }
    }

    fn header_bytes(self) -> usize {
        match self {
            Self::Udp => 8,
            Self::Tcp => 20,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    bytes: Vec<u8>,
    protocol: Protocol,
    /// Where the header of the protocol begins.
    inner: usize,
}

impl Packet {
    /// `None` if it is of another kind, or a part of a larger one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let inner = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || inner < IP_BYTES_MIN || bytes.len() < inner {
            return None;
        }
        // Of the fragment bits, only "do not" may be set.
        let fragment = word(bytes, 6) & 0x3fff;
        let protocol = match bytes[9] {
            17 => Protocol::Udp,
            6 => Protocol::Tcp,
            _ => return None,
        };
        let whole = usize::from(word(bytes, 2)) == bytes.len();
        if fragment != 0 || !whole || bytes.len() < inner + protocol.header_bytes() {
            return None;
        }
        Some(Self { bytes: bytes.to_vec(), protocol, inner })
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes, all headers included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn source(&self) -> SocketAddrV4 {
        self.address(IP_SOURCE, SOURCE_PORT)
    }

    pub(super) fn destination(&self) -> SocketAddrV4 {
        self.address(IP_DESTINATION, DESTINATION_PORT)
    }

    pub(super) fn set_source(&mut self, address: SocketAddrV4) {
        self.set_address(IP_SOURCE, SOURCE_PORT, address);
    }

    pub(super) fn set_destination(&mut self, address: SocketAddrV4) {
        self.set_address(IP_DESTINATION, DESTINATION_PORT, address);
    }

    fn address(&self, ip: usize, port: usize) -> SocketAddrV4 {
        let [high, low] = [ip, ip + 2].map(|at| u32::from(word(&self.bytes, at)));
        SocketAddrV4::new(Ipv4Addr::from_bits(high << 16 | low), word(&self.bytes, self.inner + port))
    }

    fn set_address(&mut self, ip: usize, port: usize, address: SocketAddrV4) {
        let bits = address.ip().to_bits();
        let sum = self.inner + self.protocol.checksum();
        // A UDP packet may do without.
        let summed = self.protocol == Protocol::Tcp || word(&self.bytes, sum) != 0;
        for (at, new) in [(ip, (bits >> 16) as u16), (ip + 2, bits as u16)] {
            let old = replace(&mut self.bytes, at, new);
            update(&mut self.bytes, IP_CHECKSUM, old, new);
            // The address is in the sum of the protocol, too.
            if summed {
                update(&mut self.bytes, sum, old, new);
            }
        }
        let old = replace(&mut self.bytes, self.inner + port, address.port());
        if summed {
            update(&mut self.bytes, sum, old, address.port());
            if self.protocol == Protocol::Udp && word(&self.bytes, sum) == 0 {
                // Zero would say that there is none; this is the same sum.
                replace(&mut self.bytes, sum, 0xffff);
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Returns what was there.
fn replace(bytes: &mut [u8], at: usize, new: u16) -> u16 {
    let old = word(bytes, at);
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    old
}

/// Brings a checksum up to date after a change of one word that it sums.
fn update(bytes: &mut [u8], sum: usize, old: u16, new: u16) {
    let mut wide = u32::from(!word(bytes, sum)) + u32::from(!old) + u32::from(new);
    while wide > 0xffff {
        wide = (wide & 0xffff) + (wide >> 16);
    }
    replace(bytes, sum, !(wide as u16));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The sum of all words, all bits set if the checksum among them is right.
    fn sum(parts: &[&[u8]]) -> u16 {
        let mut wide = 0_u32;
        for part in parts {
            for pair in part.chunks(2) {
                wide += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            }
        }
        while wide > 0xffff {
            wide = (wide & 0xffff) + (wide >> 16);
        }
        wide as u16
    }

    /// What the protocol sums beside its own bytes.
    fn pseudo(bytes: &[u8]) -> Vec<u8> {
        let inner = (bytes.len() - IP_BYTES_MIN) as u16;
        [&bytes[IP_SOURCE..IP_BYTES_MIN], &[0, bytes[9]], &inner.to_be_bytes()].concat()
    }

    /// Whether both checksums are right.
    pub(in crate::relay) fn is_sound(bytes: &[u8]) -> bool {
        let (outer, inner) = bytes.split_at(IP_BYTES_MIN);
        sum(&[outer]) == 0xffff && sum(&[&pseudo(bytes), inner]) == 0xffff
    }

    fn make(protocol: Protocol, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        let len = IP_BYTES_MIN + protocol.header_bytes() + payload.len();
        let mut bytes = vec![0; len];
        bytes[0] = 0x45;
        replace(&mut bytes, 2, len as u16);
        bytes[6] = 0x40;
        bytes[8] = 64;
        bytes[9] = if protocol == Protocol::Udp { 17 } else { 6 };
        for (ip, port, address) in [(IP_SOURCE, 0, from), (IP_DESTINATION, 2, to)] {
            bytes[ip..ip + 4].copy_from_slice(&address.ip().octets());
            replace(&mut bytes, IP_BYTES_MIN + port, address.port());
        }
        if protocol == Protocol::Udp {
            replace(&mut bytes, IP_BYTES_MIN + 4, (8 + payload.len()) as u16);
        } else {
            bytes[IP_BYTES_MIN + 12] = 0x50;
        }
        bytes[len - payload.len()..].copy_from_slice(payload);
        let outer = !sum(&[&bytes[..IP_BYTES_MIN]]);
        replace(&mut bytes, IP_CHECKSUM, outer);
        let inner = !sum(&[&pseudo(&bytes), &bytes[IP_BYTES_MIN..]]);
        replace(&mut bytes, IP_BYTES_MIN + protocol.checksum(), inner);
        bytes
    }

    pub(in crate::relay) fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        make(Protocol::Udp, from, to, payload)
    }

    pub(in crate::relay) fn tcp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        make(Protocol::Tcp, from, to, payload)
    }

    fn at(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, last), port)
    }

    #[test]
    fn checksums_stay_right_whatever_the_addresses() {
        let far = SocketAddrV4::new(Ipv4Addr::BROADCAST, 0xffff);
        let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            for payload in [&b""[..], b"odd", b"even", &[0xff; 1000], &[0; 7]] {
                for address in [at(9, 1), at(255, 65_535), far, none] {
                    let bytes = make(protocol, at(2, 4000), at(1, 443), payload);
                    assert!(is_sound(&bytes));
                    let mut packet = Packet::read(&bytes).unwrap();
                    assert_eq!((packet.source(), packet.destination()), (at(2, 4000), at(1, 443)));
                    packet.set_source(address);
                    assert!(is_sound(&packet.bytes), "{protocol:?} {payload:?} {address}");
                    packet.set_destination(address);
                    assert!(is_sound(&packet.bytes), "{protocol:?} {payload:?} {address}");
                    assert_eq!((packet.source(), packet.destination()), (address, address));
                    assert_eq!(packet.protocol(), protocol);
                    assert!(packet.bytes.ends_with(payload));
                    packet.set_source(at(2, 4000));
                    packet.set_destination(at(1, 443));
                    let back = Packet::read(&bytes).unwrap();
                    assert_eq!((packet.source(), packet.destination()), (back.source(), back.destination()));
                    assert!(is_sound(&packet.into_bytes()));
                }
            }
        }
    }

    #[test]
    fn a_damaged_packet_stays_damaged_and_one_without_a_sum_goes_without() {
        let mut bytes = udp(at(2, 4000), at(1, 443), b"hello");
        *bytes.last_mut().unwrap() ^= 1;
        let mut packet = Packet::read(&bytes).unwrap();
        packet.set_source(at(9, 9));
        assert!(!is_sound(&packet.bytes));
        replace(&mut bytes, IP_BYTES_MIN + 6, 0);
        let mut packet = Packet::read(&bytes).unwrap();
        packet.set_source(at(9, 9));
        assert_eq!(word(&packet.bytes, IP_BYTES_MIN + 6), 0);
        assert_eq!(sum(&[&packet.bytes[..IP_BYTES_MIN]]), 0xffff);
    }

    #[test]
    fn a_sum_of_zero_is_not_taken_for_none() {
        // Of all ports one brings the sum to zero.
        let bytes = udp(at(2, 4000), at(1, 443), b"hello");
        let mut ones = 0;
        for port in 0..=u16::MAX {
            let mut packet = Packet::read(&bytes).unwrap();
            packet.set_source(at(2, port));
            let sum = word(&packet.bytes, IP_BYTES_MIN + 6);
            assert_ne!(sum, 0, "{port}");
            ones += u32::from(sum == 0xffff);
        }
        assert!(ones >= 1);
    }
}
