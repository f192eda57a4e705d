//! What was committed to many outboxes: the ack first, then the events, in the order of the places.

use std::sync::Arc;

use quail_protocol::{
    Code, Conversation, Reject,
    conversation::{Mark, Marked},
    event::EventBody,
    id::{AppId, UserId},
    message::{Message, Send},
    user::{Update, Updated},
};

use tokio::sync::oneshot;

use super::Hub;
use crate::{
    domain::conversation::Marks,
    respond::Responder,
    session::{Session, outbox::Subject},
    store::{Appended, MarkKept, Place, ProfileKept, Store, Written, commit::Stage},
    telemetry::Metrics,
};

/// Who waits for the outcome of a write.
#[derive(Debug)]
pub struct Ticket {
    /// The tenant.
    pub app: AppId,
    /// The session that asked; it gets the reply and no event.
    pub sender: Arc<Session>,
    /// The way back.
    pub reply: Reply,
}

/// How a write is answered.
#[derive(Debug)]
pub enum Reply {
    /// To a send.
    Send(Responder<Send>),
    /// To marks.
    Mark(Responder<Mark>),
    /// To an update of a profile.
    Update(Responder<Update>),
    /// To a handler that goes on when the write is kept, or with why it is not.
    Handler(oneshot::Sender<Result<(), Reject>>),
}

impl Reply {
    /// Says that the write was not made.
    pub fn refuse(self, reject: Reject) {
        match self {
            Self::Send(responder) => responder.reply(Err(reject)),
            Self::Mark(responder) => responder.reply(Err(reject)),
            Self::Update(responder) => responder.reply(Err(reject)),
            // A handler that was given up waits no more.
            Self::Handler(waiting) => _ = waiting.send(Err(reject)),
        }
    }
}

/// Stands behind the committer and tells everyone.
pub struct FanOut {
    /// Who is online.
    pub hub: Arc<Hub>,
    /// Says what an ack promises.
    pub store: Arc<dyn Store>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Stage<Ticket> for FanOut {
    /// A session that was displaced changes nothing more, not even what waited already.
    fn admits(&self, ticket: &Ticket) -> bool {
        ticket.sender.may_send()
    }

    fn refuse(&self, ticket: Ticket) {
        ticket.reply.refuse(Code::NotLoggedIn.into());
    }

    fn deliver(&self, ticket: Ticket, outcome: Option<Written>) {
        let Ticket { app, sender, reply } = ticket;
        match (reply, outcome) {
            (Reply::Send(responder), Some(Written::Append(appended))) => {
                self.appended(&app, &sender, responder, appended);
            }
            (Reply::Mark(responder), Some(Written::Mark(kept))) => {
                self.marked(&app, &sender, responder, kept);
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
                self.tell(app, sender, &message);
            }
            Appended::Duplicate(place) => responder.reply(Ok(place.sent(self.store.ack()))),
            Appended::Conflict => responder.reply(Err(Code::MessageConflict.into())),
        }
    }

    fn marked(&self, app: &AppId, sender: &Arc<Session>, responder: Responder<Mark>, kept: Option<MarkKept>) {
        let Some(kept) = kept else { return responder.reply(Err(Code::EpochMismatch.into())) };
        let Marks { delivered, read } = kept.marks;
        responder.reply(Ok(Marked { delivered, read }));
        if kept.changed {
            self.tell_others(app, sender, &kept.user, &kept.event());
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
            self.tell_others(app, sender, &kept.profile.user, &kept.event(feed));
        }
    }

    /// Tells a change of a user to their sessions, but for the one that made it.
    fn tell_others(&self, app: &AppId, sender: &Arc<Session>, user: &UserId, event: &impl EventBody) {
        let frame = event.to_frame();
        let others = self.hub.sessions(app, user).into_iter().filter(|session| !Arc::ptr_eq(session, sender));
        others.for_each(|session| session.outbox.push_notice(frame.clone()));
    }

    fn tell(&self, app: &AppId, sending: &Arc<Session>, message: &Message) {
        let frame = message.to_frame();
        let tell = |session: &Arc<Session>, as_named: &Conversation| {
            let subject = Subject { conversation: as_named.clone(), position: message.position };
            let dropped = session.outbox.push_event(message.priority.lane(), frame.clone(), subject);
            self.metrics.delivered(dropped);
        };
        for session in self.hub.sessions(app, &message.sender) {
            if !Arc::ptr_eq(&session, sending) {
                tell(&session, &message.conversation);
            }
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
