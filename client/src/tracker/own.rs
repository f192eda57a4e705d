//! What this client adds itself. Its replies stand where the events would be.

use quail_protocol::{
    Conversation,
    message::{Ack, Message, Recalled, Sent},
};

use super::{Held, Ready, Track, Tracker, UNANSWERED_MAX, change};
use crate::outbox::OwnMessage;

impl Tracker {
    /// A send goes out: its entry is not told to the app, wherever it comes from.
    pub(crate) fn sending(&mut self, own: &OwnMessage) {
        if self.unanswered.insert(own.id) {
            self.sent.push_back(own.id);
        }
        if self.sent.len() > UNANSWERED_MAX
            && let Some(id) = self.sent.pop_front()
        {
            self.unanswered.remove(&id);
        }
    }

    /// A send has its place.
    pub(crate) fn sent(&mut self, own: &OwnMessage, sent: &Sent) {
        self.unanswered.remove(&own.id);
        // An answer that comes after the room was left begins nothing. A message that is kept may get its place after that.
        let is_late = self.is_late(&own.conversation, sent.position) || self.is_out(&own.conversation);
        if sent.ack == Ack::NotDelivered || is_late {
            self.earlier.remove(&own.id);
            return;
        }
        let followed = self.tracks.contains_key(&own.conversation);
        let held = Held::own(sent.priority, sent.prev, sent.rev);
        self.place(own.conversation.clone(), sent.position, held);
        if self.earlier.remove(&own.id) && !followed {
            // What was placed between it and the new connection is told by no event.
            self.unsure.push_back(own.conversation.clone());
        }
    }

    /// What a message is in, as this user names it.
    pub(super) fn named(&self, message: &Message) -> Conversation {
        match &message.conversation {
            Conversation::Peer(user) if message.sender != self.me && *user == self.me => {
                Conversation::Peer(message.sender.clone())
            }
            named => named.clone(),
        }
    }

    /// A recall is answered.
    pub(crate) fn recalled(&mut self, conversation: &Conversation, recalled: &Recalled) {
        if let Some(track) = self.tracks.get_mut(conversation) {
            let own = |track: &mut Track, _: &mut Ready| track.own_change(recalled.rev);
            change(track, &mut self.held, &mut self.ready, own);
            self.want(conversation.clone());
        }
    }
}
