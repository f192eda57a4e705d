//! As much of MQTT 3.1.1 as one who publishes and one who subscribes need: <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/>.

use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};

use super::{Fault, Qos, TOLD_BYTES_MAX, Told};

/// A packet's kind and flags, which are its first byte.
mod first {
    pub(super) const CONNECT: u8 = 0x10;
    pub(super) const CONNACK: u8 = 0x20;
    pub(super) const PUBLISH: u8 = 0x30;
    pub(super) const PUBACK: u8 = 0x40;
    pub(super) const SUBSCRIBE: u8 = 0x82;
    pub(super) const SUBACK: u8 = 0x90;
    pub(super) const PINGREQ: u8 = 0xc0;
    pub(super) const PINGRESP: u8 = 0xd0;
}

/// Nothing of an earlier connection is kept.
const CLEAN_SESSION: u8 = 0x02;

/// In the first byte of a message: it may have been sent before.
const AGAIN: u8 = 0x08;

/// What a subscription that was refused is answered with.
const NO_SUBSCRIPTION: u8 = 0x80;

/// The first thing that is said. The broker may be silent, and so may the client, for as long as they like; or what there was
/// of an earlier connection is kept, and the client says something at least every so many seconds.
pub(super) fn connect(out: &mut BytesMut, client: &str, kept: Option<Duration>) {
    head(out, first::CONNECT, 10 + 2 + client.len());
    string(out, "MQTT");
    out.put_u8(4);
    out.put_u8(if kept.is_some() { 0 } else { CLEAN_SESSION });
    let seconds = kept.unwrap_or_default().as_secs_f64().ceil();
    out.put_u16(seconds as u16);
    string(out, client);
}

/// Wants all messages of a topic.
pub(super) fn subscribe(out: &mut BytesMut, topic: &str, qos: Qos) {
    head(out, first::SUBSCRIBE, 2 + 2 + topic.len() + 1);
    out.put_u16(1);
    string(out, topic);
    out.put_u8(bits(qos));
}

/// Says something; the number is not said under QoS 0.
pub(super) fn publish(out: &mut BytesMut, topic: &str, qos: Qos, packet: u16, body: &[u8]) {
    let number = if qos == Qos::AtLeastOnce { 2 } else { 0 };
    head(out, first::PUBLISH | bits(qos) << 1, 2 + topic.len() + number + body.len());
    string(out, topic);
    if qos == Qos::AtLeastOnce {
        out.put_u16(packet);
    }
    out.extend_from_slice(body);
}

/// Makes of a message that is sent one that may have been sent before.
pub(super) fn repeat(message: &mut [u8]) {
    if let Some(first) = message.first_mut() {
        *first |= AGAIN;
    }
}

/// Has the message.
pub(super) fn acknowledge(out: &mut BytesMut, packet: u16) {
    head(out, first::PUBACK, 2);
    out.put_u16(packet);
}

/// Wants to know whether all was dealt with.
pub(super) fn ping(out: &mut BytesMut) {
    head(out, first::PINGREQ, 0);
}

fn bits(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
    }
}

fn string(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

fn head(out: &mut BytesMut, first: u8, mut length: usize) {
    out.put_u8(first);
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        out.put_u8(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// Bytes of a head and of what follows it, if the head is there.
fn measure(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut length = 0;
    for index in 0..4 {
        let Some(byte) = bytes.get(1 + index) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return if length > TOLD_BYTES_MAX {
                Err(Fault::TooLong(length))
            } else {
                Ok(Some((2 + index, length)))
            };
        }
    }
    Err(Fault::TooLong(length))
}

/// See [`Protocol::decode`](super::Protocol).
pub(super) fn decode(bytes: &mut BytesMut) -> Result<Option<Told>, Fault> {
    let Some((head, length)) = measure(bytes)? else { return Ok(None) };
    if bytes.len() < head + length {
        return Ok(None);
    }
    let first = bytes[0];
    bytes.advance(head);
    let mut packet = bytes.split_to(length);
    let malformed = || Fault::Malformed(format!("a packet {first:#04x} of {length} bytes"));
    let told = match (first, length) {
        (first::CONNACK, 2) => match packet[1] {
            0 => Told::Connected,
            code => return Err(Fault::Refused(format!("connection, code {code}"))),
        },
        (first::SUBACK, 3) => match packet[2] {
            NO_SUBSCRIPTION => return Err(Fault::Refused("subscription".into())),
            _ => Told::Subscribed,
        },
        (first::PUBACK, 2) => Told::Acknowledged(packet.get_u16()),
        (first::PINGRESP, 0) => Told::Pong,
        _ if first & 0xf0 == first::PUBLISH => {
            let topic = packet.try_get_u16().map_err(|_| malformed())?;
            if packet.len() < usize::from(topic) {
                return Err(malformed());
            }
            packet.advance(topic.into());
            let number = match first >> 1 & 0x03 {
                0 => None,
                1 => Some(packet.try_get_u16().map_err(|_| malformed())?),
                _ => return Err(malformed()),
            };
            Told::Message { body: packet.freeze(), packet: number }
        }
        _ => return Err(malformed()),
    };
    Ok(Some(told))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::broker::{Protocol, tests::decoded};

    const P: Protocol = Protocol::Mqtt(Qos::AtMostOnce);

    fn message(body: &'static [u8], packet: Option<u16>) -> Told {
        Told::Message { body: Bytes::from_static(body), packet }
    }

    #[test]
    fn what_the_broker_says_is_understood() {
        let malformed = |first, length| Err(Fault::Malformed(format!("a packet {first} of {length} bytes")));
        for (said, told) in [
            (&b""[..], Ok(vec![])),
            (
                b"\x20\x02\x00\x00\x90\x03\x00\x01\x01\xd0\x00",
                Ok(vec![Told::Connected, Told::Subscribed, Told::Pong]),
            ),
            (b"\x30\x07\x00\x03a/bh", Ok(vec![])),
            (
                b"\x30\x07\x00\x03a/bhi\x40\x02\x01\x00",
                Ok(vec![message(b"hi", None), Told::Acknowledged(256)]),
            ),
            (b"\x32\x05\x00\x01a\x00\x07", Ok(vec![message(b"", Some(7))])),
            // Once more, and kept for whoever comes later: a message all the same.
            (b"\x3b\x06\x00\x01a\x00\x07x", Ok(vec![message(b"x", Some(7))])),
            (b"\x20\x02\x00\x05", Err(Fault::Refused("connection, code 5".into()))),
            (b"\x90\x03\x00\x01\x80", Err(Fault::Refused("subscription".into()))),
            (b"\x30\x01\x00", malformed("0x30", 1)),
            (b"\x30\x03\x00\x09a", malformed("0x30", 3)),
            (b"\x32\x04\x00\x01a\x00", malformed("0x32", 4)),
            (b"\x34\x05\x00\x01a\x00\x07", malformed("0x34", 5)),
            (b"\x20\x01\x00", malformed("0x20", 1)),
            (b"\x00\x00", malformed("0x00", 0)),
            (b"\x30\x81\x80\x40", Err(Fault::TooLong(TOLD_BYTES_MAX + 1))),
        ] {
            assert_eq!(decoded(P, said), told, "{said:?}");
        }
        assert!(matches!(decoded(P, b"\x30\xff\xff\xff\xff\x01"), Err(Fault::TooLong(_))));
    }

    #[test]
    fn what_is_said_is_what_the_protocol_knows() {
        let mut out = BytesMut::new();
        connect(&mut out, "me", None);
        assert_eq!(out[..], *b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me");
        out.clear();
        connect(&mut out, "me", Some(Duration::from_millis(9500)));
        assert_eq!(out[..], *b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x0a\x00\x02me");
        out.clear();
        publish(&mut out, "a", Qos::AtLeastOnce, 7, b"x");
        repeat(&mut out);
        assert_eq!(out[..], *b"\x3a\x06\x00\x01a\x00\x07x");
        out.clear();
        subscribe(&mut out, "a/b", Qos::AtLeastOnce);
        assert_eq!(out[..], *b"\x82\x08\x00\x01\x00\x03a/b\x01");
        out.clear();
        acknowledge(&mut out, 258);
        ping(&mut out);
        assert_eq!(out[..], *b"\x40\x02\x01\x02\xc0\x00");
    }

    #[test]
    fn what_is_published_is_read_back() {
        for (qos, bytes) in [
            (Qos::AtMostOnce, 0),
            (Qos::AtMostOnce, 120),
            (Qos::AtLeastOnce, 200),
            (Qos::AtMostOnce, 16_384),
            (Qos::AtLeastOnce, 20_000),
        ] {
            let body = vec![b'x'; bytes];
            let mut out = BytesMut::new();
            publish(&mut out, "room/0", qos, 77, &body);
            let packet = (qos == Qos::AtLeastOnce).then_some(77);
            assert_eq!(decode(&mut out), Ok(Some(Told::Message { body: body.into(), packet })));
            assert!(out.is_empty());
        }
    }
}
