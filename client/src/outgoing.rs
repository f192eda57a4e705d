//! Messages on their way out.

use quail_protocol::{
    Advice, Conversation, Position, Priority,
    bounded::{self, List, TooLong},
    id::{ClientMessageId, UserId},
    message::{Content, Extension, MessageBody, MessageKind, Options, Send, Sent, Text},
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
    content: Result<Content, TooLong>,
}

impl Outgoing {
    pub(crate) fn text(client: Client, conversation: Conversation, text: String) -> Self {
        let content = Text::encode(text).map(|body| Content::new(MessageKind::Text, body));
        Self::new(client, conversation, content)
    }

    pub(crate) fn of_kind(client: Client, conversation: Conversation, body: &impl MessageBody) -> Self {
        Self::new(client, conversation, body.to_content())
    }

    fn new(client: Client, conversation: Conversation, content: Result<Content, TooLong>) -> Self {
        let id = client.message_id();
        Self { client, conversation, id, priority: Priority::default(), content }
    }

    /// A message of an earlier run.
    pub(crate) fn of(client: Client, send: Send) -> Self {
        let Send { conversation, id, priority, content } = send;
        Self { client, conversation, id, priority, content: Ok(content) }
    }

    /// How urgent the message is, [`Priority::Normal`] unless set. Order is promised within a priority only.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Adds bytes for the receiving app, up to 1,024. ZIM's `extendedData`.
    pub fn extension(self, bytes: impl Into<bytes::Bytes>) -> Self {
        let extension = Extension::new(bytes);
        self.with(|content| {
            content.extension = extension?;
            Ok(())
        })
    }

    /// Calls a user by name; up to 100 of them.
    pub fn mention(self, user: UserId) -> Self {
        self.with(|content| {
            let mut users = std::mem::take(&mut content.mentions.users).into_vec();
            users.push(user);
            content.mentions.users = List::new(users)?;
            Ok(())
        })
    }

    /// Calls everybody by name.
    pub fn mention_all(self) -> Self {
        self.with(|content| {
            content.mentions.all = true;
            Ok(())
        })
    }

    /// Answers a message of the same conversation.
    pub fn reply_to(self, position: Position) -> Self {
        self.with(|content| {
            content.reply_to = Some(position);
            Ok(())
        })
    }

    /// Gives the message no number and keeps it nowhere: it is told to those who are connected, once. If its reply is
    /// lost the client does not send it again ([`CallError::Unknown`]).
    pub fn unkept(self) -> Self {
        self.option(|options| (options.persist, options.count) = (false, false))
    }

    /// Does not count the message as unread.
    pub fn uncounted(self) -> Self {
        self.option(|options| options.count = false)
    }

    /// Sends the message only if the other side is connected; otherwise nothing happens, and [`Sent::ack`] says
    /// `NotDelivered`.
    pub fn online_only(self) -> Self {
        self.option(|options| options.online_only = true)
    }

    /// What a push notification would say, up to 512 bytes.
    pub fn push(self, text: impl Into<String>) -> Self {
        let push = bounded::Text::new(text);
        self.with(|content| {
            content.options.push = push?;
            Ok(())
        })
    }

    fn option(self, change: impl FnOnce(&mut Options)) -> Self {
        self.with(|content| {
            change(&mut content.options);
            Ok(())
        })
    }

    /// Changes the content; what does not fit is told when the message is sent.
    fn with(mut self, change: impl FnOnce(&mut Content) -> Result<(), TooLong>) -> Self {
        if let Ok(content) = &mut self.content
            && let Err(too_long) = change(content)
        {
            self.content = Err(too_long);
        }
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
            content: self.content.clone().map_err(CallError::TooLarge)?,
        };
        if send.content.options.persist {
            self.client.sending(&send)?;
        }
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
