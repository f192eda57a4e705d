//! Changes to messages that have their place.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Message;
use crate::{
    bounded::List,
    conversation::Conversation,
    id::UserId,
    limits::HISTORY_ENTRIES_MAX,
    position::{Position, Rev},
    time::Timestamp,
};

/// Take a message back: nothing is left of it but its place. ZIM's `revokeMessage`. Only its sender may, and only for a
/// while, [`crate::session::Limits::recall_window_ms`]; in a room its owner and admins may as well, and at any time, if they
/// may moderate the sender. A message that was recalled is recalled again with the same result.
///
/// Rejects: `RateLimited`, `MessageNotFound`, `NotSender`, `RecallTooLate`, `EpochMismatch`, `NotInRoom`, `RightMissing`,
/// `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Recall {
    /// Where.
    pub conversation: Conversation,
    /// Which.
    pub position: Position,
}

/// The message is recalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Recalled {
    /// The number of the change in the conversation.
    pub rev: Rev,
    /// When it was made.
    pub time: Timestamp,
}

/// That a message was recalled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RecallNote {
    /// By whom.
    pub operator: UserId,
    /// When.
    pub time: Timestamp,
}

/// Read what changed in a conversation, in the order of the changes. A message that changed twice comes once, as it is
/// now.
///
/// Rejects: `RateLimited`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Changes {
    /// Where.
    pub conversation: Conversation,
    /// The number of the last change that is known; 0 reads from the first.
    pub since: Rev,
    /// At most this many messages, 1 to 100.
    pub limit: u16,
}

/// Messages as they are now, in the order of their changes. Of those that are no longer kept nothing is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ChangesPage {
    /// The conversation's newest position; in another epoch, numbers of changes that are known mean nothing any more.
    pub head: Position,
    /// Changes up to here are in this page and those before it; the `since` of the next.
    pub rev: Rev,
    /// The messages, fewer than asked for if a frame could not hold them.
    pub messages: List<Message, HISTORY_ENTRIES_MAX>,
    /// True if changes are left.
    pub more: bool,
}

/// A message was changed after it had its place. Told on the lane of the message, so that it never overtakes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Changed {
    /// The number of the conversation's change before this one. If it is above the last that is known, changes are
    /// missing.
    pub prev: Rev,
    /// The message as it is now; its `rev` is the number of this change.
    pub message: Message,
}
