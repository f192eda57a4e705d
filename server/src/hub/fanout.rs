//! What was committed to many outboxes: the ack first, then the events, in the order of the places.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use quail_protocol::{
    Code, Conversation, Position, Priority, Reject, Rev,
    conversation::{ConversationMarked, Mark, PeerMarked},
    event::EventBody,
    id::{AppId, UserId},
    message::{Ack, Changed, Message, Recall, Send, Sent, Unnumbered},
    user::{Update, Updated},
};

use tokio::sync::oneshot;

use super::{Hub, rooms::Rooms};
use crate::{
    respond::Responder,
    session::{
        Session,
        outbox::{Pushed, Subject},
    },
    store::{
        Appended, ConversationKey, MarkKept, Place, ProfileKept, RecallKept, Store, Written, commit::Stage,
    },
    telemetry::Metrics,
};

/// Who waits for the outcome of a write.
#[derive(Debug)]
pub enum Ticket {
    /// A session, for what it asked.
    Session {
        /// The tenant.
        app: AppId,
        /// The session that asked; it gets the reply and no event.
        sender: Arc<Session>,
        /// The way back.
        reply: Reply,
    },
    /// A room, for what happened in it already: it is kept whoever did it.
    Room {
        /// Whoever did it, if they still wait.
        waiting: oneshot::Sender<Result<(), Reject>>,
        /// To be set when it is written.
        settles: Option<Arc<AtomicBool>>,
    },
    /// Nobody: these are messages of a room that is over.
    Forget(ConversationKey),
}

impl Ticket {
    /// Says that the write was not made.
    pub fn refuse(self, reject: Reject) {
        match self {
            Self::Session { reply, .. } => reply.refuse(reject),
            // Nobody waits for what a room does by itself.
            Self::Room { waiting, .. } => _ = waiting.send(Err(reject)),
            // The next start goes on with it.
            Self::Forget(_) => {}
        }
    }
}

/// How a write is answered.
#[derive(Debug)]
pub enum Reply {
    /// To a send.
    Send(Responder<Send>),
    /// To a send into a room whose messages are kept.
    Said(Said),
    /// To marks.
    Mark(Responder<Mark>),
    /// To an update of a profile.
    Update(Responder<Update>),
    /// To a recall.
    Recall(Responder<Recall>),
    /// To a handler that goes on when the write is kept, or with why it is not.
    Handler(oneshot::Sender<Result<(), Reject>>),
}

impl Reply {
    /// Says that the write was not made.
    pub fn refuse(self, reject: Reject) {
        match self {
            Self::Send(responder) => responder.reply(Err(reject)),
            Self::Said(said) => said.responder.reply(Err(reject)),
            Self::Mark(responder) => responder.reply(Err(reject)),
            Self::Update(responder) => responder.reply(Err(reject)),
            Self::Recall(responder) => responder.reply(Err(reject)),
            // A handler that was given up waits no more.
            Self::Handler(waiting) => _ = waiting.send(Err(reject)),
        }
    }
}

/// A message on its way into a room whose messages are kept.
#[derive(Debug)]
pub struct Said {
    /// The way back.
    pub responder: Responder<Send>,
    /// How urgent it was to be.
    pub asked: Priority,
    /// How many of the newest messages of the room are kept; all if there is no bound.
    pub keep: Option<NonZeroU64>,
}

/// Answers a send into a room where the event would be: on the lane of the priority that it got, which may be less than
/// was asked for.
pub fn answer_on_lane(responder: Responder<Send>, result: Result<Sent, Reject>) {
    match &result {
        Ok(sent) => responder.on_lane(sent.priority.lane()).reply(result),
        Err(_) => responder.reply(result),
    }
}

/// Stands behind the committer and tells everyone.
pub struct FanOut {
    /// Who is online.
    pub hub: Arc<Hub>,
    /// The rooms that are live.
    pub rooms: Arc<Rooms>,
    /// Says what an ack promises.
    pub store: Arc<dyn Store>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Stage<Ticket> for FanOut {
    /// A session that was displaced changes nothing more, not even what waited already.
    fn admits(&self, ticket: &Ticket) -> bool {
        match ticket {
            Ticket::Session { sender, .. } => sender.may_send(),
            Ticket::Room { .. } | Ticket::Forget(_) => true,
        }
    }

    fn refuse(&self, ticket: Ticket) {
        ticket.refuse(Code::NotLoggedIn.into());
    }

    fn deliver(&self, ticket: Ticket, outcome: Option<Written>) {
        let (app, sender, reply) = match (ticket, &outcome) {
            (Ticket::Session { app, sender, reply }, _) => (app, sender, reply),
            (Ticket::Room { waiting, settles }, Some(_)) => {
                settles.iter().for_each(|settles| settles.store(true, Ordering::Release));
                // Nobody waits for what a room does by itself.
                _ = waiting.send(Ok(()));
                return;
            }
            (Ticket::Forget(key), Some(Written::Forget(forgotten))) => {
                return self.rooms.forgot(key, *forgotten);
            }
            (other, _) => return other.refuse(Code::Unavailable.into()),
        };
        match (reply, outcome) {
            (Reply::Send(responder), Some(Written::Append(appended))) => {
                self.appended(&app, &sender, responder, appended);
            }
            (Reply::Said(said), Some(Written::Append(appended))) => {
                self.said(&app, &sender, said, appended);
            }
            (Reply::Mark(responder), Some(Written::Mark(kept))) => {
                self.marked(&app, &sender, responder, kept);
            }
            (Reply::Recall(responder), Some(Written::Recall(outcome))) => {
                self.recalled(&app, &sender, responder, outcome);
            }
            (reply, Some(Written::Profile(kept))) => self.updated(&app, &sender, reply, kept),
            (reply, None) => reply.refuse(Code::Unavailable.into()),
            // An outcome of what was not asked for: a fault of the store.
            (reply, Some(_)) => reply.refuse(Code::Internal.into()),
        }
    }
}

impl FanOut {
    fn appended(&self, app: &AppId, sender: &Arc<Session>, responder: Responder<Send>, outcome: Appended) {
        match outcome {
            Appended::Placed(message) => {
                self.metrics.message_placed();
                responder.reply(Ok(Place::of(&message).sent(self.store.ack())));
                self.tell(app, sender, &message, message.position, message.to_frame());
            }
            Appended::Passed(message) => self.passed(app, sender, responder, &message),
            Appended::Duplicate(place) => responder.reply(Ok(place.sent(self.store.ack()))),
            Appended::Conflict => responder.reply(Err(Code::MessageConflict.into())),
            Appended::RecipientUnknown => responder.reply(Err(Code::UserUnknown.into())),
        }
    }

    /// The same in a room, which tells it.
    fn said(&self, app: &AppId, sender: &Arc<Session>, said: Said, outcome: Appended) {
        let (ack, Said { responder, asked, keep }) = (self.store.ack(), said);
        let answer = |result| answer_on_lane(responder, result);
        match outcome {
            Appended::Placed(message) => {
                let sent = Place::of(&message).sent(ack);
                let answer = move |told: Result<(), Code>| answer(told.map(|()| sent).map_err(Reject::from));
                self.rooms.placed(app, sender, message, (asked, keep), answer);
            }
            Appended::Duplicate(place) => answer(Ok(place.sent(ack))),
            Appended::Conflict => answer(Err(Code::MessageConflict.into())),
            // Of a message that is to be kept, in a room: faults of the store.
            Appended::Passed(_) | Appended::RecipientUnknown => answer(Err(Code::Internal.into())),
        }
    }

    /// Tells a message without a number. Its sender learns if anybody got it.
    fn passed(&self, app: &AppId, sending: &Arc<Session>, responder: Responder<Send>, message: &Unnumbered) {
        let frame = message.to_frame();
        let tell = |session: &Arc<Session>, as_named: &Conversation| {
            let pushed = session.outbox.push_passing(message.priority.lane(), frame.clone(), as_named);
            self.metrics.passed((pushed == Pushed::Queued).into(), (pushed == Pushed::Dropped).into());
            pushed == Pushed::Queued
        };
        let others = self.others(app, sending, &message.sender);
        let own = others.iter().filter(|session| tell(session, &message.conversation)).count();
        let got = match other_than(&message.sender, &message.conversation) {
            Some(recipient) => {
                let from_sender = Conversation::Peer(message.sender.clone());
                let sessions = self.hub.sessions(app, recipient);
                sessions.iter().filter(|session| tell(session, &from_sender)).count()
            }
            None => own,
        };
        let Unnumbered { id, follows, priority, time, .. } = *message;
        let place = Place { id, position: follows, prev: Default::default(), rev: Rev(0), priority, time };
        responder.reply(Ok(place.sent(if got > 0 { Ack::Accepted } else { Ack::NotDelivered })));
    }

    fn marked(&self, app: &AppId, sender: &Arc<Session>, responder: Responder<Mark>, kept: Option<MarkKept>) {
        let Some(kept) = kept else { return responder.reply(Err(Code::EpochMismatch.into())) };
        responder.reply(Ok(kept.reply()));
        if !kept.changed {
            return;
        }
        let frame = kept.event().to_frame();
        for session in self.others(app, sender, &kept.user) {
            session.outbox.push_latest(ConversationMarked::KIND, kept.conversation.clone(), frame.clone());
        }
        if let Some((other, receipt)) = kept.receipt() {
            let frame = receipt.to_frame();
            for session in self.hub.sessions(app, other) {
                session.outbox.push_latest(PeerMarked::KIND, receipt.conversation.clone(), frame.clone());
            }
        }
    }

    fn recalled(
        &self,
        app: &AppId,
        sender: &Arc<Session>,
        responder: Responder<Recall>,
        outcome: Result<RecallKept, Code>,
    ) {
        let kept = match outcome {
            Ok(kept) => kept,
            Err(code) => return responder.reply(Err(code.into())),
        };
        if let Conversation::Room(_) = kept.message.conversation {
            let reply = kept.reply();
            let answer =
                move |told: Result<(), Code>| responder.reply(told.map(|()| reply).map_err(Reject::from));
            return self.rooms.recalled(app, sender, kept, answer);
        }
        responder.reply(Ok(kept.reply()));
        if kept.changed {
            let head = kept.head;
            let changed: Changed = kept.event();
            self.tell(app, sender, &changed.message, head, changed.to_frame());
        }
    }

    fn updated(&self, app: &AppId, sender: &Arc<Session>, reply: Reply, kept: ProfileKept) {
        match reply {
            Reply::Update(responder) => responder.reply(Ok(Updated { profile: kept.profile.clone() })),
            // A handler that was given up waits no more.
            Reply::Handler(waiting) => _ = waiting.send(Ok(())),
            other => return other.refuse(Code::Internal.into()),
        }
        if let Some(feed) = kept.feed {
            let frame = kept.event(feed).to_frame();
            for session in self.others(app, sender, &kept.profile.user) {
                session.outbox.push_notice(frame.clone());
            }
        }
    }

    /// The sessions of a user but for the one that acts.
    fn others(&self, app: &AppId, acting: &Arc<Session>, user: &UserId) -> Vec<Arc<Session>> {
        let mut sessions = self.hub.sessions(app, user);
        sessions.retain(|session| !Arc::ptr_eq(session, acting));
        sessions
    }

    /// Tells what happened to a placed message to all but the session that did it. `head` is the conversation's newest
    /// position by then: what a session that falls behind has to read up to.
    fn tell(&self, app: &AppId, acting: &Arc<Session>, message: &Message, head: Position, frame: Bytes) {
        let tell = |session: &Arc<Session>, as_named: &Conversation| {
            let subject = Subject { conversation: as_named.clone(), head, rev: message.rev };
            let dropped = session.outbox.push_event(message.priority.lane(), frame.clone(), subject);
            self.metrics.delivered(dropped);
        };
        for session in self.others(app, acting, &message.sender) {
            tell(&session, &message.conversation);
        }
        if let Some(recipient) = other_than(&message.sender, &message.conversation) {
            let from_sender = Conversation::Peer(message.sender.clone());
            for session in self.hub.sessions(app, recipient) {
                tell(&session, &from_sender);
            }
        }
    }
}

/// The other user of a peer conversation, unless it is with oneself.
fn other_than<'a>(sender: &UserId, conversation: &'a Conversation) -> Option<&'a UserId> {
    match conversation {
        Conversation::Peer(user) if user != sender => Some(user),
        _ => None,
    }
}
