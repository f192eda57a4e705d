//! Taking back a placed message.

use std::time::Duration;

use quail_protocol::{
    Code, Position, Rev, Timestamp,
    id::UserId,
    message::{Changed, Message, RecallNote, Recalled},
};

use super::{ConversationKey, Head, entry::Entry};
use crate::domain::message::may_recall;

/// A message that somebody wants to take back.
#[derive(Clone, Debug)]
pub struct RecallChange {
    /// Where.
    pub key: ConversationKey,
    /// Which.
    pub position: Position,
    /// Who asks.
    pub user: UserId,
    /// They may because they moderate the sender, at any time; otherwise because they sent it, for a while.
    pub moderates: bool,
    /// How long after its placing it may be done.
    pub window: Duration,
    /// When it was asked for; the committer stamps it again.
    pub time: Timestamp,
}

impl RecallChange {
    /// Whether there can be an entry of that position.
    pub(super) fn check(&self, head: &Head) -> Result<(), Code> {
        if self.position.epoch != head.position.epoch {
            return Err(Code::EpochMismatch);
        }
        let kept = head.first..=head.position.seq;
        if kept.contains(&self.position.seq) { Ok(()) } else { Err(Code::MessageNotFound) }
    }

    /// Takes the message back, if that may be, as the next change of `head`.
    pub(super) fn apply(&self, entry: &mut Entry, head: &mut Head) -> Result<RecallKept, Code> {
        let message = &mut entry.message;
        let prev = head.rev;
        let changed = if self.moderates {
            message.recall.is_none()
        } else {
            may_recall(message, &self.user, self.time, self.window)?
        };
        if changed {
            head.rev = prev.next();
            message.rev = head.rev;
            message.recall = Some(RecallNote { operator: self.user.clone(), time: self.time });
            message.content = message.content.clone().recalled();
        }
        Ok(RecallKept { message: message.clone(), prev, head: head.position, changed })
    }
}

/// A message after a [`RecallChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallKept {
    /// What is left of it.
    pub message: Message,
    /// The number of the change before.
    pub prev: Rev,
    /// The conversation's newest position then.
    pub head: Position,
    /// False if it was recalled before.
    pub changed: bool,
}

impl RecallKept {
    /// What who asked is answered.
    pub fn reply(&self) -> Recalled {
        let time = self.message.recall.as_ref().map_or(self.message.time, |note| note.time);
        Recalled { rev: self.message.rev, time }
    }

    /// What the others are told.
    pub fn event(self) -> Changed {
        Changed { prev: self.prev, message: self.message }
    }
}
