//! Messages that are taken back: by their senders for a while, by those who may moderate their senders at any time.

use std::time::Duration;

use quail_protocol::{
    Code, Position, Rev, Timestamp,
    id::UserId,
    message::{Changed, Message, RecallNote, Recalled},
};

use super::{
    Room,
    rights::{Right, may, outranks},
};
use crate::domain::message::may_recall;

impl Room {
    /// Takes a message back; `None` if that was done before.
    pub fn recall(
        &mut self,
        by: &UserId,
        position: Position,
        window: Duration,
        now: Timestamp,
    ) -> Result<(Recalled, Option<Changed>), Code> {
        self.role(by).ok_or(Code::NotInRoom)?;
        if position.epoch != self.head.epoch {
            return Err(Code::EpochMismatch);
        }
        let message = self.ring.get(position.seq).ok_or(Code::MessageNotFound)?;
        let is_news = if self.moderates(by, &message.sender)? {
            message.recall.is_none()
        } else {
            may_recall(message, by, now, window)?
        };
        if !is_news {
            return Ok((recalled(message), None));
        }
        let (prev, note) = (self.rev, RecallNote { operator: by.clone(), time: now });
        let message = self.ring.recall(position.seq, prev.next(), note).ok_or(Code::MessageNotFound)?;
        self.rev = prev.next();
        Ok((recalled(&message), Some(Changed { prev, message })))
    }

    /// True if `by` may take back what `sender` says because they moderate them, false if only what they say themself. An
    /// error if they moderate others.
    pub fn moderates(&self, by: &UserId, sender: &UserId) -> Result<bool, Code> {
        let role = self.role(by).ok_or(Code::NotInRoom)?;
        let moderates = sender != by && may(role, Right::Moderate);
        if moderates && !outranks(role, self.standing(sender)) {
            return Err(Code::RightMissing);
        }
        Ok(moderates)
    }

    /// The number of its newest change of a message.
    pub fn rev(&self) -> Rev {
        self.rev
    }
}

fn recalled(message: &Message) -> Recalled {
    let time = message.recall.as_ref().map_or(message.time, |note| note.time);
    Recalled { rev: message.rev, time }
}
