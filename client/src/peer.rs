//! One-to-one conversations.

use std::ops::{Bound, RangeBounds};

use quail_protocol::{
    Conversation, Seq,
    id::UserId,
    limits::HISTORY_ENTRIES_MAX,
    message::{History, Page, Sent},
};

use crate::{
    client::Client,
    error::CallError,
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
        Outgoing::new(self.client.clone(), Conversation::Peer(self.user.clone()), text.into())
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
