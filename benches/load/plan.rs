//! The messages that committer and bare engine write alike: in which batches, and which in which.

use std::ops::Range;

use quail_protocol::{
    Conversation, Priority, Timestamp,
    bounded::TooLong,
    id::{AppId, ClientMessageId, InvalidId, MessageId, UserId},
    message::{Content, MessageKind, Text},
};
use quail_server::store::{Append, ConversationKey};
use serde::{Deserialize, Serialize};

use crate::{
    body,
    clients::{APP, user},
};

/// See the module. Message `i` goes to conversation `i` modulo their number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Messages in each batch.
    pub(crate) batches: Vec<u32>,
    /// Pairs of users who write to each other.
    pub(crate) conversations: u32,
    /// Bytes of a text.
    pub(crate) bytes: u32,
}

/// A message that cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Impossible {
    /// A name.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A body.
    #[error(transparent)]
    Body(#[from] TooLong),
}

impl Plan {
    /// The batches that a server made, as far as they hold at most `messages_max` together.
    pub(crate) fn new(recorded: &[u32], conversations: u32, bytes: u32, messages_max: u64) -> Self {
        let mut left = messages_max;
        let fits = |size: &&u32| {
            let fits = u64::from(**size) <= left;
            left = left.saturating_sub(u64::from(**size));
            fits
        };
        Self { batches: recorded.iter().take_while(fits).copied().collect(), conversations, bytes }
    }

    /// Messages in all.
    pub(crate) fn messages(&self) -> u64 {
        self.batches.iter().copied().map(u64::from).sum()
    }

    /// The messages of each batch.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.batches.iter().scan(0, |next, size| {
            let first = *next;
            *next += u64::from(*size);
            Some(first..*next)
        })
    }

    /// The conversation of a message, and its number there.
    pub(crate) fn place(&self, message: u64) -> (u64, u64) {
        let conversations = u64::from(self.conversations);
        (message % conversations, message / conversations + 1)
    }

    /// What the committer is asked to place as message `number`, made at `time`.
    pub(crate) fn append(&self, number: u64, time: Timestamp) -> Result<Append, Impossible> {
        let (conversation, seq) = self.place(number);
        let low = UserId::new(user(conversation as u32 * 2))?;
        let high = UserId::new(user(conversation as u32 * 2 + 1))?;
        // Both write in turn.
        let (sender, other) = if seq % 2 == 0 { (low, high) } else { (high, low) };
        let mut random = [0; 10];
        random[2..].copy_from_slice(&(number & 0x00ff_ffff_ffff_ffff).to_be_bytes());
        let text = body::write(number, std::time::Duration::ZERO, self.bytes as usize);
        Ok(Append {
            key: ConversationKey::peer(&AppId::new(APP)?, &sender, &other),
            conversation: Conversation::Peer(other),
            sender,
            member: None,
            id: MessageId::at(time.0, random),
            client_id: ClientMessageId::at(time.0, random),
            time,
            asked: Priority::Normal,
            priority: Priority::Normal,
            content: Content::new(MessageKind::Text, Text::encode(text)?),
            known: None,
            keep: None,
        })
    }

    /// The number of the message whose client id this is.
    pub(crate) fn number_of(client_id: [u8; 16]) -> u64 {
        let [_, _, _, _, _, _, _, _, _, number @ ..] = client_id;
        let mut bytes = [0; 8];
        bytes[1..].copy_from_slice(&number);
        u64::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_its_id() {
        let plan = Plan::new(&[3, 1, 2, 9], 2, 64, 7);
        assert_eq!((plan.batches.len(), plan.messages()), (3, 6));
        assert_eq!(plan.ranges().collect::<Vec<_>>(), [0..3, 3..4, 4..6]);
        assert_eq!([plan.place(0), plan.place(1), plan.place(5)], [(0, 1), (1, 1), (1, 3)]);
        for number in [0, 1, 5, 1_000_000] {
            let append = plan.append(number, Timestamp(1_800_000_000_000)).unwrap();
            assert_eq!(Plan::number_of(append.client_id.0), number);
        }
    }
}
