//! Where this client stands with each room it is in, was told to be in, or is on its way into.

use std::collections::{BTreeMap, VecDeque};

use quail_protocol::{
    Advice, Close, Code, Event, Reject,
    id::RoomId,
    room::{
        Enter, Entered, EntryStatus, Join, LeaveCause, RoomLeft, RoomState, RoomStateChanged, Standing,
        StandingCause, StandingDetail,
    },
};

use super::{Query, ready::Ready};
use crate::{
    outbox::{Door, Entry},
    state::Cause,
};

/// So often the client tries to come into a room again before it says that it cannot.
const TRIES_MAX: u8 = 8;

/// What the client knows of a room.
#[derive(Debug)]
struct Place {
    standing: Standing,
    /// How it was come into, if it was.
    door: Option<Door>,
    /// Requests of the app to come in that are not answered.
    coming: u32,
    /// Requests of the app to leave that are not answered.
    leaving: u32,
    tries: u8,
}

impl Default for Place {
    fn default() -> Self {
        Self { standing: Standing::Disconnected, door: None, coming: 0, leaving: 0, tries: 0 }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Places {
    places: BTreeMap<RoomId, Place>,
    /// What is to be come into again, in this order.
    again: VecDeque<RoomId>,
    /// Whether the client comes in again by itself.
    pub(super) reenter: bool,
}

impl Places {
    /// The app asks to come in.
    pub(super) fn coming(&mut self, entry: &Entry, out: &mut Ready) {
        let place = self.places.entry(entry.room.clone()).or_default();
        place.coming += 1;
        if place.standing == Standing::Disconnected {
            let cause = match entry.door {
                _ if entry.from.is_some() => StandingCause::Switching,
                Door::Create(_) => StandingCause::Creating,
                Door::Join | Door::Enter(_) => StandingCause::Entering,
            };
            place.stand(&entry.room, Standing::Connecting, cause, StandingDetail::None, out);
        }
    }

    /// The app is let in. True if the client was not sure to be in before.
    pub(super) fn came(&mut self, entry: &Entry, entered: &Entered, out: &mut Ready) -> bool {
        self.again.retain(|room| *room != entry.room);
        let place = self.places.entry(entry.room.clone()).or_default();
        place.coming = place.coming.saturating_sub(1);
        place.door = Some(entry.door.clone());
        let news = place.standing != Standing::Connected;
        if news {
            let detail = detail_of(entered);
            place.stand(&entry.room, Standing::Connected, StandingCause::Success, detail, out);
        }
        news
    }

    /// The app is not let in, or there is no answer.
    pub(super) fn kept_out(&mut self, entry: &Entry, reject: Option<&Reject>, out: &mut Ready) {
        let Some(place) = self.places.get_mut(&entry.room) else { return };
        place.coming = place.coming.saturating_sub(1);
        // Whoever is in, or is to come in again by itself, stands as before.
        if place.door.is_none() && place.coming == 0 {
            let cause = match (reject.map(|reject| reject.code), &entry.door) {
                (None | Some(Code::TimedOut), _) => StandingCause::TimedOut,
                _ if entry.from.is_some() => StandingCause::SwitchFailed,
                (Some(Code::RoomNotFound), _) => StandingCause::NotFound,
                (Some(_), Door::Create(_)) => StandingCause::CreateFailed,
                (Some(_), Door::Join | Door::Enter(_)) => StandingCause::EnterFailed,
            };
            self.out(&entry.room, cause, refused(reject), out);
        }
    }

    /// The app asks to leave, or to end the room: from now on it is not come into again.
    pub(super) fn leaving(&mut self, room: &RoomId) {
        if let Some(place) = self.places.get_mut(room) {
            place.leaving += 1;
        }
    }

    /// The same for all rooms.
    pub(super) fn leaving_all(&mut self) {
        self.places.values_mut().for_each(|place| place.leaving += 1);
    }

    /// That is refused. True if the client is not in the room all the same.
    pub(super) fn stays(&mut self, room: &RoomId, reject: &Reject, out: &mut Ready) -> bool {
        let Some(place) = self.places.get_mut(room) else { return false };
        place.leaving = place.leaving.saturating_sub(1);
        let is_out = matches!(reject.code, Code::NotInRoom | Code::RoomNotFound);
        if is_out {
            self.out(room, StandingCause::Left, StandingDetail::None, out);
        }
        is_out
    }

    /// The same for all rooms.
    pub(super) fn stays_all(&mut self) {
        self.places.values_mut().for_each(|place| place.leaving = place.leaving.saturating_sub(1));
    }

    /// The client is out of a room.
    pub(super) fn out(
        &mut self,
        room: &RoomId,
        cause: StandingCause,
        detail: StandingDetail,
        out: &mut Ready,
    ) {
        self.again.retain(|again| again != room);
        let Some(place) = self.places.get_mut(room) else { return };
        (place.door, place.leaving) = (None, 0);
        if place.standing != Standing::Disconnected {
            place.stand(room, Standing::Disconnected, cause, detail, out);
        }
        if place.coming == 0 {
            self.places.remove(room);
        }
    }

    /// The server says that the client is out of a room.
    pub(super) fn put_out(&mut self, left: &RoomLeft, out: &mut Ready) {
        let RoomLeft { room, cause, operator, reason, .. } = left.clone();
        let why = match cause {
            LeaveCause::KickedOut | LeaveCause::Banned => StandingCause::KickedOut,
            LeaveCause::Dismissed => StandingCause::Dismissed,
            LeaveCause::Ended => StandingCause::Ended,
            LeaveCause::LoggedOut => StandingCause::Displaced,
            LeaveCause::Offline => StandingCause::Lost,
            LeaveCause::Left | LeaveCause::Unknown(_) => StandingCause::Left,
        };
        self.out(&room, why, StandingDetail::PutOut { cause, operator, reason }, out);
    }

    /// The client is out of all rooms.
    pub(super) fn out_of_all(&mut self, cause: StandingCause, out: &mut Ready) {
        for room in self.rooms() {
            self.out(&room, cause, StandingDetail::None, out);
        }
    }

    /// The rooms that are known, in the order of their names.
    pub(super) fn rooms(&self) -> Vec<RoomId> {
        self.places.keys().cloned().collect()
    }

    /// The connection is lost, and is made again.
    pub(super) fn interrupted(&mut self, out: &mut Ready) {
        for (room, place) in &mut self.places {
            if place.standing == Standing::Connected {
                let cause = StandingCause::Interrupted;
                place.stand(room, Standing::Connecting, cause, StandingDetail::None, out);
            }
        }
    }

    /// The connection is lost for good.
    pub(super) fn ended(&mut self, cause: Cause, out: &mut Ready) {
        let displaced = match cause {
            Cause::Closed(close) => close == Close::KickedOut,
            Cause::LoginRefused(reject) => reject.code == Code::LoggedInElsewhere,
            _ => false,
        };
        let cause = match cause {
            Cause::LoggedOut => StandingCause::Left,
            _ if displaced => StandingCause::Displaced,
            _ => StandingCause::Lost,
        };
        self.out_of_all(cause, out);
    }

    /// The session is another one, which is in no room. `used` are rooms, the last used first, and the order of coming in
    /// again. Returns what the app had asked to leave.
    pub(super) fn begun_anew(&mut self, used: Vec<RoomId>, out: &mut Ready) -> Vec<RoomId> {
        let mut left = vec![];
        let rooms = used.into_iter().chain(self.rooms());
        self.again.clear();
        for room in rooms {
            let Some(place) = self.places.get_mut(&room).filter(|place| place.door.is_some()) else {
                continue;
            };
            if place.leaving > 0 {
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
    pub(super) fn is_due(&self, room: &RoomId) -> bool {
        self.again.contains(room)
    }

    /// True if there is a room to ask for.
    pub(super) fn wants(&self) -> bool {
        self.due().is_some()
    }

    /// What the app wants to leave is not come into.
    fn due(&self) -> Option<usize> {
        self.again.iter().position(|room| self.places.get(room).is_some_and(|place| place.leaving == 0))
    }

    /// Asks to come into the next room again.
    pub(super) fn ask(&mut self) -> Option<Query> {
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
    pub(super) fn asks_again(&mut self, room: &RoomId, reject: &Reject) -> bool {
        let passes = reject.retry_after_ms.is_some()
            || matches!(reject.code, Code::RateLimited | Code::Unavailable | Code::TimedOut);
        let Some(place) = self.places.get_mut(room) else { return false };
        place.tries += 1;
        passes && reject.code.advice() == Advice::Retry && place.tries < TRIES_MAX
    }

    /// The same room again.
    pub(super) fn retry(&mut self, room: RoomId) {
        if self.places.get(&room).is_some_and(|place| place.door.is_some()) && !self.is_due(&room) {
            self.again.push_front(room);
        }
    }

    /// The client is in again.
    pub(super) fn came_again(&mut self, room: &RoomId, entered: &Entered, out: &mut Ready) {
        let Some(place) = self.places.get_mut(room) else { return };
        if place.standing != Standing::Connected {
            place.stand(room, Standing::Connected, StandingCause::Rejoined, detail_of(entered), out);
        }
    }

    /// The client cannot come in again.
    pub(super) fn stays_out(&mut self, room: &RoomId, reject: Option<&Reject>, out: &mut Ready) {
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

    /// The session goes on, and the server knows whether it is in a room that it was in.
    pub(super) fn known(&mut self, room: &RoomId, is_in: bool, out: &mut Ready) {
        let is_due = self.is_due(room);
        let Some(place) = self.places.get_mut(room) else { return };
        if is_due || place.door.is_none() || place.standing != Standing::Connecting {
            return;
        }
        if is_in {
            place.stand(room, Standing::Connected, StandingCause::Success, StandingDetail::None, out);
        } else {
            self.out(room, StandingCause::OutMeanwhile, StandingDetail::None, out);
        }
    }
}

impl Place {
    fn stand(
        &mut self,
        room: &RoomId,
        state: Standing,
        cause: StandingCause,
        detail: StandingDetail,
        out: &mut Ready,
    ) {
        self.standing = state;
        out.tell(Event::RoomStateChanged(RoomStateChanged { room: room.clone(), state, cause, detail }));
    }
}

fn detail_of(entered: &Entered) -> StandingDetail {
    let Entered { status, state, .. } = entered;
    let (status, state): (EntryStatus, Box<RoomState>) = (*status, Box::new(state.clone()));
    StandingDetail::Entered { status, state }
}

fn refused(reject: Option<&Reject>) -> StandingDetail {
    reject.map_or(StandingDetail::None, |reject| StandingDetail::Refused(*reject))
}
