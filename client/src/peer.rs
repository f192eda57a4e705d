//! One-to-one conversations.

use std::ops::{Bound, RangeBounds};

use quail_protocol::{
    Conversation, Position, Seq,
    conversation::{Mark, Marked},
    id::UserId,
    limits::HISTORY_ENTRIES_MAX,
    message::{
        Direction, History, MessageBody, Page, Recall, Recalled, Sent, Signal, SignalBody, SignalKind,
    },
};

use crate::{
    client::Client,
    error::{CallError, SignalError},
    outgoing::{Outgoing, Unsent},
};

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

    /// Sends a text with normal priority. The answer says what is promised ([`Sent::ack`]); the error holds the message.
    pub async fn send(&self, text: impl Into<String>) -> Result<Sent, Box<Unsent>> {
        self.message(text).send().await
    }

    /// Starts a text message.
    pub fn message(&self, text: impl Into<String>) -> Outgoing {
        Outgoing::text(self.client.clone(), self.conversation(), text.into())
    }

    /// Starts a message of any kind.
    ///
    /// ```no_run
    /// # async fn f(bob: quail_client::Peer) -> Result<(), Box<dyn std::error::Error>> {
    /// use quail_client::protocol::message::{Location, MessageBody};
    ///
    /// let here = Location {
    ///     latitude_e7: 481_372_000,
    ///     longitude_e7: 115_755_000,
    ///     title: quail_client::protocol::bounded::Text::new("Marienplatz")?,
    ///     thumbnail: Default::default(),
    /// };
    /// bob.compose(&here).push("sent you a place").send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn compose(&self, body: &impl MessageBody) -> Outgoing {
        Outgoing::of_kind(self.client.clone(), self.conversation(), body)
    }

    /// Takes a message back; only its sender may, and only for a while ([`Limits::recall_window_ms`]).
    ///
    /// [`Limits::recall_window_ms`]: crate::protocol::session::Limits::recall_window_ms
    pub async fn recall(&self, position: Position) -> Result<Recalled, CallError> {
        self.client.call(Recall { conversation: self.conversation(), position }).await
    }

    /// Says that everything up to `position` was read, and so delivered: on all terminals of this user, and for the other
    /// one as a receipt.
    pub async fn mark_read(&self, position: Position) -> Result<Marked, CallError> {
        self.mark(position, position.seq, position.seq).await
    }

    /// Says that everything up to `position` has arrived.
    pub async fn mark_delivered(&self, position: Position) -> Result<Marked, CallError> {
        self.mark(position, position.seq, Seq(0)).await
    }

    async fn mark(&self, position: Position, delivered: Seq, read: Seq) -> Result<Marked, CallError> {
        let conversation = self.conversation();
        self.client.call(Mark { conversation, epoch: position.epoch, delivered, read }).await
    }

    /// Signals that the user is writing. See [`Client::signal`].
    pub fn typing(&self) -> Result<(), SignalError> {
        self.signal(SignalKind::Typing, SignalBody::default())
    }

    /// Signals something. See [`Client::signal`].
    pub fn signal(&self, kind: SignalKind, body: SignalBody) -> Result<(), SignalError> {
        self.client.signal(&Signal { conversation: self.conversation(), kind, body })
    }

    fn conversation(&self) -> Conversation {
        Conversation::Peer(self.user.clone())
    }

    /// Reads entries by their numbers, oldest first, at most 100 at a time; an open end means the newest.
    ///
    /// [`Page::next`] says where to go on if entries of the range are left: `history(next.0..=50)`.
    pub async fn history(&self, range: impl RangeBounds<u64>) -> Result<Page, CallError> {
        read(&self.client, self.conversation(), range, Direction::Forwards).await
    }

    /// The same from the other end: the newest entries of the range, at most 100 and oldest first in the page.
    ///
    /// [`Page::next`] says where to go on with older ones: `history_backwards(..=next.0)`.
    pub async fn history_backwards(&self, range: impl RangeBounds<u64>) -> Result<Page, CallError> {
        read(&self.client, self.conversation(), range, Direction::Backwards).await
    }
}

/// A page of a conversation's messages.
pub(crate) async fn read(
    client: &Client,
    conversation: Conversation,
    range: impl RangeBounds<u64>,
    direction: Direction,
) -> Result<Page, CallError> {
    let (from, to, limit) = bounds(&range);
    client.call(History { conversation, from, to, limit, direction }).await
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
