//! After a lost connection: where something may have been missed.

use quail_protocol::{
    Conversation, Position, Rev, Timestamp,
    bounded::List,
    limits::CURSORS_PER_RESUME_MAX,
    session::{Cursor, Missed, Resume, Resumed},
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
        let unsure = unsure.cloned().collect();
        // Of a room in doubt nothing need be followed.
        let before = std::mem::replace(&mut self.unsure, unsure);
        let is_doubtful = |room: &Conversation| self.is_doubtful(room) && !self.tracks.contains_key(room);
        let doubtful: Vec<_> = before.into_iter().filter(is_doubtful).collect();
        self.unsure.extend(doubtful);
    }

    pub(super) fn ask_resume(&mut self) -> Option<Query> {
        let mut cursors = vec![];
        while cursors.len() < CURSORS_PER_RESUME_MAX
            && let Some(conversation) = self.next_of(|tracker| &mut tracker.unsure)
        {
            match self.tracks.get(&conversation) {
                Some(track) => cursors.push(track.cursor()),
                // Anybody in the room is told where it stands.
                None if self.is_doubtful(&conversation) => {
                    let (position, ahead, rev) = (Position::default(), List::default(), Rev(0));
                    cursors.push(Cursor { conversation, position, ahead, rev });
                }
                None => {}
            }
        }
        let cursors = List::new(cursors).unwrap_or_else(|_| unreachable!("no more were taken"));
        (!cursors.is_empty()).then_some(Query::Resume(Resume { cursors }))
    }

    /// What the server says of the cursors that were asked about.
    pub(super) fn answered(&mut self, resumed: Resumed) {
        let Some(Query::Resume(Resume { cursors })) = self.asked.take() else { return };
        for (cursor, answer) in cursors.into_vec().into_iter().zip(resumed.answers.into_vec()) {
            let conversation = cursor.conversation;
            if matches!(conversation, Conversation::Room(_)) && self.unsure.contains(&conversation) {
                // It is to be asked again: this may be older than what was heard since.
                continue;
            }
            let is_in = answer.missed != Missed::NotMember;
            self.known(&conversation, is_in);
            let Some(track) = self.tracks.get_mut(&conversation) else {
                if is_in && self.is_in(&conversation) {
                    let track = Track::starting_at(conversation.clone(), answer.head, answer.rev);
                    self.follow(conversation, track);
                }
                continue;
            };
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
