//! What must hold for any bytes at all. Each target is a function of bytes that panics when it does not; `tests/fuzz`
//! feeds them from libFuzzer, the tests of every day from the corpus beside it and from mutations of that.

mod session;

use quail_protocol::{
    Timestamp,
    event::EVENTS,
    frame::{self, Decoder, Frame, FrameError},
    id::{AppId, UserId},
    limits::FRAME_BYTES_MAX,
    message::KINDS,
    schemas,
};
use quail_server::apps::{self, Key, KeyAlgorithm, Secret};

pub use self::session::session;
use crate::{FAST, KID, SECRET, token::sign_raw};

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 4] =
    [("frames", frames), ("bodies", bodies), ("session", session), ("tokens", tokens)];

/// Two bytes choose limit and pieces, the rest is what arrives.
///
/// Whatever the pieces, the same frames come out and the same error; each frame is within the limit and comes out again
/// when it is encoded anew.
pub fn frames(data: &[u8]) {
    let [limit, pieces, stream @ ..] = data else { return };
    let limit = (usize::from(*limit) * 64).min(FRAME_BYTES_MAX);
    let whole = decode_all(limit, [stream]);
    let piece = usize::from(*pieces % 31) + 1;
    assert_eq!(decode_all(limit, stream.chunks(piece)), whole, "pieces of {piece}");
    for frame in whole.0 {
        let encoded = frame::encode_raw(&frame.head, &frame.body);
        // A head may have been padded, never shortened.
        assert!(encoded.len() <= limit + 4);
        assert_eq!(decode_all(FRAME_BYTES_MAX, [&encoded[..]]), (vec![frame], None));
    }
}

fn decode_all<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(limit);
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.extend(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(decoder.buffered() <= limit + 4, "no more than a begun frame is kept");
        assert_eq!(decoder.buffered() == 0, decoder.is_between_frames());
    }
    (frames, None)
}

/// One byte chooses request, reply, event or the body of a message, two its number, the rest is its body.
///
/// A body that can be read reads the same after it was written anew, and is then written as it was.
pub fn bodies(data: &[u8]) {
    let [which, high, low, body @ ..] = data else { return };
    let number = u16::from_be_bytes([*high, *low]);
    let normalize = if which % 4 == 3 {
        let known = KINDS.iter().find(|schema| schema.kind.number() == number);
        known.or(KINDS.get(usize::from(number) % KINDS.len())).expect("there are kinds").normalize
    } else if which % 4 == 2 {
        let known = EVENTS.iter().find(|event| event.kind.0 == number);
        known.or(EVENTS.get(usize::from(number) % EVENTS.len())).expect("there are events").normalize
    } else {
        let known = schemas().find(|schemas| schemas.info.opcode.0 == number);
        let schemas = known.or_else(|| schemas().nth(usize::from(number) % schemas().count()));
        let schemas = schemas.expect("there are operations");
        let is_request = which % 4 == 0;
        let lane = (schemas.lane)(body);
        assert_eq!(lane.is_some(), (schemas.normalize_request)(body).is_some(), "{}", schemas.info.name);
        if is_request { schemas.normalize_request } else { schemas.normalize_reply }
    };
    let Some(written) = normalize(body) else { return };
    assert!(written.len() <= body.len(), "what is written is the shortest form");
    assert_eq!(normalize(&written), Some(written));
}

/// A line with a header, the rest are claims; signed with the right key.
///
/// No token is good that has expired, and what is not JSON is not good at all.
pub fn tokens(data: &[u8]) {
    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    let text = String::from_utf8_lossy(data);
    let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
    let key = Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new(SECRET) };
    let config = apps::Config { keys: [(KID.into(), key)].into(), ..apps::Config::default() };
    let (app, user) = (AppId::new(FAST).expect("an id"), UserId::new("alice").expect("an id"));
    let verify = |token: &str| apps::verify(&app, &config, &user, token, NOW);
    assert!(verify(&text).is_err(), "nobody signed that");
    if let Ok(expires) = verify(&sign_raw(header, claims)) {
        assert!(expires > NOW && expires.0 <= NOW.0 + 8 * 24 * 3600 * 1000, "{header} {claims}");
    }
}
