//! Rooms that were lost with a session, and are come into again.

use quail_protocol::{
    Advice, Code, Reject,
    id::RoomId,
    room::{Enter, Entered, Join, Leave, Standing, StandingCause, StandingDetail},
};

use super::{
    super::{Query, ready::Ready},
    Place, Places, detail_of, refused,
};
use crate::outbox::Door;

/// So often the client tries to come into a room again before it says that it cannot.
const TRIES_MAX: u8 = 8;

impl Places {
    /// The session is another one, which is in no room. `used` are rooms, the last used first, and the order of coming in
    /// again. Returns what the app had asked to leave.
    pub(in crate::tracker) fn begun_anew(&mut self, used: Vec<RoomId>, out: &mut Ready) -> Vec<RoomId> {
        self.stray.clear();
        self.settle(out);
        let mut left = vec![];
        let rooms = used.into_iter().chain(self.rooms());
        self.again.clear();
        for room in rooms {
            let is_leaving = self.is_leaving(&room);
            let Some(place) = self.places.get_mut(&room).filter(|place| place.door.is_some()) else {
                continue;
            };
            if is_leaving {
                self.out(&room, StandingCause::Left, StandingDetail::None, out);
                left.push(room);
            } else if !self.reenter {
                self.out(&room, StandingCause::Lost, StandingDetail::None, out);
            } else if !self.again.contains(&room) {
                place.tries = 0;
                self.again.push_back(room);
            }
        }
        left
    }

    /// True if the client is to come into a room again and has not asked yet.
    pub(in crate::tracker) fn is_due(&self, room: &RoomId) -> bool {
        self.again.contains(room)
    }

    /// True if there is a room to ask for.
    pub(in crate::tracker) fn wants(&self) -> bool {
        !self.stray.is_empty() || self.due().is_some()
    }

    /// True if the app has asked to leave a room and is not answered.
    fn is_leaving(&self, room: &RoomId) -> bool {
        let alone = self.places.get(room).is_some_and(|place| place.leaving > 0);
        alone || self.all.iter().any(|rooms| rooms.contains(room))
    }

    /// What the app wants to leave is not come into.
    fn due(&self) -> Option<usize> {
        self.again.iter().position(|room| self.places.contains_key(room) && !self.is_leaving(room))
    }

    /// Asks to come into the next room again, or to leave one.
    pub(in crate::tracker) fn ask(&mut self) -> Option<Query> {
        if let Some(room) = self.stray.pop_front() {
            return Some(Query::Leave(Leave { room, all_devices: false }));
        }
        let room = self.again.remove(self.due()?)?;
        let door = self.places.get(&room)?.door.clone()?;
        Some(match door {
            Door::Join => Query::Join(Join { room, recent: 0 }),
            Door::Create(settings) | Door::Enter(settings) => {
                Query::Enter(Enter { room, settings, recent: 0 })
            }
        })
    }

    /// Whether to ask for a room once more after a refusal. Not because a room is full: nobody knows until when.
    pub(in crate::tracker) fn asks_again(&mut self, room: &RoomId, reject: &Reject) -> bool {
        let passes = reject.retry_after_ms.is_some()
            || matches!(reject.code, Code::RateLimited | Code::Unavailable | Code::TimedOut);
        let Some(place) = self.places.get_mut(room) else { return false };
        place.tries += 1;
        passes && reject.code.advice() == Advice::Retry && place.tries < TRIES_MAX
    }

    /// The same room again.
    pub(in crate::tracker) fn retry(&mut self, room: RoomId) {
        if self.places.get(&room).is_some_and(|place| place.door.is_some()) && !self.is_due(&room) {
            self.again.push_front(room);
        }
    }

    /// The client is in again, by this door. False if the app has left meanwhile: the client leaves then as well.
    pub(in crate::tracker) fn came_again(
        &mut self,
        room: &RoomId,
        door: Door,
        entered: &Entered,
        out: &mut Ready,
    ) -> bool {
        let wanted = |place: &&mut Place| place.door.is_some() || place.coming > 0;
        let Some(place) = self.places.get_mut(room).filter(wanted) else {
            self.leave(room.clone());
            return false;
        };
        place.door.get_or_insert(door);
        place.entered = entered.state.head;
        if place.standing != Standing::Connected {
            place.stand(room, Standing::Connected, StandingCause::Rejoined, detail_of(entered), out);
        }
        true
    }

    /// The client is to leave a room that the app is not in.
    pub(in crate::tracker) fn leave(&mut self, room: RoomId) {
        if !self.places.contains_key(&room) && !self.stray.contains(&room) {
            self.stray.push_back(room);
        }
    }

    /// The client cannot come in again.
    pub(in crate::tracker) fn stays_out(&mut self, room: &RoomId, reject: Option<&Reject>, out: &mut Ready) {
        let Some(place) = self.places.get_mut(room) else { return };
        if place.coming > 0 {
            // The app asks itself by now, and gets its own answer.
            place.door = None;
            return;
        }
        let cause = match reject {
            Some(reject) if reject.code == Code::RoomNotFound => StandingCause::NotFound,
            _ => StandingCause::EnterFailed,
        };
        self.out(room, cause, refused(reject), out);
    }
}
