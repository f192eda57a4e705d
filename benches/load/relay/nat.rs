//! Under which address and ports clients are seen from outside.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use super::packet::{Packet, Protocol};

/// The first port that is given out.
const FIRST_PORT: u16 = 20_000;

/// See the module. A port is given to who sends first, and is not given again before all others were.
#[derive(Debug)]
pub(super) struct Nat {
    outside: Ipv4Addr,
    next_port: u16,
    out: HashMap<(Protocol, SocketAddrV4), u16>,
    back: HashMap<(Protocol, SocketAddrV4), SocketAddrV4>,
}

impl Nat {
    /// Shows everybody at `outside`.
    pub(super) fn new(outside: Ipv4Addr) -> Self {
        Self { outside, next_port: FIRST_PORT, out: HashMap::new(), back: HashMap::new() }
    }

    /// Forgets everybody, and shows them at `outside` when they send again.
    pub(super) fn rebind(&mut self, outside: Ipv4Addr) {
        self.outside = outside;
        self.out.clear();
        self.back.clear();
    }

    /// Lets a client's packet come from where it is seen.
    pub(super) fn outward(&mut self, packet: &mut Packet) {
        let (protocol, client) = (packet.protocol(), packet.source());
        let port = *self.out.entry((protocol, client)).or_insert_with(|| {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            self.back.insert((protocol, SocketAddrV4::new(self.outside, port)), client);
            port
        });
        packet.set_source(SocketAddrV4::new(self.outside, port));
    }

    /// Lets a packet to a client go to where it is. False if nobody is known there.
    pub(super) fn inward(&self, packet: &mut Packet) -> bool {
        let Some(client) = self.back.get(&(packet.protocol(), packet.destination())) else { return false };
        packet.set_destination(*client);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::packet::tests::{tcp, udp},
        *,
    };

    #[test]
    fn everybody_has_a_port_of_their_own() {
        let outside = Ipv4Addr::new(198, 18, 1, 1);
        let server = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 443);
        let mut nat = Nat::new(outside);
        let mut seen = vec![];
        for make in [udp, tcp] {
            for port in [1, 2, 3] {
                let client = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 2), port);
                let mut packet = Packet::read(&make(client, server, b"")).unwrap();
                nat.outward(&mut packet);
                assert!(!seen.contains(&packet.source()));
                seen.push(packet.source());
                let mut answer = Packet::read(&make(server, packet.source(), b"")).unwrap();
                assert!(nat.inward(&mut answer));
                assert_eq!(answer.destination(), client);
            }
        }
        let mut stray = Packet::read(&tcp(server, *seen.first().unwrap(), b"")).unwrap();
        assert!(!nat.inward(&mut stray), "a UDP port is none of TCP");
    }
}
