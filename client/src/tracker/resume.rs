//! After a lost connection: where something may have been missed.

use quail_protocol::{
    Timestamp,
    bounded::List,
    limits::CURSORS_PER_RESUME_MAX,
    session::{Missed, Resume, Resumed},
};

use super::{Query, Tracker, change, track::Track};

impl Tracker {
    /// A new connection stands: everything may have been missed. The conversations in use come first. What was asked is
    /// answered yet if the session is the one of before, and forgotten if not.
    pub(crate) fn reconnected(&mut self, resumed: bool, login: Timestamp) {
        if !resumed {
            self.retry();
        }
        self.went_on = resumed;
        self.ready.connected(login);
        self.paging.reconnected(login, matches!(self.asked, Some(Query::Sync(_))));
        self.earlier.clone_from(&self.unanswered);
        self.rooms_after(resumed);
        let unsure = self.uses.values().rev().filter(|conversation| !self.comes_again(conversation));
        self.unsure = unsure.cloned().collect();
    }

    pub(super) fn ask_resume(&mut self) -> Option<Query> {
        let some = self.unsure.len().min(CURSORS_PER_RESUME_MAX);
        let tracks = self.unsure.drain(..some).filter_map(|conversation| self.tracks.get(&conversation));
        let cursors = List::new(tracks.map(Track::cursor).collect());
        let cursors = cursors.unwrap_or_else(|_| unreachable!("no more were taken"));
        (!cursors.is_empty()).then_some(Query::Resume(Resume { cursors }))
    }

    /// What the server says of the cursors that were asked about.
    pub(super) fn answered(&mut self, resumed: Resumed) {
        let Some(Query::Resume(Resume { cursors })) = self.asked.take() else { return };
        for (cursor, answer) in cursors.into_vec().into_iter().zip(resumed.answers.into_vec()) {
            let conversation = cursor.conversation;
            self.known(&conversation, answer.missed != Missed::NotMember);
            let Some(track) = self.tracks.get_mut(&conversation) else { continue };
            change(track, &mut self.held, &mut self.ready, |track, ready| {
                track.answered(cursor.position.epoch, answer, ready);
            });
            if answer.missed == Missed::NotMember {
                self.forget(&conversation);
            } else {
                self.want(conversation);
            }
        }
    }
}
