//! Frames: a varint length, a head, a body. Decoding is pure and never allocates more than the limit in force.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{event::Kind, operation::Opcode, reject::Reject};

/// What a frame is. The number of the variant is its first byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// Client to server; the body is the operation.
    Request {
        /// Chosen by the client, one more than the last, from 1.
        request_id: u32,
        /// Which operation.
        opcode: Opcode,
    },
    /// Server to client; the body is the operation's reply, or empty after a reject.
    Reply {
        /// The request that is answered.
        request_id: u32,
        /// Served or refused.
        outcome: Outcome,
    },
    /// Server to client, unasked; the body is the event.
    Event {
        /// Which event.
        kind: Kind,
    },
    /// Client to server; the body is a [`Signal`](crate::message::Signal). It has no answer.
    Signal,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Served; the reply follows.
    Ok,
    /// Refused; nothing follows.
    Reject(Reject),
}

/// A frame without its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub head: Head,
    /// The postcard bytes after the head.
    pub body: Bytes,
}

/// Why bytes are not a frame. Either ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length prefix exceeds the limit in force.
    TooLarge,
    /// The length prefix is not a minimal varint, or the head cannot be read.
    Malformed,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "frame too large",
            Self::Malformed => "malformed frame",
        })
    }
}

impl std::error::Error for FrameError {}

/// Bytes that are not the value they should be, too short, or longer than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed body")
    }
}

impl std::error::Error for Malformed {}

/// Decodes a whole body; bytes left over are an error.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(Malformed),
    }
}

/// Encodes a body.
pub fn encode_body<T: Serialize>(body: &T) -> Vec<u8> {
    postcard::to_stdvec(body).unwrap_or_else(|_| unreachable!("wire types always encode"))
}

/// Encodes a frame with its length.
pub fn encode<T: Serialize>(head: &Head, body: &T) -> Bytes {
    encode_with(head, |out| {
        postcard::to_extend(body, out).unwrap_or_else(|_| unreachable!("wire types always encode"))
    })
}

/// Encodes a frame whose body is bytes already.
pub fn encode_raw(head: &Head, body: &[u8]) -> Bytes {
    encode_with(head, |mut out| {
        out.extend_from_slice(body);
        out
    })
}

fn encode_with(head: &Head, body: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&[0; LENGTH_BYTES_MAX]);
    let out = postcard::to_extend(head, out).unwrap_or_else(|_| unreachable!("heads always encode"));
    let mut out = body(out);
    let mut length = out.len() - LENGTH_BYTES_MAX;
    let mut prefix = [0; LENGTH_BYTES_MAX];
    let mut used = 0;
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        prefix[used] = if length == 0 { low } else { low | 0x80 };
        used += 1;
        if length == 0 {
            break;
        }
    }
    let start = LENGTH_BYTES_MAX - used;
    out[start..LENGTH_BYTES_MAX].copy_from_slice(&prefix[..used]);
    let mut out = Bytes::from(out);
    out.advance(start);
    out
}

/// Length prefixes take at most this many bytes; 2^28 is far above [`crate::limits::FRAME_BYTES_MAX`].
const LENGTH_BYTES_MAX: usize = 4;

/// Cuts a lane's bytes into frames.
///
/// ```
/// use quail_protocol::frame::{self, Decoder, Head};
/// use quail_protocol::Opcode;
///
/// let head = Head::Request { request_id: 1, opcode: Opcode(0x0103) };
/// let bytes = frame::encode(&head, &());
/// let mut decoder = Decoder::new(1024);
/// decoder.extend(&bytes[..2]);
/// assert_eq!(decoder.next_frame(), Ok(None));
/// decoder.extend(&bytes[2..]);
/// assert_eq!(decoder.next_frame().unwrap().unwrap().head, head);
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl Decoder {
    /// A decoder that refuses frames of more than `frame_bytes_max` bytes.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max }
    }

    /// Changes the limit for frames whose length has not been read yet.
    pub fn set_limit(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Adds bytes that arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True between two frames, false inside one.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes that arrived and are not taken as frames yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole frame, or `None` until more bytes arrive.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((length, prefix)) = read_length(&self.buffer)? else { return Ok(None) };
        if length > self.frame_bytes_max {
            return Err(FrameError::TooLarge);
        }
        if self.buffer.len() < prefix + length {
            return Ok(None);
        }
        self.buffer.advance(prefix);
        parse(self.buffer.split_to(length).freeze()).map(Some)
    }
}

/// Reads one frame without its length prefix.
fn parse(mut bytes: Bytes) -> Result<Frame, FrameError> {
    let (head, rest) = postcard::take_from_bytes::<Head>(&bytes).map_err(|_| FrameError::Malformed)?;
    let head_bytes = bytes.len() - rest.len();
    bytes.advance(head_bytes);
    Ok(Frame { head, body: bytes })
}

fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0;
    for (i, byte) in bytes.iter().enumerate() {
        if i == LENGTH_BYTES_MAX {
            return Err(FrameError::TooLarge);
        }
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let minimal = i == 0 || *byte != 0;
            return if minimal { Ok(Some((length, i + 1))) } else { Err(FrameError::Malformed) };
        }
    }
    if bytes.len() == LENGTH_BYTES_MAX { Err(FrameError::TooLarge) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(request_id: u32) -> Bytes {
        encode(&Head::Request { request_id, opcode: Opcode(0x0103) }, &())
    }

    #[test]
    fn frames_come_out_whole_whatever_the_pieces() {
        let mut stream = Vec::new();
        for id in 1..=300 {
            stream.extend_from_slice(&ping(id));
        }
        for piece in [1, 2, 3, 7, 1000] {
            let mut decoder = Decoder::new(64);
            let mut ids = Vec::new();
            for chunk in stream.chunks(piece) {
                decoder.extend(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    let Head::Request { request_id, .. } = frame.head else { panic!("not a request") };
                    ids.push(request_id);
                }
            }
            assert_eq!(ids, (1..=300).collect::<Vec<_>>(), "pieces of {piece}");
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn a_long_body_has_a_longer_prefix() {
        for size in [0, 1, 120, 130, 20_000, 200_000] {
            let head = Head::Event { kind: Kind(7) };
            let bytes = encode_raw(&head, &vec![9; size]);
            let mut decoder = Decoder::new(1 << 20);
            decoder.extend(&bytes);
            let frame = decoder.next_frame().unwrap().unwrap();
            assert_eq!((frame.head, frame.body.len()), (head, size));
        }
    }

    #[test]
    fn the_length_is_refused_before_the_body_arrives() {
        for (bytes, expected) in [
            (&[0x81, 0x01][..], Err(FrameError::TooLarge)),
            (&[0xff, 0xff, 0xff, 0xff], Err(FrameError::TooLarge)),
            (&[0xff, 0xff, 0xff], Ok(None)),
            (&[0x80, 0x00], Err(FrameError::Malformed)),
            (&[0x00], Err(FrameError::Malformed)),
            (&[0x01, 0x09], Err(FrameError::Malformed)),
            (&[], Ok(None)),
        ] {
            let mut decoder = Decoder::new(128);
            decoder.extend(bytes);
            assert_eq!(decoder.next_frame(), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_body_with_bytes_left_over_is_malformed() {
        assert_eq!(decode::<u8>(&[1]), Ok(1));
        assert_eq!(decode::<u8>(&[1, 2]), Err(Malformed));
        assert_eq!(decode::<u8>(&[]), Err(Malformed));
    }
}
