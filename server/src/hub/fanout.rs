//! One placed message to many outboxes: the ack first, then the events, in the order of the places.

use std::sync::Arc;

use quail_protocol::{
    Code, Conversation,
    event::EventBody,
    id::{AppId, UserId},
    message::{Message, Send},
};

use super::Hub;
use crate::{
    respond::Responder,
    session::{Session, outbox::Subject},
    store::{Appended, Place, Store, commit::Stage},
    telemetry::Metrics,
};

/// Who waits for a send's outcome.
#[derive(Debug)]
pub struct Ticket {
    /// The tenant.
    pub app: AppId,
    /// The session that sent; it gets the ack and no event.
    pub sender: Arc<Session>,
    /// The way back.
    pub responder: Responder<Send>,
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
    /// A session that was displaced places nothing more, even what waited already.
    fn admits(&self, ticket: &Ticket) -> bool {
        ticket.sender.may_send()
    }

    fn refuse(&self, ticket: Ticket) {
        ticket.responder.reply(Err(Code::NotLoggedIn.into()));
    }

    fn deliver(&self, ticket: Ticket, outcome: Option<Appended>) {
        match outcome {
            Some(Appended::Placed(message)) => {
                self.metrics.message_placed();
                ticket.responder.reply(Ok(Place::of(&message).sent(self.store.ack())));
                self.tell(&ticket.app, &ticket.sender, &message);
            }
            Some(Appended::Duplicate(place)) => {
                ticket.responder.reply(Ok(place.sent(self.store.ack())));
            }
            Some(Appended::Conflict) => ticket.responder.reply(Err(Code::MessageConflict.into())),
            None => ticket.responder.reply(Err(Code::Unavailable.into())),
        }
    }
}

impl FanOut {
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
