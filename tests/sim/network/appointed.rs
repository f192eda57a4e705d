//! A cut that was appointed: behind the so many-th message or datagram of one device and direction.

use std::time::Duration;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the device to the server.
    Up,
    /// From the server to the device.
    Down,
}

/// When a connection is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutAt {
    pub(crate) direction: Direction,
    /// Behind so many messages of a WebSocket, or datagrams.
    pub(crate) behind: u32,
    /// Whether the last of them arrives.
    pub(crate) arrives: bool,
}

/// So long nothing goes over UDP: a client that pings finds out.
const DARK: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Debug)]
pub(super) struct Appointed {
    pub(super) device: usize,
    pub(super) cut: CutAt,
    passed: u32,
    /// When it was cut.
    done: Option<Duration>,
}

impl Appointed {
    pub(super) fn new(device: usize, cut: CutAt) -> Self {
        Self { device, cut, passed: 0, done: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// So many more passed in a direction. True if this is where to cut.
    pub(super) fn pass(&mut self, direction: Direction, more: u32, now: Duration) -> bool {
        if self.is_done() || direction != self.cut.direction {
            return false;
        }
        self.passed += more;
        let cut = self.passed >= self.cut.behind;
        if cut {
            self.done = Some(now);
        }
        cut
    }

    /// Whether a datagram gets through.
    pub(super) fn datagram(&mut self, direction: Direction, now: Duration) -> bool {
        if self.done.is_some_and(|done| now < done + DARK) {
            return false;
        }
        !self.pass(direction, 1, now) || self.cut.arrives
    }
}

/// Counts the messages in the bytes of a WebSocket connection; the head of the upgrade counts as one.
#[derive(Debug)]
pub(super) enum Messages {
    /// So many bytes of the end of the head were seen.
    Upgrading(usize),
    /// The head of a frame, as far as it is there.
    Head(Vec<u8>),
    /// So many bytes of a frame are still to come.
    Payload(u64),
}

const HEAD_END: &[u8] = b"\r\n\r\n";

impl Default for Messages {
    fn default() -> Self {
        Self::Upgrading(0)
    }
}

impl Messages {
    /// How many messages end in the bytes that come next.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> u32 {
        bytes.iter().map(|byte| u32::from(self.take(*byte))).sum()
    }

    fn take(&mut self, byte: u8) -> bool {
        match self {
            Self::Upgrading(seen) => {
                *seen = if byte == HEAD_END[*seen] { *seen + 1 } else { usize::from(byte == HEAD_END[0]) };
                let ends = *seen == HEAD_END.len();
                if ends {
                    *self = Self::Head(vec![]);
                }
                ends
            }
            Self::Head(head) => {
                head.push(byte);
                let Some(length) = payload_bytes(head) else { return false };
                *self = if length == 0 { Self::Head(vec![]) } else { Self::Payload(length) };
                length == 0
            }
            Self::Payload(left) => {
                *left -= 1;
                let ends = *left == 0;
                if ends {
                    *self = Self::Head(vec![]);
                }
                ends
            }
        }
    }
}

/// The length of a frame's payload, once its head is whole (RFC 6455 section 5.2).
fn payload_bytes(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    let length_bytes = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let length = head.get(2..2 + length_bytes)?;
    if head.len() < 2 + length_bytes + mask_bytes {
        return None;
    }
    let long = length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    Some(if length_bytes == 0 { u64::from(second & 0x7f) } else { long })
}

#[test]
fn messages_are_counted_however_they_are_cut_into_pieces() {
    let mut stream = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    stream.extend([0x82, 0x83, 1, 2, 3, 4, 9, 9, 9]);
    stream.extend([0x82, 126, 1, 0]);
    stream.extend([7; 256]);
    stream.extend([0x89, 0]);
    for pieces in [1, 2, 7, stream.len()] {
        let mut messages = Messages::default();
        let counted: u32 = stream.chunks(pieces).map(|piece| messages.feed(piece)).sum();
        assert_eq!(counted, 4, "in pieces of {pieces}");
    }
}
