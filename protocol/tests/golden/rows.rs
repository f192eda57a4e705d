//! What must have a vector, how the vector is made, and what it must stand up to.

use postcard_schema::Schema;
use quail_protocol::{
    Close, Code, Lane, Reject,
    event::{EVENTS, Event, EventSchema},
    frame::{self, Decoder, Frame, FrameError, Head, Outcome},
    limits::FRAME_BYTES_MAX,
    message::{Body, KINDS, KindSchema, Payload, Signal},
    operation::Schemas,
    schemas,
};

use crate::sample::sample;

/// A line of a vector file.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: String,
}

/// A row of one of the protocol's tables.
#[derive(Clone, Copy)]
pub(crate) enum Row {
    Request(&'static Schemas),
    Reply(&'static Schemas),
    Event(&'static EventSchema),
    Kind(&'static KindSchema),
    Signal,
    Reject(Code),
    Close(Close),
    Lane(Lane),
}

/// Every row, in the order of the tables.
pub(crate) fn rows() -> Vec<Row> {
    let operations = schemas().flat_map(|schemas| [Row::Request(schemas), Row::Reply(schemas)]);
    operations
        .chain(EVENTS.iter().map(Row::Event))
        .chain(KINDS.iter().map(Row::Kind))
        .chain([Row::Signal])
        .chain(Code::ALL.iter().copied().map(Row::Reject))
        .chain(Close::ALL.iter().copied().map(Row::Close))
        .chain(Lane::ALL.map(Row::Lane))
        .collect()
}

impl Row {
    /// The name of its vector; further vectors of the same row append `/` and a word.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Request(schemas) => format!("{}.request", schemas.info.name),
            Self::Reply(schemas) => format!("{}.reply", schemas.info.name),
            Self::Event(schema) => format!("{}.event", schema.name),
            Self::Kind(schema) => format!("kind.{:?}", schema.kind),
            Self::Signal => "message.signal".to_owned(),
            Self::Reject(code) => format!("reject.{code:?}"),
            Self::Close(close) => format!("close.{close:?}"),
            Self::Lane(lane) => format!("lane.{lane:?}").to_lowercase(),
        }
    }

    /// Its vector.
    pub(crate) fn vector(self) -> Vector {
        let (bytes, meaning) = match self {
            Self::Request(schemas) => {
                let (info, body) = (schemas.info, sample(schemas.request));
                let Some(lane) = (schemas.lane)(&body.bytes) else {
                    panic!("{}: invalid sample", self.name())
                };
                let head = Head::Request { request_id: 1, opcode: info.opcode };
                let meaning = format!("{} on {lane:?}, id 1: {}", info.opcode, body.text);
                (frame::encode_raw(&head, &body.bytes).to_vec(), meaning)
            }
            Self::Reply(schemas) => {
                let body = sample(schemas.reply);
                let head = Head::Reply { request_id: 1, outcome: Outcome::Ok };
                (frame::encode_raw(&head, &body.bytes).to_vec(), format!("id 1: {}", body.text))
            }
            Self::Event(schema) => {
                let body = sample(schema.body);
                let head = Head::Event { kind: schema.kind };
                let meaning = format!("0x{:04x}: {}", schema.kind.0, body.text);
                (frame::encode_raw(&head, &body.bytes).to_vec(), meaning)
            }
            Self::Kind(schema) => {
                let body = sample(schema.body);
                (body.bytes, format!("{}: {}", schema.kind.number(), body.text))
            }
            Self::Signal => {
                let body = sample(Signal::SCHEMA);
                (frame::encode_raw(&Head::Signal, &body.bytes).to_vec(), body.text)
            }
            Self::Reject(code) => {
                let head = Head::Reply { request_id: 1, outcome: Outcome::Reject(Reject::from(code)) };
                let meaning = format!("{}, {}: {}", code.number(), code.advice(), code.describe());
                (frame::encode_raw(&head, &[]).to_vec(), meaning)
            }
            Self::Close(close) => {
                let meaning =
                    format!("{}, come back {}: {}", close.number(), close.comes_back(), close.describe());
                (close.number().to_be_bytes().to_vec(), meaning)
            }
            Self::Lane(lane) => (vec![lane.tag()], format!("{lane:?}")),
        };
        Vector { name: self.name(), bytes, meaning }
    }

    /// Holds a vector of this row against the decoders.
    pub(crate) fn verify(self, name: &str, bytes: &[u8]) {
        match self {
            Self::Request(schemas) => {
                let Frame { head, body } = whole_frame(name, bytes);
                assert!(
                    matches!(head, Head::Request { opcode, .. } if opcode == schemas.info.opcode),
                    "{name}: {head:?}"
                );
                verify_body(name, &body, schemas.normalize_request);
            }
            Self::Reply(schemas) => {
                let Frame { head, body } = whole_frame(name, bytes);
                assert!(matches!(head, Head::Reply { outcome: Outcome::Ok, .. }), "{name}: {head:?}");
                verify_body(name, &body, schemas.normalize_reply);
            }
            Self::Event(schema) => {
                let Frame { head, body } = whole_frame(name, bytes);
                assert_eq!(head, Head::Event { kind: schema.kind }, "{name}");
                verify_body(name, &body, schema.normalize);
                let event = Event::decode(schema.kind, body);
                assert!(!matches!(event, Err(_) | Ok(Event::Unknown { .. })), "{name}: {event:?}");
            }
            Self::Kind(schema) => {
                verify_body(name, bytes, schema.normalize);
                let body = Body::new(bytes.to_vec()).unwrap_or_default();
                let payload = Payload::decode(schema.kind, &body);
                assert!(!matches!(payload, Err(_) | Ok(Payload::Unknown { .. })), "{name}: {payload:?}");
            }
            Self::Signal => {
                let Frame { head, body } = whole_frame(name, bytes);
                assert_eq!(head, Head::Signal, "{name}");
                assert!(frame::decode::<Signal>(&body).is_ok(), "{name}");
            }
            Self::Reject(code) => {
                let Frame { head, body } = whole_frame(name, bytes);
                let Head::Reply { outcome: Outcome::Reject(reject), .. } = head else {
                    panic!("{name}: {head:?}")
                };
                assert_eq!((reject.code, body.len()), (code, 0), "{name}");
            }
            Self::Close(close) => {
                let number = bytes.try_into().ok().map(u16::from_be_bytes);
                assert_eq!(number.map(Close::from_number), Some(close), "{name}");
            }
            Self::Lane(lane) => {
                let [tag, frames @ ..] = bytes else { panic!("{name}: no byte") };
                assert_eq!(Lane::from_tag(*tag), Some(lane), "{name}");
                if !frames.is_empty() {
                    whole_frame(name, frames);
                }
            }
        }
    }
}

/// Takes the one frame that `bytes` are, and checks that no part of it is one.
fn whole_frame(name: &str, bytes: &[u8]) -> Frame {
    for end in 0..bytes.len() {
        assert_eq!(first_frame(&bytes[..end]), Ok(None), "{name}: {end} bytes of it");
    }
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.extend(bytes);
    let Ok(Some(frame)) = decoder.next_frame() else { panic!("{name}: not a frame") };
    assert!(decoder.is_between_frames(), "{name}: more than a frame");
    assert_eq!(
        frame::encode_raw(&frame.head, &frame.body),
        bytes,
        "{name}: another encoding of the same frame"
    );

    // A length that lies, so that the head itself is cut short.
    let head = frame::encode_raw(&frame.head, &[]);
    let head_bytes = head.len() - 1;
    for end in 0..head_bytes {
        let mut cut = vec![end as u8];
        cut.extend_from_slice(&head[1..=end]);
        assert_eq!(first_frame(&cut), Err(FrameError::Malformed), "{name}: {end} bytes of its head");
    }
    frame
}

fn first_frame(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.extend(bytes);
    decoder.next_frame()
}

fn verify_body(name: &str, body: &[u8], normalize: fn(&[u8]) -> Option<Vec<u8>>) {
    assert_eq!(normalize(body).as_deref(), Some(body), "{name}: does not decode to itself");
    for end in 0..body.len() {
        assert_eq!(normalize(&body[..end]), None, "{name}: {end} of {} bytes decode", body.len());
    }
    for extra in [0, 1, 0xff] {
        assert_eq!(normalize(&[body, &[extra]].concat()), None, "{name}: decodes with a byte more");
    }
}
