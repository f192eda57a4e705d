//! Messages on their way out.

use quail_protocol::{
    Advice, Conversation, Priority,
    bounded::TooLong,
    id::ClientMessageId,
    message::{Body, Ext, MessageKind, Send, Sent, Text},
};

use crate::{client::Client, error::CallError};

/// A message that was not sent yet. Its id is fixed here: sending it again after a lost reply adds no second message, the
/// server answers with the first result.
///
/// ```no_run
/// # async fn f(bob: quail_client::Peer) -> Result<(), quail_client::CallError> {
/// let sent = match bob.message("exactly once").send().await {
///     Ok(sent) => sent,
///     Err(unsent) => {
///         println!("failed, once more: {}", unsent.error);
///         unsent.message.send().await?
///     }
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
    pub(crate) fn new(client: Client, conversation: Conversation, text: String) -> Self {
        let id = client.message_id();
        Self { client, conversation, id, priority: Priority::default(), body: Text::encode(text) }
    }

    /// A message of an earlier run.
    pub(crate) fn of(client: Client, send: Send) -> Self {
        let Send { conversation, id, priority, body, .. } = send;
        Self { client, conversation, id, priority, body: Ok(body) }
    }

    /// How urgent the message is, [`Priority::Normal`] unless set. Order is promised within a priority only.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The sender's own name for the message.
    pub fn id(&self) -> ClientMessageId {
        self.id
    }

    /// Where it goes.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Sends the message and waits for its place. The error gives the message back.
    ///
    /// With a [storage](crate::Builder::storage) the message is kept from the first poll on until there is an answer: its
    /// place, or a refusal that does not advise to retry. Without an answer it is one of [`Client::unsent`] after a
    /// restart.
    pub async fn send(self) -> Result<Sent, Box<Unsent>> {
        self.attempt().await.map_err(|error| Box::new(Unsent { message: self, error }))
    }

    async fn attempt(&self) -> Result<Sent, CallError> {
        let send = Send {
            conversation: self.conversation.clone(),
            id: self.id,
            priority: self.priority,
            kind: MessageKind::Text,
            body: self.body.clone().map_err(CallError::TooLarge)?,
            ext: Ext::default(),
        };
        self.client.sending(&send)?;
        let sent = self.client.call(send).await;
        if sent.as_ref().err().is_none_or(is_final) {
            self.client.answered(self.id);
        }
        sent
    }

    /// Takes the message out of the [storage](crate::Builder::storage): it is none of [`Client::unsent`] any more. What
    /// was sent of it stays sent.
    pub fn forget(self) {
        self.client.answered(self.id);
    }
}

/// Whether sending again is of no use.
fn is_final(error: &CallError) -> bool {
    match error {
        CallError::Reject(reject) => reject.code.advice() != Advice::Retry,
        CallError::TooLarge(_) => true,
        _ => false,
    }
}

/// A message that has no place, as far as is known, and why. Sending it again adds nothing twice.
///
/// ```no_run
/// # async fn f(bob: quail_client::Peer) {
/// let mut failed = vec![];
/// if let Err(unsent) = bob.send("hi").await {
///     println!("{unsent}; tap to retry");
///     failed.push(unsent.message);
/// }
/// // The user taps.
/// for message in failed {
///     message.send().await.ok();
/// }
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("not sent")]
pub struct Unsent {
    /// The message, with its id.
    pub message: Outgoing,
    /// Why.
    #[source]
    pub error: CallError,
}

impl From<Box<Unsent>> for CallError {
    fn from(unsent: Box<Unsent>) -> Self {
        unsent.error
    }
}
