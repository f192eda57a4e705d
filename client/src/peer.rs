//! One-to-one conversations.

use std::ops::{Bound, RangeBounds};

use quail_protocol::{
    Conversation, Priority, Seq,
    bounded::TooLong,
    id::{ClientMessageId, UserId},
    limits::HISTORY_ENTRIES_MAX,
    message::{Body, Ext, History, MessageKind, Page, Send, Sent, Text},
};

use crate::{client::Client, error::CallError};

/// The largest number that is exact in every client language.
const SEQ_MAX: u64 = (1 << 53) - 1;

/// The conversation with one other user. Cheap to make and to clone.
///
/// ```no_run
/// # async fn f(client: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use quail_client::Priority;
///
/// let bob = client.peer("bob")?;
/// bob.send("hi").await?;
/// bob.message("wake up!").priority(Priority::High).send().await?;
/// let page = bob.history(1..=50).await?;
/// println!("{} of {} entries", page.messages.len(), page.head.seq.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Peer {
    client: Client,
    user: UserId,
}

impl Peer {
    pub(crate) fn new(client: Client, user: UserId) -> Self {
        Self { client, user }
    }

    /// The other user.
    pub fn user_id(&self) -> &UserId {
        &self.user
    }

    /// Sends a text with normal priority. The answer says what is promised ([`Sent::ack`]).
    pub async fn send(&self, text: impl Into<String>) -> Result<Sent, CallError> {
        self.message(text).send().await
    }

    /// Starts a text message.
    pub fn message(&self, text: impl Into<String>) -> Outgoing {
        Outgoing {
            client: self.client.clone(),
            conversation: Conversation::Peer(self.user.clone()),
            id: self.client.message_id(),
            priority: Priority::default(),
            body: Text::encode(text),
        }
    }

    /// Reads entries by their numbers, oldest first, at most 100 at a time; an open end means the newest.
    ///
    /// [`Page::next`] says where to go on if entries of the range are left: `history(next.0..=50)`.
    pub async fn history(&self, range: impl RangeBounds<u64>) -> Result<Page, CallError> {
        let (from, to, limit) = bounds(&range);
        let conversation = Conversation::Peer(self.user.clone());
        self.client.call(History { conversation, from, to, limit }).await
    }
}

/// A message that was not sent yet. Its id is fixed here: sending a clone again after a lost reply adds no second
/// message, the server answers with the first result.
///
/// ```no_run
/// # async fn f(bob: quail_client::Peer) -> Result<(), quail_client::CallError> {
/// let message = bob.message("exactly once");
/// let sent = match message.clone().send().await {
///     Err(quail_client::CallError::TimedOut) => message.send().await?,
///     other => other?,
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message is sent by `send`"]
pub struct Outgoing {
    client: Client,
    conversation: Conversation,
    id: ClientMessageId,
    priority: Priority,
    body: Result<Body, TooLong>,
}

impl Outgoing {
    /// How urgent the message is, [`Priority::Normal`] unless set. Order is promised within a priority only.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The sender's own name for the message.
    pub fn id(&self) -> ClientMessageId {
        self.id
    }

    /// Sends the message and waits for its place.
    pub async fn send(self) -> Result<Sent, CallError> {
        let body = self.body.map_err(CallError::TooLarge)?;
        let Self { client, conversation, id, priority, .. } = self;
        client
            .call(Send { conversation, id, priority, kind: MessageKind::Text, body, ext: Ext::default() })
            .await
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (Seq, Seq, u16) {
    let from = match range.start_bound() {
        Bound::Included(seq) => *seq,
        Bound::Excluded(seq) => seq.saturating_add(1),
        Bound::Unbounded => 0,
    }
    .clamp(1, SEQ_MAX);
    let to = match range.end_bound() {
        Bound::Included(seq) => *seq,
        Bound::Excluded(seq) => seq.saturating_sub(1),
        Bound::Unbounded => SEQ_MAX,
    }
    .min(SEQ_MAX);
    let most = HISTORY_ENTRIES_MAX as u64;
    let wanted = (to.saturating_add(1)).saturating_sub(from).clamp(1, most);
    (Seq(from), Seq(to), wanted as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_numbers_becomes_a_query() {
        assert_eq!(bounds(&(1..=50)), (Seq(1), Seq(50), 50));
        assert_eq!(bounds(&(10..20)), (Seq(10), Seq(19), 10));
        assert_eq!(bounds(&(5..)), (Seq(5), Seq(SEQ_MAX), 100));
        assert_eq!(bounds(&(..)), (Seq(1), Seq(SEQ_MAX), 100));
        assert_eq!(bounds(&(0..=0)), (Seq(1), Seq(0), 1));
        assert_eq!(bounds(&(u64::MAX..=u64::MAX)), (Seq(SEQ_MAX), Seq(SEQ_MAX), 1));
    }
}
