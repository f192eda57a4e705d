//! Which messages are fit to be placed.

use quail_protocol::{
    Code, Timestamp,
    id::ClientMessageId,
    limits::{DEDUP_WINDOW_MS, ID_AHEAD_MS, TEXT_BYTES_MAX},
    message::{Body, MessageKind, Text},
};

/// Room for the length prefix of a text inside its body.
const TEXT_PREFIX_BYTES_MAX: usize = 3;

/// Checks a body against the rules of its kind.
pub fn check_body(kind: MessageKind, body: &Body) -> Result<(), Code> {
    match kind {
        MessageKind::Text => {
            if body.len() > TEXT_BYTES_MAX + TEXT_PREFIX_BYTES_MAX {
                return Err(Code::MessageTooLarge);
            }
            let text = Text::decode(body).map_err(|_| Code::Malformed)?.text;
            match text.len() {
                0 => Err(Code::InvalidArgument),
                bytes if bytes > TEXT_BYTES_MAX => Err(Code::MessageTooLarge),
                _ => Ok(()),
            }
        }
        MessageKind::Unknown(_) => Err(Code::MessageKindRefused),
    }
}

/// Checks that an id is of the time in which duplicates are remembered. One that is older could have been placed and
/// forgotten; one far ahead would be remembered for ever.
pub fn check_id(id: ClientMessageId, now: Timestamp) -> Result<(), Code> {
    let oldest = now.0.saturating_sub(DEDUP_WINDOW_MS);
    if (oldest..=now.0 + ID_AHEAD_MS).contains(&id.unix_ms()) { Ok(()) } else { Err(Code::MessageIdStale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_good_for_the_time_that_duplicates_are_remembered() {
        const NOW: u64 = 1_800_000_000_000;
        for (unix_ms, expected) in [
            (NOW, Ok(())),
            (NOW - DEDUP_WINDOW_MS, Ok(())),
            (NOW - DEDUP_WINDOW_MS - 1, Err(Code::MessageIdStale)),
            (NOW + ID_AHEAD_MS, Ok(())),
            (NOW + ID_AHEAD_MS + 1, Err(Code::MessageIdStale)),
            (0, Err(Code::MessageIdStale)),
        ] {
            assert_eq!(
                check_id(ClientMessageId::at(unix_ms, [0; 10]), Timestamp(NOW)),
                expected,
                "{unix_ms}"
            );
        }
    }

    #[test]
    fn a_text_is_utf8_not_empty_and_at_most_32_kib() {
        let raw = |bytes: Vec<u8>| Body::new(bytes).unwrap();
        let text = |text: String| raw([postcard_length(text.len()), text.into_bytes()].concat());
        for (name, kind, body, expected) in [
            ("short", MessageKind::Text, text("hi".into()), Ok(())),
            ("largest", MessageKind::Text, text("x".repeat(TEXT_BYTES_MAX)), Ok(())),
            ("one more", MessageKind::Text, text("x".repeat(TEXT_BYTES_MAX + 1)), Err(Code::MessageTooLarge)),
            ("huge", MessageKind::Text, text("x".repeat(100_000)), Err(Code::MessageTooLarge)),
            ("empty", MessageKind::Text, text(String::new()), Err(Code::InvalidArgument)),
            ("no length", MessageKind::Text, raw(vec![]), Err(Code::Malformed)),
            ("not utf-8", MessageKind::Text, raw(vec![1, 0xff]), Err(Code::Malformed)),
            ("bytes left over", MessageKind::Text, raw(vec![1, b'x', 0]), Err(Code::Malformed)),
            ("other kind", MessageKind::Unknown(9), raw(vec![]), Err(Code::MessageKindRefused)),
        ] {
            assert_eq!(check_body(kind, &body), expected, "{name}");
        }
    }

    fn postcard_length(mut length: usize) -> Vec<u8> {
        let mut bytes = vec![];
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes
    }
}
