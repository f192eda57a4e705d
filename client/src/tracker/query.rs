//! What is asked of the server, one thing at a time.

use std::{collections::VecDeque, mem};

use quail_protocol::{
    Conversation, Reject, Seq, conversation,
    frame::{self, Malformed},
    limits::HISTORY_ENTRIES_MAX,
    message::{Changes, Direction, History, Message, Page},
    room::{Enter, Join, Leave, Left},
    session::Resume,
};

use super::{Tracker, change, track::Track};

/// What to ask the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// What the app has missed of some conversations.
    Resume(Resume),
    /// Which conversations there are.
    Sync(conversation::Sync),
    /// The entries it has missed.
    History(History),
    /// The changes it has missed.
    Changes(Changes),
    /// To come into a room again, and to make it if it is gone.
    Enter(Enter),
    /// To come into a room again.
    Join(Join),
    /// To be out of a room again that the app had left when this client came into it.
    Leave(Leave),
}

impl Query {
    /// True if it changes which rooms this session is in.
    pub(crate) fn is_of_rooms(&self) -> bool {
        matches!(self, Self::Enter(_) | Self::Join(_) | Self::Leave(_))
    }
}

impl Tracker {
    /// True if what was asked and is not answered changes which rooms this session is in.
    pub(crate) fn asked_is_of_rooms(&self) -> bool {
        self.asked.as_ref().is_some_and(Query::is_of_rooms)
    }

    /// True if there is something to ask but for rooms to come into, and nothing on its way.
    pub(crate) fn wants(&self) -> bool {
        // A room that is yet to be come into again answers nothing.
        let mut queued = self.holes.iter().chain(&self.unchanged).chain(&self.unsure);
        let something = self.paging.is_due() || queued.any(|conversation| !self.comes_again(conversation));
        self.asked.is_none() && self.ready.is_empty() && something
    }

    /// What to ask next: a room to come into or to leave if there is one, or what `ask_else` says. Answered by `fetched`,
    /// `retry` or `give_up`.
    pub(crate) fn ask(&mut self) -> Option<Query> {
        if !self.wants_in() {
            return self.ask_else();
        }
        self.asked = self.places.ask();
        self.asked.clone()
    }

    /// What to ask next if it is too early for rooms.
    pub(crate) fn ask_else(&mut self) -> Option<Query> {
        if !self.wants() {
            return None;
        }
        self.asked = self.ask_resume();
        self.asked = self.asked.take().or_else(|| self.ask_sync());
        self.asked = self.asked.take().or_else(|| self.ask_history());
        self.asked = self.asked.take().or_else(|| self.ask_changes());
        self.asked.clone()
    }

    /// The first of a queue that can be asked about now.
    pub(super) fn next_of(
        &mut self,
        queue: impl Fn(&mut Self) -> &mut VecDeque<Conversation>,
    ) -> Option<Conversation> {
        let mut queued = mem::take(queue(self));
        let at = queued.iter().position(|conversation| !self.comes_again(conversation));
        let next = at.and_then(|at| queued.remove(at));
        *queue(self) = queued;
        next
    }

    fn ask_history(&mut self) -> Option<Query> {
        while let Some(conversation) = self.next_of(|tracker| &mut tracker.holes) {
            let Some((from, to)) = self.tracks.get(&conversation).and_then(Track::wanted) else { continue };
            let (limit, direction) = (HISTORY_ENTRIES_MAX as u16, Direction::Forwards);
            let (from, to) = (Seq(from), Seq(to));
            return Some(Query::History(History { conversation, from, to, limit, direction }));
        }
        None
    }

    /// The server's answer to what was asked. After an error `give_up` is due.
    pub(crate) fn fetched(&mut self, body: &[u8]) -> Result<(), Malformed> {
        match self.asked {
            Some(Query::Resume(_)) => self.answered(frame::decode(body)?),
            Some(Query::Sync(_)) => self.listed(frame::decode(body)?),
            Some(Query::History(_)) => self.page(frame::decode(body)?),
            Some(Query::Changes(_)) => self.changes(frame::decode(body)?),
            Some(Query::Enter(_) | Query::Join(_)) => self.came_again(&frame::decode(body)?),
            Some(Query::Leave(_)) => self.left_again(frame::decode::<Left>(body)?.last),
            None => {}
        }
        Ok(())
    }

    /// What was fetched.
    pub(super) fn page(&mut self, page: Page) {
        let Some(Query::History(query)) = self.asked.take() else { return };
        let (me, unanswered) = (&self.me, &self.unanswered);
        let Some(track) = self.tracks.get_mut(&query.conversation) else { return };
        let own = |message: &Message| message.sender == *me && unanswered.contains(&message.client_id);
        change(track, &mut self.held, &mut self.ready, |track, ready| track.page(&query, page, own, ready));
        match track.wanted() {
            None => {}
            // A server that answers with nothing would be asked for ever.
            Some((from, _)) if from == query.from.0 => self.forget(&query.conversation),
            Some(_) => self.holes.push_back(query.conversation),
        }
    }

    /// The server could not answer now: the same again.
    pub(crate) fn retry(&mut self) {
        match self.asked.take() {
            Some(Query::Resume(Resume { cursors })) => {
                for cursor in cursors.into_vec().into_iter().rev() {
                    self.unsure.push_front(cursor.conversation);
                }
            }
            Some(Query::Sync(query)) => self.paging.go_on(query.after),
            Some(Query::History(query)) => self.holes.push_front(query.conversation),
            Some(Query::Changes(query)) => {
                if let Some(track) = self.tracks.get_mut(&query.conversation) {
                    track.suspect_changes(true);
                }
                self.unchanged.push_front(query.conversation);
            }
            Some(Query::Enter(Enter { room, .. }) | Query::Join(Join { room, .. })) => {
                self.places.retry(room);
            }
            Some(Query::Leave(Leave { room, .. })) => self.places.leave(room),
            None => {}
        }
    }

    /// The server refuses: the app gets what there is, and learns that something is missing.
    pub(crate) fn give_up(&mut self, reject: Option<&Reject>) {
        match self.asked.take() {
            Some(Query::Resume(Resume { cursors })) => {
                for cursor in cursors.into_vec() {
                    let is_in = !self.is_doubtful(&cursor.conversation);
                    self.known(&cursor.conversation, is_in);
                    self.refused(&cursor.conversation);
                }
            }
            Some(Query::History(query)) => self.refused(&query.conversation),
            Some(Query::Changes(query)) => self.give_up_changes(&query.conversation),
            Some(Query::Enter(Enter { room, .. }) | Query::Join(Join { room, .. })) => {
                self.stays_out(&room, reject);
            }
            Some(Query::Sync(_) | Query::Leave(_)) | None => {}
        }
    }

    fn refused(&mut self, conversation: &Conversation) {
        if let Some(track) = self.tracks.get_mut(conversation) {
            track.suspect();
        }
        self.forget(conversation);
    }
}
