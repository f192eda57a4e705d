//! What only the server knows: it is asked about the room's cursor, which only somebody in the room has an answer to.

use quail_protocol::{
    Code, Event, Position, Reject,
    id::RoomId,
    room::{LeaveCause, RoomLeft, Standing, StandingCause, StandingDetail},
};

use super::{super::ready::Ready, Places};
use crate::outbox::Door;

/// The client may be in a room and may be out of it.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Why it is out, if it is.
    pub(super) cause: StandingCause,
    pub(super) detail: StandingDetail,
    /// What tells of that.
    pub(super) left: Option<RoomLeft>,
    /// How to come in again, if it is in.
    pub(super) door: Option<Door>,
    /// An answer to the app that is on its way may be older: there is nothing to ask before it comes.
    pub(super) overtook: bool,
}

impl Doubt {
    pub(super) fn new(cause: StandingCause, detail: StandingDetail) -> Self {
        Self { cause, detail, left: None, door: None, overtook: false }
    }
}

/// What to make of the server's word that the client is out of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracker) enum Verdict {
    /// The client came in again since.
    Late,
    /// It may have.
    Doubtful,
    Out,
}

impl Places {
    /// What `left` means. What is followed of the room has come to `end`.
    pub(in crate::tracker) fn judge(&self, left: &RoomLeft, end: Position) -> Verdict {
        let Some(place) = self.places.get(&left.room) else {
            return if left.last.epoch < end.epoch { Verdict::Late } else { Verdict::Out };
        };
        let is_coming = place.door.is_none() && place.coming > 0;
        if left.last < place.entered || left.last.epoch < end.epoch {
            Verdict::Late
        } else if is_coming || left.last < end || place.came_back && left.last == place.entered {
            Verdict::Doubtful
        } else {
            Verdict::Out
        }
    }

    /// The server says that the client is out of a room, which may be late.
    pub(in crate::tracker) fn may_be_out(&mut self, left: RoomLeft) {
        let (room, cause, detail) = why(&left);
        self.suspect(&room, Doubt { left: Some(left), ..Doubt::new(cause, detail) });
    }

    /// The client is out of a room, or was before it came in.
    pub(in crate::tracker) fn may_have_left(&mut self, room: &RoomId, cause: StandingCause) {
        self.suspect(room, Doubt::new(cause, StandingDetail::None));
    }

    fn suspect(&mut self, room: &RoomId, doubt: Doubt) {
        if let Some(place) = self.places.get_mut(room) {
            let door = place.doubt.take().and_then(|doubt| doubt.door);
            place.doubt = Some(Doubt { door, overtook: place.coming > 0, ..doubt });
        }
    }

    /// True if the server is to be asked where the client stands.
    pub(in crate::tracker) fn is_doubtful(&self, room: &RoomId) -> bool {
        let doubt = self.places.get(room).and_then(|place| place.doubt.as_ref());
        doubt.is_some_and(|doubt| !doubt.overtook)
    }

    /// The room's newest position when the client was put out of it, if that is what is in doubt.
    pub(in crate::tracker) fn doubtful_since(&self, room: &RoomId) -> Option<Position> {
        self.places.get(room)?.doubt.as_ref()?.left.as_ref().map(|left| left.last)
    }

    /// True if the client is in a room, or may be, or is on its way into it.
    pub(in crate::tracker) fn is_known(&self, room: &RoomId) -> bool {
        self.places.contains_key(room)
    }

    /// True if the client takes itself to be in.
    pub(in crate::tracker) fn is_in(&self, room: &RoomId) -> bool {
        self.places.get(room).is_some_and(|place| place.standing == Standing::Connected)
    }

    /// The session is another one: whoever may have been in is not.
    pub(super) fn settle(&mut self, out: &mut Ready) {
        for room in self.rooms() {
            let place = self.places.get_mut(&room).filter(|place| place.coming == 0 && place.door.is_none());
            if let Some(doubt) = place.and_then(|place| place.doubt.take()) {
                self.out(&room, doubt.cause, doubt.detail, out);
            }
        }
        self.places.values_mut().for_each(|place| place.doubt = None);
    }

    /// The session goes on, and the server knows whether it is in a room that it was in.
    pub(in crate::tracker) fn known(&mut self, room: &RoomId, is_in: bool, out: &mut Ready) {
        let is_due = self.is_due(room);
        let Some(place) = self.places.get_mut(room).filter(|_| !is_due) else { return };
        if place.doubt.as_ref().is_some_and(|doubt| doubt.overtook) {
            return;
        }
        let doubt = place.doubt.take();
        let is_decided = match &doubt {
            Some(_) => true,
            None => place.door.is_some() && place.standing == Standing::Connecting,
        };
        if is_in {
            place.door = place.door.take().or(doubt.and_then(|doubt| doubt.door));
            if is_decided && place.standing != Standing::Connected {
                place.stand(room, Standing::Connected, StandingCause::Success, StandingDetail::None, out);
            }
        } else if is_decided && (place.door.is_some() || place.coming == 0) {
            let doubt =
                doubt.unwrap_or_else(|| Doubt::new(StandingCause::OutMeanwhile, StandingDetail::None));
            if let Some(left) = doubt.left {
                out.tell(Event::RoomLeft(left));
            }
            self.out(room, doubt.cause, doubt.detail, out);
        }
    }
}

/// Which room the client is out of, and why.
pub(super) fn why(left: &RoomLeft) -> (RoomId, StandingCause, StandingDetail) {
    let RoomLeft { room, cause, operator, reason, .. } = left.clone();
    let why = match cause {
        LeaveCause::KickedOut | LeaveCause::Banned => StandingCause::KickedOut,
        LeaveCause::Dismissed => StandingCause::Dismissed,
        LeaveCause::Ended => StandingCause::Ended,
        LeaveCause::LoggedOut => StandingCause::Displaced,
        LeaveCause::Offline => StandingCause::Lost,
        LeaveCause::Left | LeaveCause::Unknown(_) => StandingCause::Left,
    };
    (room, why, StandingDetail::PutOut { cause, operator, reason })
}

/// Whether what is refused so may have been done all the same.
pub(in crate::tracker) fn may_have_happened(reject: &Reject) -> bool {
    matches!(reject.code, Code::TimedOut | Code::Unavailable | Code::ReplyForgotten)
}
