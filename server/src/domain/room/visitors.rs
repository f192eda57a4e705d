//! Those in a room who are nobody: counted, not listed, and told of by no event.

use quail_protocol::{
    Code, Timestamp,
    id::{SessionId, UserId},
};

use super::{Came, Newcomer, Room};

/// Who asks for something in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A user.
    User(UserId),
    /// A visitor, who is known by the session.
    Visitor(SessionId),
}

impl Asker {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Visitor(_) => None,
        }
    }
}

impl Room {
    /// Lets a visitor in. False if they were in. They keep no room alive, and take no place of a member.
    pub fn visit(&mut self, session: SessionId) -> bool {
        self.visitors.insert(session)
    }

    /// Makes a member of a visitor who has logged in: with the same session, and told of as whoever comes in.
    pub fn promote(&mut self, newcomer: Newcomer, now: Timestamp) -> Result<Came, Code> {
        let session = newcomer.session;
        let came = self.enter(newcomer, now)?;
        self.depart(session);
        Ok(came)
    }

    /// Lets a visitor out. False if the session is no visitor's who is in it.
    pub(super) fn depart(&mut self, session: SessionId) -> bool {
        self.visitors.remove(&session)
    }

    /// Whether whoever asks is in the room.
    pub fn is_in(&self, asker: &Asker) -> Result<(), Code> {
        let is_in = match asker {
            Asker::User(user) => self.members.contains_key(user),
            Asker::Visitor(session) => self.visitors.contains(session),
        };
        if is_in { Ok(()) } else { Err(Code::NotInRoom) }
    }
}
