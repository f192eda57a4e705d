//! One room: its rules, and the sessions that are told.

use std::sync::Arc;

use quail_protocol::{
    Code, Conversation, Position, Priority, Reject, Rev, Seq, Timestamp,
    bounded::List,
    event::EventBody,
    id::{RoomId, SessionId, UserId},
    limits::{HISTORY_BYTES_MAX, RECENT_MAX},
    message::{Ack, ChangesPage, Direction, Message, Page, Sent, Unnumbered},
    room::{LeaveCause, Reason, RoomLeft},
};

use super::{
    Now,
    crowd::{Bounds, Crowd, Telling},
};
use crate::{
    domain::room::{Came, Expired, Newcomer, Place, Placed, Refused, Room as Rules, Sending, Tidings},
    session::Session,
    store::{self, ChangesRead, Range, RangeQuery},
    telemetry::Metrics,
};

/// How far a room has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its newest position.
    pub position: Position,
    /// The newest number of each priority.
    pub last_by_priority: [Seq; Priority::COUNT],
    /// The first number that is still kept.
    pub first: Seq,
    /// The number of its newest change of a message.
    pub rev: Rev,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) rules: Rules,
    conversation: Option<Conversation>,
    crowd: Crowd,
    ended: bool,
}

impl Live {
    pub(super) fn new(rules: Rules, metrics: Arc<Metrics>) -> Self {
        Self { rules, conversation: None, crowd: Crowd::new(Bounds::default(), metrics), ended: false }
    }

    /// True if nobody may come in any more.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.ended || self.rules.has_ended(now)
    }

    /// True if it was ended: nobody is in it, and nothing of it changes any more.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Lets `answer` happen behind everything that a session was told before.
    pub(super) fn answer(&mut self, session: &Arc<Session>, answer: impl FnOnce() + Send + 'static) {
        self.crowd.answer(session, answer);
    }

    pub(super) fn has(&self, session: &Arc<Session>) -> bool {
        self.crowd.has(session)
    }

    pub(super) fn enter(
        &mut self,
        (newcomer, session): (&Newcomer, &Arc<Session>),
        now: Now,
    ) -> Result<Came, Code> {
        let came = self.rules.enter(newcomer.clone(), now.time)?;
        if came != Came::Already {
            self.crowd.add(newcomer.session, session.clone());
        }
        self.remember(session);
        Ok(came)
    }

    fn remember(&mut self, session: &Arc<Session>) {
        let room = self.rules.id().clone();
        session.remember_room(room.clone());
        self.conversation = Some(Conversation::Room(room));
    }

    /// Lets a visitor in. False if they were.
    pub(super) fn visit(&mut self, (id, session): (SessionId, &Arc<Session>)) -> bool {
        let came = self.rules.visit(id);
        if came {
            self.crowd.add(id, session.clone());
        }
        self.remember(session);
        came
    }

    pub(super) fn leave(
        &mut self,
        user: Option<&UserId>,
        session: &Arc<Session>,
        cause: LeaveCause,
        now: Now,
    ) -> Result<(), Code> {
        let id = self.crowd.remove(session).ok_or(Code::NotInRoom)?;
        if let Some(Conversation::Room(room)) = &self.conversation {
            session.forget_room(room);
        }
        self.rules.leave(user, id, cause, now.time)?;
        Ok(())
    }

    /// Tells everybody that it is over, but for the session that did it. False if it was over before.
    pub(super) fn end(
        &mut self,
        room: &RoomId,
        cause: LeaveCause,
        operator: Option<(&UserId, &Arc<Session>, &Reason)>,
    ) -> bool {
        if self.ended {
            return false;
        }
        self.ended = true;
        let last = self.rules.head();
        let (by, reason) = operator.map(|(user, _, reason)| (user.clone(), reason.clone())).unzip();
        let reason = reason.unwrap_or_default();
        let frame = RoomLeft { room: room.clone(), last, cause, operator: by, reason }.to_frame();
        for session in self.crowd.end(&frame, operator.map(|(_, asked, _)| asked)) {
            session.forget_room(room);
        }
        true
    }

    /// Puts every session of a user out, and tells them.
    pub(super) fn put_out(
        &mut self,
        user: &UserId,
        cause: LeaveCause,
        (operator, reason): (&UserId, &Reason),
        now: Now,
    ) {
        let is_theirs = |session: &Session| session.identity().is_some_and(|identity| identity.user == *user);
        self.oust(is_theirs, Some(user), (cause, Some(operator), reason), now);
    }

    /// Puts a visitor out who cannot stay as the user they became, and tells them.
    pub(super) fn put_out_visitor(&mut self, visitor: &Arc<Session>, cause: LeaveCause, now: Now) {
        let is_theirs = |session: &Session| std::ptr::eq(session, &**visitor);
        self.oust(is_theirs, None, (cause, None, &Reason::default()), now);
    }

    fn oust(
        &mut self,
        whom: impl Fn(&Session) -> bool,
        user: Option<&UserId>,
        (cause, operator, reason): (LeaveCause, Option<&UserId>, &Reason),
        now: Now,
    ) {
        let (room, last) = (self.rules.id().clone(), self.rules.head());
        let (operator, reason) = (operator.cloned(), reason.clone());
        let frame = RoomLeft { room: room.clone(), last, cause, operator, reason }.to_frame();
        for (id, session) in self.crowd.put_out(whom, &frame) {
            session.forget_room(&room);
            // Each of them is in the room, so none is refused.
            _ = self.rules.leave(user, id, cause, now.time);
        }
    }

    /// Tells what ended by itself.
    pub(super) fn tell_expired(&mut self, now: Now) {
        for expired in self.rules.expired(now.time) {
            match expired {
                Expired::Restriction(changed) => self.tell_passing(&changed, Priority::Normal, None),
                Expired::MuteAll(changed) => self.tell_passing(&changed, Priority::Normal, None),
            }
        }
    }

    /// The newest messages.
    pub(super) fn recent(&self, count: usize) -> List<Message, RECENT_MAX> {
        List::new(self.rules.ring().newest(count, HISTORY_BYTES_MAX)).unwrap_or_default()
    }

    pub(super) fn head(&self) -> Head {
        let position = self.rules.head();
        let (last_by_priority, first, rev) =
            (self.rules.last_by_priority(), self.rules.first(), self.rules.rev());
        Head { position, last_by_priority, first, rev }
    }

    /// The same in the words of the store.
    fn stored_head(&self) -> store::Head {
        let Head { position, last_by_priority, first, rev } = self.head();
        let empty = store::Head::empty(position.epoch);
        store::Head { position, last_by_priority, first, rev, ..empty }
    }

    /// Changes of messages behind `since`.
    pub(super) fn changes(&self, since: Rev, entries_max: usize) -> Result<ChangesPage, Code> {
        let changes = self.rules.ring().changed(since).map(|(rev, message)| Ok((rev, message.cloned())));
        let read = ChangesRead::fill(self.stored_head(), entries_max, HISTORY_BYTES_MAX, changes);
        let ChangesRead { head, rev, messages, more } = read.map_err(|_| Code::Internal)?;
        let messages = List::new(messages).map_err(|_| Code::Internal)?;
        Ok(ChangesPage { head, rev, messages, more })
    }

    /// Messages of the ring.
    pub(super) fn page(&self, query: RangeQuery) -> Result<Page, Code> {
        let head = self.stored_head();
        let entries = self.rules.ring().range(query.from, query.to).map(|message| Ok(message.clone()));
        let range = match query.direction {
            Direction::Forwards => Range::fill(head, query, entries),
            Direction::Backwards => Range::fill(head, query, entries.rev()),
        };
        let range = range.map_err(|_| Code::Internal)?;
        let messages = List::new(range.messages).map_err(|_| Code::Internal)?;
        Ok(Page { head: range.head, first: range.first, rev: range.rev, messages, next: range.next })
    }

    /// Tells nobody what has happened so far.
    pub(super) fn forget_news(&mut self, now: Now) {
        self.rules.take_orphaned();
        self.rules.news(now.instant);
    }

    /// Tells what went with owners who left, and who came and went, if it is time.
    pub(super) fn tell(&mut self, now: Now) {
        let orphaned = self.rules.take_orphaned();
        let tidings = self.rules.news(now.instant);
        for orphaned in orphaned {
            self.tell_passing(&orphaned, Priority::Normal, None);
        }
        for tidings in tidings {
            match tidings {
                Tidings::Joined(joined) => self.tell_passing(&joined, Priority::Normal, None),
                Tidings::Left(left) => self.tell_passing(&left, Priority::Normal, None),
            }
        }
    }

    /// Tells an event that has no place and may be dropped where it finds no room.
    pub(super) fn tell_passing(
        &mut self,
        event: &impl EventBody,
        priority: Priority,
        but: Option<&Arc<Session>>,
    ) {
        let Some(conversation) = self.conversation.clone() else { return };
        let frame = event.to_frame();
        self.crowd.tell(Telling { frame, conversation, priority, position: None }, but);
    }

    pub(super) fn placed_before(&self, sending: &Sending) -> Option<Result<Sent, Reject>> {
        match self.rules.placed_before(sending) {
            Ok(place) => place.map(|place| Ok(sent(&place))),
            Err(code) => Some(Err(code.into())),
        }
    }

    /// Gives a message its place and tells it.
    pub(super) fn place(
        &mut self,
        session: &Arc<Session>,
        sending: Sending,
        now: Now,
        metrics: &Metrics,
        answer: impl FnOnce(Result<Sent, Reject>) + Send + 'static,
    ) {
        let asked = sending.priority;
        let message = match self.rules.place(sending, now.time, now.instant) {
            Ok(Placed::Message(message)) => message,
            Ok(Placed::Before(place)) => return answer(Ok(sent(&place))),
            Err(refused) => {
                metrics.room_refused(asked, refused.code);
                return answer(Err(reject(refused)));
            }
        };
        metrics.room_placed(asked, message.priority);
        let told = sent(&Place::of(&message));
        self.tell_placed(session, message, move || answer(Ok(told)));
    }

    /// Answers the sender of a message that has its place, and tells everybody else.
    pub(super) fn tell_placed(
        &mut self,
        session: &Arc<Session>,
        message: Message,
        answer: impl FnOnce() + Send + 'static,
    ) {
        self.crowd.answer(session, answer);
        let (frame, position) = (message.to_frame(), Some(message.position));
        let Message { priority, conversation, .. } = message;
        self.crowd.tell(Telling { frame, conversation, priority, position }, Some(session));
    }

    /// Tells a message that gets no place.
    pub(super) fn pass(
        &mut self,
        session: &Arc<Session>,
        sending: Sending,
        now: Now,
        metrics: &Metrics,
        answer: impl FnOnce(Result<Sent, Reject>) + Send + 'static,
    ) {
        let Sending { user, id, client_id, priority, content, .. } = sending;
        let (follows, member, priority) = match self.rules.pass(&user, priority, now.time, now.instant) {
            Ok(passed) => passed,
            Err(refused) => {
                metrics.room_refused(priority, refused.code);
                return answer(Err(reject(refused)));
            }
        };
        let Some(conversation) = self.conversation.clone() else {
            return answer(Err(Code::NotInRoom.into()));
        };
        let time = now.time;
        let message = Unnumbered {
            id,
            client_id,
            conversation,
            sender: user,
            member,
            follows,
            priority,
            time,
            content,
        };
        let (frame, conversation) = (message.to_frame(), message.conversation);
        let telling = Telling { frame, conversation, priority, position: None };
        let ack = if self.crowd.tell(telling, Some(session)) { Ack::Accepted } else { Ack::NotDelivered };
        let told = Sent { id, position: follows, prev: Seq(0), rev: Rev(0), priority, time, ack };
        self.crowd.answer(session, move || answer(Ok(told)));
    }
}

/// What the sender of a message is told that is lost with the server.
fn sent(place: &Place) -> Sent {
    let Place { id, position, prev, rev, priority, time } = *place;
    Sent { id, position, prev, rev, priority, time, ack: Ack::Accepted }
}

pub(super) fn reject(refused: Refused) -> Reject {
    let retry_after_ms = refused.wait.map(|wait| wait.as_millis() as u32 + 1);
    Reject { retry_after_ms, ..refused.code.into() }
}
