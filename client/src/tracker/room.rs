//! Rooms: what is followed from the moment of coming in to that of going out.

use quail_protocol::{
    Advice, Code, Conversation, Event, Position, Reject, Seq,
    id::RoomId,
    message::Gap,
    room::{Enter, Entered, Join, Leave, RoomLeft, RoomState, StandingCause, StandingDetail, Switched},
};

use super::{
    Query, Tracker, change,
    standing::{Verdict, may_have_happened},
    track::Track,
};
use crate::{
    outbox::{Door, Entry, Own},
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
            Own::Enter(entry) => {
                self.places.kept_out(entry, Some(reject), &mut self.ready);
                self.ask_whether_in(&entry.room);
                if let Some(from) = &entry.from
                    && may_have_happened(reject)
                {
                    self.places.may_have_left(from, StandingCause::Switching);
                    self.ask_whether_in(from);
                }
            }
            Own::Leave(room) | Own::Dismiss(room) => {
                if self.places.stays(room, reject, &mut self.ready) {
                    self.left_somewhere(room);
                }
            }
            Own::LeaveAll => _ = self.places.answered_all(),
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
        let conversation = Conversation::Room(entry.room.clone());
        let was_out = self.left.iter().any(|(left, _)| *left == conversation);
        let news = self.places.came(entry, entered, was_out, &mut self.ready);
        self.follow_room(&entry.room, &entered.state, news);
        self.ask_whether_in(&entry.room);
    }

    /// Has the server asked about a room if it is not known whether the client is in. True if it is not.
    fn ask_whether_in(&mut self, room: &RoomId) -> bool {
        let (is_doubtful, conversation) = (self.places.is_doubtful(room), Conversation::Room(room.clone()));
        if is_doubtful && !self.unsure.contains(&conversation) {
            self.unsure.push_front(conversation);
        }
        is_doubtful
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

    /// True if the server is to be asked whether this session is in a room.
    pub(super) fn is_doubtful(&self, conversation: &Conversation) -> bool {
        matches!(conversation, Conversation::Room(room) if self.places.is_doubtful(room))
    }

    /// True if this session takes itself to be in a room.
    pub(super) fn is_in(&self, conversation: &Conversation) -> bool {
        matches!(conversation, Conversation::Room(room) if self.places.is_in(room))
    }

    /// True if it is a room that this session is not in, nor on its way into.
    pub(super) fn is_out(&self, conversation: &Conversation) -> bool {
        let Conversation::Room(room) = conversation else { return false };
        !self.places.is_known(room) && !self.tracks.contains_key(conversation)
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

    /// True if a room is to be asked for or to be left, and nothing is on its way.
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
        let (room, door) = match self.asked.take() {
            Some(Query::Enter(Enter { room, settings, .. })) => (room, Door::Enter(settings)),
            Some(Query::Join(Join { room, .. })) => (room, Door::Join),
            asked => return self.asked = asked,
        };
        if self.places.came_again(&room, door, entered, &mut self.ready) {
            self.follow_room(&room, &entered.state, true);
        }
    }

    /// This session is out of a room again that it came into after the app had left.
    pub(super) fn left_again(&mut self, last: Position) {
        let Some(Query::Leave(Leave { room, .. })) = self.asked.take() else { return };
        if self.places.is_known(&room) {
            // The app came in meanwhile, before that or after.
            self.places.may_have_left(&room, StandingCause::Left);
            self.ask_whether_in(&room);
        } else {
            self.left(&room, last);
        }
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
                // Of what is followed, and of what is in doubt, the server is asked.
                let is_followed = self.tracks.contains_key(&Conversation::Room(room.clone()));
                if !is_followed && !self.ask_whether_in(&room) {
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
        let Conversation::Room(room) = conversation else { return };
        if !is_in && self.places.is_doubtful(room) {
            match self.places.doubtful_since(room) {
                Some(last) => self.left(room, last),
                None => self.left_somewhere(room),
            }
        }
        self.places.known(room, is_in, &mut self.ready);
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

    /// This session was in no room for a moment.
    pub(crate) fn left_all(&mut self) {
        let asked = self.places.answered_all();
        let since = self.places.rooms().into_iter().filter(|room| !asked.contains(room));
        let since: Vec<_> = since.collect();
        let followed = self.tracks.keys().filter_map(|conversation| match conversation {
            Conversation::Room(room) if !since.contains(room) => Some(room.clone()),
            _ => None,
        });
        for room in followed.collect::<Vec<_>>() {
            self.left_somewhere(&room);
        }
        for room in asked {
            self.places.out(&room, StandingCause::Left, StandingDetail::None, &mut self.ready);
        }
        // What the app came into after it had asked may be among those that were left.
        for room in since {
            self.places.may_have_left(&room, StandingCause::Left);
            self.ask_whether_in(&room);
        }
    }

    /// The same, unasked. It may come after the answer that says that the client is in again.
    pub(super) fn room_left(&mut self, event: RoomLeft) {
        let conversation = Conversation::Room(event.room.clone());
        let end = self.tracks.get(&conversation).map(Track::end).unwrap_or_default();
        match self.places.judge(&event, end) {
            Verdict::Late => {}
            Verdict::Doubtful => {
                let room = event.room.clone();
                self.places.may_be_out(event);
                self.ask_whether_in(&room);
            }
            Verdict::Out => {
                self.left(&event.room, event.last);
                self.places.put_out(event, &mut self.ready);
            }
        }
    }

    /// True if something at `position` is of a room that was left, and was placed before that.
    pub(super) fn is_late(&self, conversation: &Conversation, position: Position) -> bool {
        self.left.iter().any(|(left, last)| left == conversation && position <= *last)
    }

    /// Messages of a room were dropped on the way here.
    pub(super) fn gap(&mut self, gap: Gap) {
        let is_asked = self.unsure.contains(&gap.conversation)
            || matches!(&self.asked, Some(Query::Resume(resume))
                if resume.cursors.iter().any(|cursor| cursor.conversation == gap.conversation));
        if let Some(track) = self.tracks.get_mut(&gap.conversation) {
            if is_asked {
                // What was placed while the connection was away is not known yet, and the gap goes past it.
                track.suspect();
            }
            change(track, &mut self.held, &mut self.ready, |track, ready| track.gap(&gap, ready));
        }
        self.ready.tell(Event::MessageGap(gap));
    }
}
