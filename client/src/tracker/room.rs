//! Rooms: what is followed from the moment of coming in to that of going out.

use quail_protocol::{
    Advice, Code, Conversation, Event, Position, Reject, Seq,
    id::RoomId,
    message::Gap,
    room::{Enter, Entered, Join, RoomLeft, RoomState, StandingCause, StandingDetail, Switched},
};

use super::{Query, Tracker, change, track::Track};
use crate::{
    outbox::{Entry, Own},
    state::Cause,
};

/// So many rooms that were left are remembered: what comes of them late is no news.
const LEFT_MAX: usize = 64;

impl Tracker {
    /// The app is asking something that says where it stands with rooms.
    pub(crate) fn asking(&mut self, own: &Own) {
        match own {
            Own::Enter(entry) => self.places.coming(entry, &mut self.ready),
            Own::Leave(room) | Own::Dismiss(room) => self.places.leaving(room),
            Own::LeaveAll => self.places.leaving_all(),
            Own::Message(_) | Own::Recall(_) | Own::Unnumbered => {}
        }
    }

    /// That is refused.
    pub(crate) fn refused_own(&mut self, own: &Own, reject: &Reject) {
        match own {
            Own::Enter(entry) => self.places.kept_out(entry, Some(reject), &mut self.ready),
            Own::Leave(room) | Own::Dismiss(room) => {
                if self.places.stays(room, reject, &mut self.ready) {
                    self.left_somewhere(room);
                }
            }
            Own::LeaveAll => self.places.stays_all(),
            Own::Message(_) | Own::Recall(_) | Own::Unnumbered => {}
        }
    }

    /// That is never answered.
    pub(crate) fn unanswered(&mut self, own: &Own) {
        match own {
            Own::Enter(entry) => self.places.kept_out(entry, None, &mut self.ready),
            _ => self.refused_own(own, &Code::TimedOut.into()),
        }
    }

    /// This session is in a room. What is placed behind its head comes as events, and some may have come already.
    pub(crate) fn entered(&mut self, entry: &Entry, entered: &Entered) {
        let news = self.places.came(entry, entered, &mut self.ready);
        self.follow_room(&entry.room, &entered.state, news);
    }

    /// This session is in a room, and out of the one that it left for it.
    pub(crate) fn switched(&mut self, entry: &Entry, switched: &Switched) {
        self.entered(entry, &switched.entered);
        if let Some(from) = &entry.from {
            self.left(from, switched.last);
            self.places.out(from, StandingCause::Switching, StandingDetail::None, &mut self.ready);
        }
    }

    pub(super) fn follow_room(&mut self, room: &RoomId, state: &RoomState, is_unsure: bool) {
        let conversation = Conversation::Room(room.clone());
        // What is late of an earlier stay stays late. What is placed from here on is not, however that stay ended.
        let before = self.left.iter_mut().filter(|(left, _)| *left == conversation);
        before.for_each(|(_, last)| *last = state.head.min(*last));
        let is_new = !self.tracks.contains_key(&conversation);
        if is_new {
            self.follow(
                conversation.clone(),
                Track::starting_at(conversation.clone(), state.head, state.rev),
            );
        }
        if is_new && self.went_on {
            // The answer may be from before a connection was lost, and what was told since lost with it.
            self.unsure.push_back(conversation);
        } else if !is_new && is_unsure && !self.unsure.contains(&conversation) {
            // It was in before: whatever was placed since is told by no event.
            self.unsure.push_front(conversation);
        }
    }

    /// The room that is asked for, to come into it again.
    fn asked_room(&self) -> Option<RoomId> {
        match &self.asked {
            Some(Query::Enter(Enter { room, .. }) | Query::Join(Join { room, .. })) => Some(room.clone()),
            _ => None,
        }
    }

    /// True if this session is yet to come into a room again: nothing of it can be asked before.
    pub(super) fn comes_again(&self, conversation: &Conversation) -> bool {
        let Conversation::Room(room) = conversation else { return false };
        self.places.is_due(room) || self.asked_room().as_ref() == Some(room)
    }

    /// True if a room is to be asked for, and nothing is on its way.
    pub(crate) fn wants_in(&self) -> bool {
        self.asked.is_none() && self.places.wants()
    }

    /// True if what is asked is to be asked once more after this refusal.
    pub(crate) fn asks_again(&mut self, reject: &Reject) -> bool {
        match self.asked_room() {
            Some(room) => self.places.asks_again(&room, reject),
            None => reject.code.advice() == Advice::Retry,
        }
    }

    /// This session is in a room again.
    pub(super) fn came_again(&mut self, entered: &Entered) {
        let Some(room) = self.asked_room() else { return };
        self.asked = None;
        self.places.came_again(&room, entered, &mut self.ready);
        self.follow_room(&room, &entered.state, true);
    }

    /// This session does not come into a room again.
    pub(super) fn stays_out(&mut self, room: &RoomId, reject: Option<&Reject>) {
        self.places.stays_out(room, reject, &mut self.ready);
        let conversation = Conversation::Room(room.clone());
        if self.tracks.contains_key(&conversation) && !self.unsure.contains(&conversation) {
            self.unsure.push_front(conversation);
        }
    }

    /// The connection is lost, and is made again.
    pub(crate) fn interrupted(&mut self) {
        self.places.interrupted(&mut self.ready);
    }

    /// The connection is lost for good.
    pub(crate) fn ended(&mut self, cause: Cause) {
        self.places.ended(cause, &mut self.ready);
    }

    /// A new connection stands: rooms to come into again, if the session is another, or to be sure of.
    pub(super) fn rooms_after(&mut self, resumed: bool) {
        if resumed {
            let asked = self.asked_room();
            for room in self.places.rooms().into_iter().filter(|room| asked.as_ref() != Some(room)) {
                // Of what is followed the server is asked.
                if !self.tracks.contains_key(&Conversation::Room(room.clone())) {
                    self.places.known(&room, true, &mut self.ready);
                }
            }
            return;
        }
        let used = self.uses.values().rev().filter_map(|conversation| match conversation {
            Conversation::Room(room) => Some(room.clone()),
            _ => None,
        });
        for room in self.places.begun_anew(used.collect(), &mut self.ready) {
            self.left_somewhere(&room);
        }
    }

    /// What the server says of a room that this session was in.
    pub(super) fn known(&mut self, conversation: &Conversation, is_in: bool) {
        if let Conversation::Room(room) = conversation {
            self.places.known(room, is_in, &mut self.ready);
        }
    }

    /// The app left a room, and was told its newest position.
    pub(crate) fn left_as_asked(&mut self, own: &Own, last: Position) {
        let (room, cause) = match own {
            Own::Leave(room) => (room, StandingCause::Left),
            Own::Dismiss(room) => (room, StandingCause::Dismissed),
            _ => return,
        };
        self.left(room, last);
        self.places.out(room, cause, StandingDetail::None, &mut self.ready);
    }

    /// Where the room had come by then is not told: whatever comes of it is late.
    fn left_somewhere(&mut self, room: &RoomId) {
        let end = self.tracks.get(&Conversation::Room(room.clone())).map(Track::end).unwrap_or_default();
        self.left(room, Position { seq: Seq(u64::MAX), ..end });
    }

    /// This session is out of a room, whose newest position was `last`.
    pub(super) fn left(&mut self, room: &RoomId, last: Position) {
        let conversation = Conversation::Room(room.clone());
        self.abandon(&conversation);
        if self.left.len() == LEFT_MAX {
            self.left.pop_front();
        }
        self.left.push_back((conversation, last));
    }

    /// This session is in no room.
    pub(crate) fn left_all(&mut self) {
        let rooms = self.tracks.keys().filter_map(|conversation| match conversation {
            Conversation::Room(room) => Some(room.clone()),
            _ => None,
        });
        let rooms: Vec<_> = rooms.collect();
        for room in rooms {
            self.left_somewhere(&room);
        }
        self.places.out_of_all(StandingCause::Left, &mut self.ready);
    }

    /// The same, unasked.
    pub(super) fn room_left(&mut self, event: RoomLeft) {
        self.left(&event.room, event.last);
        self.ready.tell(Event::RoomLeft(event.clone()));
        self.places.put_out(&event, &mut self.ready);
    }

    /// True if what stands at `position` is of a room that was left, and was placed before that.
    pub(super) fn is_late(&self, conversation: &Conversation, position: Position) -> bool {
        let before = |(left, last): &(Conversation, Position)| *left == *conversation && position <= *last;
        self.left.iter().any(before)
    }

    /// Messages of a room were dropped on the way here.
    pub(super) fn gap(&mut self, gap: Gap) {
        if let Some(track) = self.tracks.get_mut(&gap.conversation) {
            change(track, &mut self.held, &mut self.ready, |track, ready| track.gap(&gap, ready));
        }
        self.ready.tell(Event::MessageGap(gap));
    }
}
