//! The brokers that people would otherwise pick, and light clients of them.
//!
//! A client is one connection with buffered reads and nothing else, as a raw session of [`attend`](crate::part::attend) is, so
//! that what is measured is the broker. The protocols themselves are pure: [`nats`] and [`mqtt`].

pub(crate) mod client;
mod mqtt;
mod nats;
pub(crate) mod server;

use std::{net::SocketAddr, path::PathBuf};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// What a broker speaks, and so which broker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Protocol {
    /// The text protocol of nats-server: at most once.
    Nats,
    /// MQTT 3.1.1 to mosquitto.
    Mqtt(Qos),
}

/// What MQTT promises of a message, on the way to the broker and on the way from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1: whoever gets it says so.
    AtLeastOnce,
}

/// How clients reach a broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// Its TCP address.
    pub(crate) address: SocketAddr,
    /// Its certificate as PEM, if it speaks TLS.
    pub(crate) certificate: Option<PathBuf>,
}

/// One thing that a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Who it is.
    Greeting,
    /// The client is in.
    Connected,
    /// The client has what it subscribed to.
    Subscribed,
    /// A message, and the number under which MQTT wants it acknowledged.
    Message {
        /// What stands in it.
        body: Bytes,
        /// The number.
        packet: Option<u16>,
    },
    /// It has the message with this number.
    Acknowledged(u16),
    /// It wants to know whether the client is there.
    Ping,
    /// It is there, and has dealt with all that was said before the question.
    Pong,
}

/// Why what a broker says cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It does not follow the protocol.
    #[error("the broker said what its protocol does not know: {0}")]
    Malformed(String),
    /// It is longer than anything that was sent.
    #[error("the broker says {0} bytes at once")]
    TooLong(usize),
    /// The broker does not want it.
    #[error("the broker refused: {0}")]
    Refused(String),
}

/// Bytes of one thing that a broker says, at most.
const TOLD_BYTES_MAX: usize = 1 << 20;

impl Protocol {
    /// The program that speaks it, which is also the name of its package in Debian.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Mqtt(_) => "mosquitto",
        }
    }

    /// Whether the broker says that it has a message.
    pub(crate) fn acknowledges(self) -> bool {
        self == Self::Mqtt(Qos::AtLeastOnce)
    }

    /// The next thing of `bytes`, if all of it is there.
    fn decode(self, bytes: &mut BytesMut) -> Result<Option<Told>, Fault> {
        match self {
            Self::Nats => nats::decode(bytes),
            Self::Mqtt(_) => mqtt::decode(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `said` whole, and byte by byte, and expects the same of both.
    pub(super) fn decoded(protocol: Protocol, said: &[u8]) -> Result<Vec<Told>, Fault> {
        let all = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut bytes, mut all) = (BytesMut::new(), vec![]);
            for piece in pieces {
                bytes.extend_from_slice(piece);
                while let Some(told) = protocol.decode(&mut bytes)? {
                    all.push(told);
                }
            }
            Ok(all)
        };
        let whole = all(&mut std::iter::once(said));
        assert_eq!(whole, all(&mut said.chunks(1)), "{said:?}");
        whole
    }

    #[test]
    fn nothing_that_a_broker_says_makes_the_client_panic_or_wait_for_more_than_it_may_say() {
        for protocol in [Protocol::Nats, Protocol::Mqtt(Qos::AtMostOnce)] {
            let mut state = 1_u64;
            for _ in 0..2000 {
                let mut bytes = BytesMut::new();
                for _ in 0..64 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    bytes.extend_from_slice(&[(state >> 56) as u8]);
                }
                while let Ok(Some(_)) = protocol.decode(&mut bytes) {}
            }
        }
    }
}
