//! Rooms: what is followed from the moment of coming in to that of going out.

use quail_protocol::{Conversation, Event, Position, Rev, Seq, id::RoomId, message::Gap, room::RoomLeft};

use super::{Tracker, change, track::Track};

/// So many rooms that were left are remembered: what comes of them late is no news.
const LEFT_MAX: usize = 64;

impl Tracker {
    /// This session is in a room. What is placed behind `head` comes as events, and some may have come already.
    pub(crate) fn entered(&mut self, room: &RoomId, head: Position, rev: Rev) {
        let conversation = Conversation::Room(room.clone());
        // What is late of an earlier stay stays late. What is placed from here on is not, however that stay ended.
        let before = self.left.iter_mut().filter(|(left, _)| *left == conversation);
        before.for_each(|(_, last)| *last = head.min(*last));
        if !self.tracks.contains_key(&conversation) {
            self.follow(conversation.clone(), Track::starting_at(conversation.clone(), head, rev));
            if self.went_on {
                // The answer may be from before a connection was lost, and what was told since lost with it.
                self.unsure.push_back(conversation);
            }
        }
    }

    /// This session is out of a room, whose newest position was `last`.
    pub(crate) fn left(&mut self, room: &RoomId, last: Position) {
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
            // Where each room had come by then is not told: whatever comes of it is late.
            let end = self.tracks.get(&Conversation::Room(room.clone())).map(Track::end).unwrap_or_default();
            self.left(&room, Position { seq: Seq(u64::MAX), ..end });
        }
    }

    /// The same, unasked.
    pub(super) fn room_left(&mut self, event: RoomLeft) {
        self.left(&event.room, event.last);
        self.ready.tell(Event::RoomLeft(event));
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
