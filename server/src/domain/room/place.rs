//! Messages of a room: who may send, what gets a place.

use std::time::{Duration, Instant};

use quail_protocol::{
    Code, Conversation, Position, Priority, Timestamp,
    id::{ClientMessageId, MessageId, UserId},
    message::{Content, Message, SenderNote},
};

use super::{
    Occupant, Place, Room,
    rights::{Right, may},
};

/// How many urgent messages a second a member may send who is neither owner nor admin; more are lowered.
const URGENT_PER_SECOND: u32 = 2;

/// A message that is to be placed.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Who sends.
    pub user: UserId,
    /// The server's name for it.
    pub id: MessageId,
    /// The sender's name for it.
    pub client_id: ClientMessageId,
    /// How urgent it is to be.
    pub priority: Priority,
    /// What it says.
    pub content: Content,
    /// What a repetition must have in common with it.
    pub hash: u64,
}

/// What became of a [`Sending`].
#[expect(clippy::large_enum_variant, reason = "nearly all are new; a box would be an allocation for each")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It has its place.
    Message(Message),
    /// It had its place already.
    Before(Place),
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub code: Code,
    /// When it may pass.
    pub wait: Option<Duration>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, wait: None }
    }
}

impl Occupant {
    /// The priority that they get of the one they ask for.
    fn granted(&mut self, priority: Priority, now: Instant) -> Priority {
        let is_bounded = priority == Priority::High && !may(self.member.role, Right::Urge);
        if is_bounded && self.urgent.draw(URGENT_PER_SECOND, now).is_err() {
            Priority::Normal
        } else {
            priority
        }
    }
}

impl Room {
    /// Gives a message the next place, or says why it gets none. A repetition is recognised before anything else is
    /// asked.
    pub fn place(&mut self, sending: Sending, time: Timestamp, now: Instant) -> Result<Placed, Refused> {
        let Sending { user, id, client_id, priority, content, hash } = sending;
        if let Some(before) = self.repeats.find(&user, client_id, hash)? {
            return Ok(Placed::Before(before));
        }
        let (priority, note) = self.admit(&user, priority, time, now)?;
        self.head.seq = self.head.seq.next();
        let last = &mut self.last_by_priority[priority.index()];
        let prev = std::mem::replace(last, self.head.seq);
        let message = Message {
            id,
            client_id,
            conversation: Conversation::Room(self.id.clone()),
            sender: user.clone(),
            member: note,
            position: self.head,
            prev,
            ordinal: self.head.seq.0,
            rev: self.rev,
            recall: None,
            priority,
            time,
            content,
        };
        self.ring.push(message.clone());
        self.repeats.remember(user, client_id, hash, Place::of(&message));
        Ok(Placed::Message(message))
    }

    /// Whether `user` may have a message told now; the priority that it gets, and what everybody is to see of them.
    pub fn admit(
        &mut self,
        user: &UserId,
        priority: Priority,
        time: Timestamp,
        now: Instant,
    ) -> Result<(Priority, Option<SenderNote>), Refused> {
        let role = self.role(user).ok_or(Code::NotInRoom)?;
        self.may_speak(user, role, time)?;
        let occupant = self.members.get_mut(user).ok_or(Code::NotInRoom)?;
        let priority = occupant.granted(priority, now);
        let refused = |wait| Refused { code: Code::RoomThrottled, wait: Some(wait) };
        self.budget.draw(priority, now).map_err(refused)?;
        let note = (!self.settings.omit_notes).then(|| occupant.note());
        Ok((priority, note))
    }

    /// Whether `user` may have a message told that gets no place; what it follows, and what everybody is to see of them.
    pub fn pass(
        &mut self,
        user: &UserId,
        priority: Priority,
        time: Timestamp,
        now: Instant,
    ) -> Result<(Position, Option<SenderNote>, Priority), Refused> {
        let (priority, note) = self.admit(user, priority, time, now)?;
        Ok((self.head, note, priority))
    }

    /// Where a message was placed before; an error if its id was used for another.
    pub fn placed_before(&self, sending: &Sending) -> Result<Option<Place>, Code> {
        self.repeats.find(&sending.user, sending.client_id, sending.hash)
    }
}
