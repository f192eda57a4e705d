//! Which messages are fit to be placed, and which may be taken back.

use std::time::Duration;

use quail_protocol::{
    Code, Conversation, Timestamp,
    id::{ClientMessageId, UserId},
    limits::{
        COMMAND_BYTES_MAX, CUSTOM_BYTES_MAX, DEDUP_WINDOW_MS, ID_AHEAD_MS, MEDIA_BYTES_MAX,
        ROOM_DEDUP_WINDOW_MS, SIGNAL_BYTES_MAX, TEXT_BYTES_MAX,
    },
    message::{Content, Custom, Location, Message, MessageKind, Payload, SizeClass, Text, Voice},
};

/// Bytes that bodies may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The text of a text message.
    pub text: usize,
    /// The body of an image or a voice message.
    pub media: usize,
    /// The body of a custom message and of the other structured kinds.
    pub custom: usize,
    /// The body of a command.
    pub command: usize,
    /// The body of a barrage.
    pub barrage: usize,
    /// The body of a signal.
    pub signal: usize,
}

impl Sizes {
    /// The largest that the wire carries.
    pub const MAX: Self = Self {
        text: TEXT_BYTES_MAX,
        media: MEDIA_BYTES_MAX,
        custom: CUSTOM_BYTES_MAX,
        command: COMMAND_BYTES_MAX,
        barrage: COMMAND_BYTES_MAX,
        signal: SIGNAL_BYTES_MAX,
    };

    /// The most bytes that the body of a message of this class may have.
    fn body_max(&self, class: SizeClass) -> usize {
        match class {
            SizeClass::Text => self.text + TEXT_PREFIX_BYTES_MAX,
            SizeClass::Media => self.media,
            SizeClass::Custom => self.custom,
            SizeClass::Command => self.command,
            SizeClass::Barrage => self.barrage,
        }
    }
}

/// Room for the length prefix of a text inside its body.
const TEXT_PREFIX_BYTES_MAX: usize = 3;

/// Checks what a message says against the rules of its kind.
pub fn check_content(content: &Content, conversation: &Conversation, sizes: &Sizes) -> Result<(), Code> {
    let kind = content.kind;
    if kind == MessageKind::Barrage && !matches!(conversation, Conversation::Room(_)) {
        return Err(Code::MessageKindRefused);
    }
    if content.body.len() > sizes.body_max(kind.size_class()) {
        return Err(Code::MessageTooLarge);
    }
    if kind.is_never_kept() && content.options.persist {
        return Err(Code::InvalidArgument);
    }
    match Payload::decode(kind, &content.body).map_err(|_| Code::Malformed)? {
        Payload::Text(Text { text }) if text.len() > sizes.text => Err(Code::MessageTooLarge),
        payload if says_something(&payload) => Ok(()),
        _ => Err(Code::InvalidArgument),
    }
}

/// False for a body that is well formed and means nothing.
fn says_something(payload: &Payload) -> bool {
    match payload {
        Payload::Text(Text { text }) => !text.is_empty(),
        Payload::Voice(Voice { clip, url, .. }) => !clip.is_empty() || !url.as_str().is_empty(),
        Payload::Custom(Custom { type_name, .. }) => !type_name.as_str().is_empty(),
        Payload::Location(Location { latitude_e7, longitude_e7, .. }) => {
            (-900_000_000..=900_000_000).contains(latitude_e7)
                && (-1_800_000_000..=1_800_000_000).contains(longitude_e7)
        }
        _ => true,
    }
}

/// The same for a message to a room, which remembers for a shorter time.
pub fn check_id_in_room(id: ClientMessageId, now: Timestamp) -> Result<(), Code> {
    is_of_the_last(ROOM_DEDUP_WINDOW_MS, id, now)
}

fn is_of_the_last(window_ms: u64, id: ClientMessageId, now: Timestamp) -> Result<(), Code> {
    let oldest = now.0.saturating_sub(window_ms);
    if (oldest..=now.0 + ID_AHEAD_MS).contains(&id.unix_ms()) { Ok(()) } else { Err(Code::MessageIdStale) }
}

/// Whether `user` may take `message` back `now`: true if it is to be done, false if it was done before.
pub fn may_recall(message: &Message, user: &UserId, now: Timestamp, window: Duration) -> Result<bool, Code> {
    if message.sender != *user {
        return Err(Code::NotSender);
    }
    if message.recall.is_some() {
        return Ok(false);
    }
    let age = Duration::from_millis(now.0.saturating_sub(message.time.0));
    if age > window { Err(Code::RecallTooLate) } else { Ok(true) }
}

/// Checks that an id is of the time in which duplicates are remembered. One that is older could have been placed and
/// forgotten; one far ahead would be remembered for ever.
pub fn check_id(id: ClientMessageId, now: Timestamp) -> Result<(), Code> {
    is_of_the_last(DEDUP_WINDOW_MS, id, now)
}

#[cfg(test)]
mod tests {
    use quail_protocol::{
        Epoch, Position, Priority, Rev, Seq,
        bounded::Blob,
        id::{MessageId, RoomId},
        message::{Barrage, Body, Command, Image, MessageBody, RecallNote, Url},
    };

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn an_id_is_good_for_the_time_that_duplicates_are_remembered() {
        for (unix_ms, expected) in [
            (NOW, Ok(())),
            (NOW - DEDUP_WINDOW_MS, Ok(())),
            (NOW - DEDUP_WINDOW_MS - 1, Err(Code::MessageIdStale)),
            (NOW + ID_AHEAD_MS, Ok(())),
            (NOW + ID_AHEAD_MS + 1, Err(Code::MessageIdStale)),
            (0, Err(Code::MessageIdStale)),
        ] {
            let id = ClientMessageId::at(unix_ms, [0; 10]);
            assert_eq!(check_id(id, Timestamp(NOW)), expected, "{unix_ms}");
        }
    }

    fn peer() -> Conversation {
        Conversation::Peer(UserId::new("bob").unwrap())
    }

    fn raw(kind: MessageKind, body: Vec<u8>) -> Content {
        Content::new(kind, Body::new(body).unwrap())
    }

    fn content(body: &impl MessageBody) -> Content {
        body.to_content().unwrap()
    }

    fn text(text: String) -> Content {
        content(&Text { text })
    }

    #[test]
    fn a_text_is_utf8_not_empty_and_at_most_32_kib() {
        let kind = MessageKind::Text;
        for (name, content, expected) in [
            ("short", text("hi".into()), Ok(())),
            ("largest", text("x".repeat(TEXT_BYTES_MAX)), Ok(())),
            ("one more", text("x".repeat(TEXT_BYTES_MAX + 1)), Err(Code::MessageTooLarge)),
            ("huge", text("x".repeat(100_000)), Err(Code::MessageTooLarge)),
            ("empty", text(String::new()), Err(Code::InvalidArgument)),
            ("no length", raw(kind, vec![]), Err(Code::Malformed)),
            ("not utf-8", raw(kind, vec![1, 0xff]), Err(Code::Malformed)),
            ("bytes left over", raw(kind, vec![1, b'x', 0]), Err(Code::Malformed)),
        ] {
            assert_eq!(check_content(&content, &peer(), &Sizes::MAX), expected, "{name}");
        }
        let sizes = Sizes { text: 2, ..Sizes::MAX };
        assert_eq!(check_content(&text("abc".into()), &peer(), &sizes), Err(Code::MessageTooLarge));
    }

    #[test]
    fn each_kind_has_its_rules() {
        let image = |bytes| Image {
            thumbnail: Blob::new(vec![0; bytes]).unwrap(),
            url: Url::default(),
            width: 0,
            height: 0,
            size: 0,
        };
        let voice = |url| Voice {
            codec: Default::default(),
            seconds: 1,
            clip: Blob::default(),
            url: Url::new(url).unwrap(),
        };
        let location = |latitude_e7, longitude_e7| Location {
            latitude_e7,
            longitude_e7,
            title: Default::default(),
            thumbnail: Blob::default(),
        };
        let custom = |type_name| Custom {
            type_name: quail_protocol::bounded::Text::new(type_name).unwrap(),
            subtype: 1,
            data: Blob::default(),
        };
        let command = || Command { name: Default::default(), data: Blob::default() };
        let mut kept = content(&command());
        kept.options.persist = true;
        let unknown = MessageKind::Unknown(9999);
        let large = |kind, bytes| raw(kind, vec![0; bytes]);
        let barrage = content(&Barrage { text: Default::default() });
        for (name, content, expected) in [
            ("image", content(&image(100_000)), Ok(())),
            ("image beyond", large(MessageKind::Image, MEDIA_BYTES_MAX + 1), Err(Code::MessageTooLarge)),
            ("voice by url", content(&voice("https://example.org/v")), Ok(())),
            ("voice of nothing", content(&voice("")), Err(Code::InvalidArgument)),
            ("pole", content(&location(-900_000_000, 1_800_000_000)), Ok(())),
            ("too far north", content(&location(900_000_001, 0)), Err(Code::InvalidArgument)),
            ("too far west", content(&location(0, -1_800_000_001)), Err(Code::InvalidArgument)),
            ("custom", content(&custom("quiz")), Ok(())),
            ("custom without a name", content(&custom("")), Err(Code::InvalidArgument)),
            ("custom beyond", large(MessageKind::Custom, CUSTOM_BYTES_MAX + 1), Err(Code::MessageTooLarge)),
            ("command", content(&command()), Ok(())),
            ("command to keep", kept, Err(Code::InvalidArgument)),
            (
                "command beyond",
                large(MessageKind::Command, COMMAND_BYTES_MAX + 1),
                Err(Code::MessageTooLarge),
            ),
            ("barrage to a peer", barrage.clone(), Err(Code::MessageKindRefused)),
            ("of a later build", large(unknown, 7), Ok(())),
            ("of a later build, beyond", large(unknown, CUSTOM_BYTES_MAX + 1), Err(Code::MessageTooLarge)),
            ("not what it says", raw(MessageKind::File, vec![9]), Err(Code::Malformed)),
        ] {
            assert_eq!(check_content(&content, &peer(), &Sizes::MAX), expected, "{name}");
        }
        let room = Conversation::Room(RoomId::new("r").unwrap());
        assert_eq!(check_content(&barrage, &room, &Sizes::MAX), Ok(()));
    }

    #[test]
    fn a_message_is_recalled_by_its_sender_and_for_a_while() {
        let user = |id| UserId::new(id).unwrap();
        let window = Duration::from_secs(120);
        for (name, by, age_ms, recalled, expected) in [
            ("at once", "alice", 0, false, Ok(true)),
            ("at the end", "alice", 120_000, false, Ok(true)),
            ("too late", "alice", 120_001, false, Err(Code::RecallTooLate)),
            ("by another", "bob", 0, false, Err(Code::NotSender)),
            ("again", "alice", 0, true, Ok(false)),
            ("again, much later", "alice", 999_999, true, Ok(false)),
            ("again by another", "bob", 0, true, Err(Code::NotSender)),
        ] {
            let note = RecallNote { operator: user("alice"), time: Timestamp(NOW) };
            let message = Message {
                id: MessageId([0; 16]),
                client_id: ClientMessageId([0; 16]),
                conversation: peer(),
                sender: user("alice"),
                member: None,
                position: Position { epoch: Epoch(1), seq: Seq(1) },
                prev: Seq(0),
                ordinal: 1,
                rev: Rev(0),
                recall: recalled.then_some(note),
                priority: Priority::Normal,
                time: Timestamp(NOW - age_ms),
                content: text("x".into()),
            };
            assert_eq!(may_recall(&message, &user(by), Timestamp(NOW), window), expected, "{name}");
        }
    }
}
