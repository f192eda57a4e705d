//! The text protocol of NATS: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use bytes::{Buf, BytesMut};

use super::{Fault, TOLD_BYTES_MAX, Told};

/// Bytes of a line at most; what a message holds does not stand in its line.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Lines end so.
const END: &[u8] = b"\r\n";

/// What is said as soon as the broker has greeted: no word for each message, no headers, nothing back that one said oneself.
pub(super) fn connect(out: &mut BytesMut, tls: bool) {
    let options = format!(
        r#"{{"verbose":false,"pedantic":false,"tls_required":{tls},"lang":"rust","version":"1","protocol":1,"echo":false}}"#
    );
    out.extend_from_slice(format!("CONNECT {options}\r\n").as_bytes());
}

/// Wants all messages of a subject.
pub(super) fn subscribe(out: &mut BytesMut, subject: &str) {
    out.extend_from_slice(format!("SUB {subject} 1\r\n").as_bytes());
}

/// Says something.
pub(super) fn publish(out: &mut BytesMut, subject: &str, body: &[u8]) {
    out.extend_from_slice(format!("PUB {subject} {}\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(END);
}

/// Wants to know whether all was dealt with.
pub(super) fn ping(out: &mut BytesMut) {
    out.extend_from_slice(b"PING\r\n");
}

/// Is there.
pub(super) fn pong(out: &mut BytesMut) {
    out.extend_from_slice(b"PONG\r\n");
}

/// See [`Protocol::decode`](super::Protocol).
pub(super) fn decode(bytes: &mut BytesMut) -> Result<Option<Told>, Fault> {
    loop {
        let searched = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Fault::TooLong(bytes.len())) };
        };
        let malformed = |line: &[u8]| Fault::Malformed(String::from_utf8_lossy(line).into_owned());
        let whole = &bytes[..end];
        let line = whole.strip_suffix(b"\r").ok_or_else(|| malformed(whole))?;
        let line = std::str::from_utf8(line).map_err(|_| malformed(line))?;
        let (word, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let told = match word {
            "MSG" => {
                let body = end + 1;
                let length = length(arguments).ok_or_else(|| malformed(whole))?;
                if length > TOLD_BYTES_MAX {
                    return Err(Fault::TooLong(length));
                }
                if bytes.len() < body + length + END.len() {
                    return Ok(None);
                }
                if bytes[body + length..body + length + END.len()] != *END {
                    return Err(malformed(whole));
                }
                bytes.advance(body);
                let body = bytes.split_to(length).freeze();
                bytes.advance(END.len());
                return Ok(Some(Told::Message { body, packet: None }));
            }
            "PING" => Told::Ping,
            "PONG" => Told::Pong,
            "INFO" => Told::Greeting,
            "-ERR" => return Err(Fault::Refused(arguments.to_owned())),
            "+OK" => {
                bytes.advance(end + 1);
                continue;
            }
            _ => return Err(malformed(whole)),
        };
        bytes.advance(end + 1);
        return Ok(Some(told));
    }
}

/// Bytes of a message by the line before it: subject, subscription, perhaps where to reply, length.
fn length(arguments: &str) -> Option<usize> {
    let mut arguments = arguments.split_ascii_whitespace();
    let (_subject, _subscription) = (arguments.next()?, arguments.next()?);
    let last = arguments.next()?;
    let length = arguments.next().unwrap_or(last);
    if arguments.next().is_some() {
        return None;
    }
    length.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::broker::{Protocol, tests::decoded};

    fn message(body: &'static [u8]) -> Told {
        Told::Message { body: Bytes::from_static(body), packet: None }
    }

    #[test]
    fn what_the_broker_says_is_understood() {
        let refused = Fault::Refused("'Slow Consumer'".into());
        for (said, told) in [
            (&b""[..], Ok(vec![])),
            (
                b"INFO {\"tls_required\":true} \r\nPING\r\nPONG\r\n",
                Ok(vec![Told::Greeting, Told::Ping, Told::Pong]),
            ),
            (b"+OK\r\n+OK\r\nPONG\r\n", Ok(vec![Told::Pong])),
            (b"MSG room.0 1 5\r\nhello\r\nMSG room.0 1 0\r\n\r\n", Ok(vec![message(b"hello"), message(b"")])),
            (b"MSG a 1 answer.b 4\r\n\r\n\r\n\r\nPIN", Ok(vec![message(b"\r\n\r\n")])),
            (b"MSG a 1 4\r\nabc", Ok(vec![])),
            (b"-ERR 'Slow Consumer'\r\n", Err(refused)),
            (b"MSG a 1 3\r\nabcd\r\n", Err(Fault::Malformed("MSG a 1 3\r".into()))),
            (b"MSG a 1\r\n", Err(Fault::Malformed("MSG a 1\r".into()))),
            (b"MSG a 1 b 2 c\r\n", Err(Fault::Malformed("MSG a 1 b 2 c\r".into()))),
            (b"MSG a 1 -1\r\n", Err(Fault::Malformed("MSG a 1 -1\r".into()))),
            (b"PING\n", Err(Fault::Malformed("PING".into()))),
            (b"HELLO\r\n", Err(Fault::Malformed("HELLO\r".into()))),
            (b"MSG a 1 1048577\r\n", Err(Fault::TooLong(1_048_577))),
        ] {
            assert_eq!(decoded(Protocol::Nats, said), told, "{said:?}");
        }
        assert_eq!(decoded(Protocol::Nats, &[b'a'; LINE_BYTES_MAX]), Err(Fault::TooLong(LINE_BYTES_MAX)));
    }

    #[test]
    fn what_is_said_is_what_the_protocol_knows() {
        let mut out = BytesMut::new();
        subscribe(&mut out, "room.0");
        publish(&mut out, "room.0", b"hello");
        ping(&mut out);
        pong(&mut out);
        assert_eq!(out, "SUB room.0 1\r\nPUB room.0 5\r\nhello\r\nPING\r\nPONG\r\n");
    }
}
