//! Changes of messages that have their place.

use quail_protocol::{
    Conversation, Event,
    limits::HISTORY_ENTRIES_MAX,
    message::{Changed, Changes, ChangesPage, Dropped, Message},
};

use super::{Query, Tracker, change};

impl Tracker {
    /// A message was changed. It says nothing of where a conversation stands, so one that is not followed is not followed
    /// for it from there on.
    pub(super) fn changed(&mut self, changed: Changed) {
        let message = &changed.message;
        let conversation = self.named(message);
        let own = message.sender == self.me && self.unanswered.contains(&message.client_id);
        if let Some(track) = self.tracks.get_mut(&conversation) {
            change(track, &mut self.held, &mut self.ready, |track, ready| track.changed(changed, own, ready));
            self.want(conversation);
        } else if self.knows_all() {
            // It began while there was no connection: what was placed in it is told by no event.
            let mut track = self.unheard_of(conversation.clone(), message.position, changed.prev);
            track.changed(changed, own, &mut self.ready);
            self.unsure.push_back(conversation.clone());
            self.follow(conversation, track);
        } else {
            self.ready.tell(Event::MessageChanged(changed));
        }
    }

    /// Events that have no number in a conversation were dropped on the way here. In a room, changes of messages are
    /// among them: those of them that matter can be read.
    pub(super) fn dropped(&mut self, dropped: Dropped) {
        if matches!(dropped.conversation, Conversation::Room(_))
            && let Some(track) = self.tracks.get_mut(&dropped.conversation)
        {
            track.suspect_changes(true);
            self.want_changes(&dropped.conversation);
        }
        self.ready.tell(Event::MessagesDropped(dropped));
    }

    pub(super) fn want_changes(&mut self, conversation: &Conversation) {
        let wanted = self.tracks.get(conversation).is_some_and(|track| track.wanted_changes().is_some());
        let asked = matches!(&self.asked, Some(Query::Changes(query)) if query.conversation == *conversation);
        if wanted && !asked && !self.unchanged.contains(conversation) {
            self.unchanged.push_back(conversation.clone());
        }
    }

    pub(super) fn ask_changes(&mut self) -> Option<Query> {
        while let Some(conversation) = self.next_of(|tracker| &mut tracker.unchanged) {
            let Some(track) = self.tracks.get_mut(&conversation) else { continue };
            let Some(since) = track.wanted_changes() else { continue };
            track.suspect_changes(false);
            return Some(Query::Changes(Changes { conversation, since, limit: HISTORY_ENTRIES_MAX as u16 }));
        }
        None
    }

    /// What was fetched.
    pub(super) fn changes(&mut self, page: ChangesPage) {
        let Some(Query::Changes(query)) = self.asked.take() else { return };
        let Some(track) = self.tracks.get_mut(&query.conversation) else { return };
        let (me, unanswered) = (&self.me, &self.unanswered);
        let own = |message: &Message| message.sender == *me && unanswered.contains(&message.client_id);
        change(track, &mut self.held, &mut self.ready, |track, ready| track.changes(page, own, ready));
        if track.lacks_changes() && track.rev() == query.since {
            // A server that answers with nothing would be asked for ever.
            self.give_up_changes(&query.conversation);
        } else {
            self.want_changes(&query.conversation);
        }
    }

    /// The server refuses: what changed stays unknown.
    pub(super) fn give_up_changes(&mut self, conversation: &Conversation) {
        if let Some(track) = self.tracks.get_mut(conversation) {
            change(track, &mut self.held, &mut self.ready, |track, ready| track.give_up_changes(ready));
        }
    }
}
