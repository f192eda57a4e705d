//! Where this client stands with each room it is in, was told to be in, or is on its way into.

use std::collections::{BTreeMap, VecDeque};

use quail_protocol::{
    Close, Code, Event, Position, Reject,
    id::RoomId,
    room::{
        Entered, EntryStatus, RoomLeft, RoomState, RoomStateChanged, Standing, StandingCause, StandingDetail,
    },
};

use self::doubt::Doubt;
use super::ready::Ready;
use crate::{
    outbox::{Door, Entry},
    state::Cause,
};

mod again;
mod doubt;

pub(super) use doubt::{Verdict, may_have_happened};

/// What the client knows of a room.
#[derive(Debug)]
struct Place {
    standing: Standing,
    /// How to come into it again, if it was come into.
    door: Option<Door>,
    /// The room's head when it was come into last.
    entered: Position,
    /// It was come into after the client was out of it, which may be told yet.
    came_back: bool,
    /// Requests of the app to come in that are not answered.
    coming: u32,
    /// Requests of the app to leave that are not answered.
    leaving: u32,
    tries: u8,
    /// What the server has to be asked.
    doubt: Option<Doubt>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            standing: Standing::Disconnected,
            door: None,
            entered: Position::default(),
            came_back: false,
            coming: 0,
            leaving: 0,
            tries: 0,
            doubt: None,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Places {
    places: BTreeMap<RoomId, Place>,
    /// What is to be come into again, in this order.
    again: VecDeque<RoomId>,
    /// What the client came into again and the app had left by then.
    stray: VecDeque<RoomId>,
    /// Of each request of the app to leave all rooms that is not answered: those that it was about.
    all: VecDeque<Vec<RoomId>>,
    /// Whether the client comes in again by itself.
    pub(super) reenter: bool,
}

impl Places {
    /// The app asks to come in.
    pub(super) fn coming(&mut self, entry: &Entry, out: &mut Ready) {
        self.stray.retain(|room| *room != entry.room);
        self.is_not_of_all(&entry.room);
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

    /// The app is let in. `was_out` if it was out of the room before. True if the client was not sure to be in before.
    pub(super) fn came(&mut self, entry: &Entry, entered: &Entered, was_out: bool, out: &mut Ready) -> bool {
        self.again.retain(|room| *room != entry.room);
        let place = self.places.entry(entry.room.clone()).or_default();
        place.coming = place.coming.saturating_sub(1);
        let is_new = entered.status != EntryStatus::AlreadyIn;
        place.came_back = was_out || place.came_back || place.door.is_some() && is_new;
        place.entered = entered.state.head;
        let doubt = place.doubt.take();
        let made = place.door.take().or_else(|| doubt.as_ref().and_then(|doubt| doubt.door.clone()));
        place.door = Some(match (entered.status, made) {
            (EntryStatus::Created, _) => entry.door.clone(),
            (EntryStatus::AlreadyIn, Some(door)) => door,
            _ => Door::Join,
        });
        let news = place.standing != Standing::Connected;
        if let Some(doubt) = doubt.filter(|doubt| doubt.overtook) {
            place.doubt = Some(Doubt { overtook: false, ..doubt });
            if place.standing == Standing::Disconnected {
                let (state, cause) = (Standing::Connecting, StandingCause::Entering);
                place.stand(&entry.room, state, cause, StandingDetail::None, out);
            }
        } else if news {
            let detail = detail_of(entered);
            place.stand(&entry.room, Standing::Connected, StandingCause::Success, detail, out);
        }
        news
    }

    /// The app is not let in, or there is no answer.
    pub(super) fn kept_out(&mut self, entry: &Entry, reject: Option<&Reject>, out: &mut Ready) {
        let Some(place) = self.places.get_mut(&entry.room) else { return };
        place.coming = place.coming.saturating_sub(1);
        if place.coming == 0 {
            _ = place.doubt.take_if(|doubt| doubt.overtook);
        }
        // Whoever is in, or is to come in again by itself, stands as before.
        if place.door.is_none() && place.coming == 0 && place.doubt.is_none() {
            let cause = match (reject.map(|reject| reject.code), &entry.door) {
                (None | Some(Code::TimedOut), _) => StandingCause::TimedOut,
                _ if entry.from.is_some() => StandingCause::SwitchFailed,
                (Some(Code::RoomNotFound), _) => StandingCause::NotFound,
                (Some(_), Door::Create(_)) => StandingCause::CreateFailed,
                (Some(_), Door::Join | Door::Enter(_)) => StandingCause::EnterFailed,
            };
            if reject.is_some_and(may_have_happened) {
                let made = matches!(entry.door, Door::Create(_));
                let door = Some(if made { entry.door.clone() } else { Door::Join });
                place.doubt = Some(Doubt { door, ..Doubt::new(cause, refused(reject)) });
            } else {
                self.out(&entry.room, cause, refused(reject), out);
            }
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
        self.all.push_back(self.rooms());
    }

    /// What was asked for all rooms is not about this one any more.
    fn is_not_of_all(&mut self, room: &RoomId) {
        self.all.iter_mut().for_each(|rooms| rooms.retain(|leaving| leaving != room));
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

    /// A request to leave all rooms is answered. Returns those that it was about and that the client is not out of
    /// since, nor on its way into again.
    pub(super) fn answered_all(&mut self) -> Vec<RoomId> {
        self.all.pop_front().unwrap_or_default()
    }

    /// The client is out of a room. If an answer to the app is on its way, that may be older than this.
    pub(super) fn out(
        &mut self,
        room: &RoomId,
        cause: StandingCause,
        detail: StandingDetail,
        out: &mut Ready,
    ) {
        self.again.retain(|again| again != room);
        self.is_not_of_all(room);
        let Some(place) = self.places.get_mut(room) else { return };
        let was_in = place.door.is_some();
        let before = std::mem::take(place);
        (place.standing, place.coming) = (before.standing, before.coming);
        if place.coming > 0 {
            place.doubt = Some(Doubt { overtook: true, ..Doubt::new(cause, detail.clone()) });
        }
        // Whoever was only on the way in still is.
        if place.standing == Standing::Connected || was_in || place.coming == 0 {
            place.go(room, cause, detail, out);
        }
        if place.coming == 0 {
            self.places.remove(room);
        }
    }

    /// The server says that the client is out of a room.
    pub(super) fn put_out(&mut self, left: RoomLeft, out: &mut Ready) {
        let (room, cause, detail) = doubt::why(&left);
        out.tell(Event::RoomLeft(left));
        self.out(&room, cause, detail, out);
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
        // No answer comes any more.
        self.places.values_mut().for_each(|place| place.coming = 0);
        self.out_of_all(cause, out);
    }
}

impl Place {
    fn go(&mut self, room: &RoomId, cause: StandingCause, detail: StandingDetail, out: &mut Ready) {
        if self.standing != Standing::Disconnected {
            self.stand(room, Standing::Disconnected, cause, detail, out);
        }
    }

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
