//! Messages as lines.

use quail_protocol::{
    Conversation,
    id::UserId,
    message::{Content, Message, Payload, RecallNote},
};

/// A placed message.
pub(super) fn message(message: &Message, me: &UserId) -> String {
    let place = place(&message.conversation);
    match &message.recall {
        Some(RecallNote { operator, .. }) => {
            format!("{place}{operator} took back message {}", message.position.seq.0)
        }
        None => {
            let author = author(&message.sender, &message.conversation, me);
            format!("{place}{author}: {}", content(&message.content))
        }
    }
}

/// Who says something; one's own words may come from another terminal.
pub(super) fn author(sender: &UserId, conversation: &Conversation, me: &UserId) -> String {
    if sender == me { format!("{me} elsewhere, to {conversation}") } else { sender.to_string() }
}

/// The room in which something is said, before who says it.
pub(super) fn place(conversation: &Conversation) -> String {
    match conversation {
        Conversation::Room(room) => format!("[{room}] "),
        _ => String::new(),
    }
}

/// What a message says.
pub(super) fn content(content: &Content) -> String {
    match Payload::decode(content.kind, &content.body) {
        Ok(payload) => printable(&describe(&payload)),
        Err(_) => "(unreadable)".into(),
    }
}

fn describe(payload: &Payload) -> String {
    let bytes = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
    let degrees = |e7: i32| f64::from(e7) / 1e7;
    match payload {
        Payload::Text(text) => text.text.clone(),
        Payload::Command(command) => format!("(command {} {})", command.name, bytes(&command.data)),
        Payload::Image(image) => format!("(image {}x{} {})", image.width, image.height, image.url),
        Payload::File(file) => format!("(file {} {}, {} bytes)", file.name, file.url, file.size),
        Payload::Voice(voice) => {
            format!(
                "(voice, {} s of {} {}, {} bytes here)",
                voice.seconds,
                voice.codec,
                voice.url,
                voice.clip.len()
            )
        }
        Payload::Video(video) => format!("(video, {} s {})", video.seconds, video.url),
        Payload::Location(place) => {
            format!(
                "(place {:.5} {:.5} {})",
                degrees(place.latitude_e7),
                degrees(place.longitude_e7),
                place.title
            )
        }
        Payload::RichContent(card) => format!("(card {}: {} {})", card.title, card.text, card.url),
        Payload::Barrage(barrage) => format!("(barrage {})", barrage.text),
        Payload::InformationNotice(notice) => format!("(notice: {})", notice.text),
        Payload::DiscussionNotice(notice) => {
            format!("(discussion: {} by {})", notice.operation, notice.operator)
        }
        Payload::ContactNotice(notice) => {
            format!("(contact: {} from {} to {}: {})", notice.operation, notice.from, notice.to, notice.text)
        }
        Payload::ProfileNotice(notice) => format!("(profile: {})", notice.operation),
        Payload::CommandNotice(notice) => {
            format!("(command to keep {} {})", notice.name, bytes(&notice.data))
        }
        Payload::Custom(custom) => {
            format!("({} {}: {})", custom.type_name, custom.subtype, bytes(&custom.data))
        }
        Payload::Unknown { kind, body } => {
            format!("(message of kind {}, {} bytes)", kind.number(), body.len())
        }
    }
}

/// A stranger's text must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use quail_protocol::{
        bounded::Text,
        message::{Body, Command, MessageBody, MessageKind},
    };

    use super::*;

    #[test]
    fn a_message_cannot_send_escape_sequences_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}31m\n"), "a\u{fffd}[2Jb\u{fffd}31m\u{fffd}");
    }

    #[test]
    fn every_message_is_a_line() {
        let command = Command { name: Text::new("dim\n").unwrap(), data: Default::default() };
        assert_eq!(content(&command.to_content().unwrap()), "(command dim\u{fffd} )");
        let unknown = Content::new(MessageKind::Unknown(999), Body::new(vec![1, 2]).unwrap());
        assert_eq!(content(&unknown), "(message of kind 999, 2 bytes)");
        assert_eq!(content(&Content::new(MessageKind::Text, Body::default())), "(unreadable)");
    }
}
