//! Changes of messages that have their place.

use quail_protocol::{
    Conversation,
    limits::HISTORY_ENTRIES_MAX,
    message::{Changed, Changes, ChangesPage},
};

use super::{Query, Tracker, change};

impl Tracker {
    /// A message was changed. One of a conversation that is not followed says nothing of what was missed before.
    pub(super) fn changed(&mut self, changed: Changed) {
        let conversation = self.named(&changed.message);
        if let Some(track) = self.tracks.get_mut(&conversation) {
            change(track, &mut self.held, &mut self.ready, |track, ready| track.changed(changed, ready));
            self.want(conversation);
        } else {
            let (position, prev) = (changed.message.position, changed.prev);
            let mut track = self.unheard_of(conversation.clone(), position, prev);
            track.changed(changed, &mut self.ready);
            self.follow(conversation, track);
        }
    }

    pub(super) fn want_changes(&mut self, conversation: &Conversation) {
        let wanted = self.tracks.get(conversation).is_some_and(|track| track.wanted_changes().is_some());
        let asked = matches!(&self.asked, Some(Query::Changes(query)) if query.conversation == *conversation);
        if wanted && !asked && !self.unchanged.contains(conversation) {
            self.unchanged.push_back(conversation.clone());
        }
    }

    pub(super) fn ask_changes(&mut self) -> Option<Query> {
        while let Some(conversation) = self.unchanged.pop_front() {
            let track = self.tracks.get(&conversation);
            let Some(since) = track.and_then(|track| track.wanted_changes()) else { continue };
            return Some(Query::Changes(Changes { conversation, since, limit: HISTORY_ENTRIES_MAX as u16 }));
        }
        None
    }

    /// What was fetched.
    pub(super) fn changes(&mut self, page: ChangesPage) {
        let Some(Query::Changes(query)) = self.asked.take() else { return };
        let Some(track) = self.tracks.get_mut(&query.conversation) else { return };
        let mut further = false;
        change(track, &mut self.held, &mut self.ready, |track, ready| further = track.changes(page, ready));
        if further {
            self.want_changes(&query.conversation);
        } else {
            // A server that answers with nothing would be asked for ever.
            self.give_up_changes(&query.conversation);
        }
    }

    /// The server refuses: what changed stays unknown.
    pub(super) fn give_up_changes(&mut self, conversation: &Conversation) {
        if let Some(track) = self.tracks.get_mut(conversation) {
            track.give_up_changes();
        }
    }
}
