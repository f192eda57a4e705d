//! Visitors who become users.

use std::{future::Future, sync::Arc};

use quail_protocol::{Code, id::UserId, session::Login};

use super::Client;
use crate::{
    dialer::{Dialer, Token},
    error::{CallError, ConnectError, TokenError},
    greeting::{Greeting, Words},
    pending::Waiting,
    state::Cause,
};

/// What a visitor's handle keeps for the day when the visitor logs in.
pub(crate) struct Becoming {
    pub(crate) dialer: Dialer,
    /// Without the user and the token.
    pub(crate) login: Login,
}

impl Client {
    /// Logs a visitor in on the same connection, and returns the handle of the user. The rooms that the visitor was in are the
    /// user's, from the position that they have; [`Event::RoomLeft`](crate::protocol::Event::RoomLeft) tells of one that does
    /// not let the user in. From now on the session is kept when the connection is lost, and later connections log in, with a
    /// new token from `token_with` each. The [`Events`](crate::Events) go on.
    ///
    /// Refused with `Code::AlreadyLoggedIn` for whoever is no [visitor](crate::Builder::visitor). After an error the visitor
    /// is one still, and may try again: the third refusal ends the connection. So they are if this future is dropped before
    /// the answer; if it comes all the same, the user's session ends, and the connection is made again for the visitor.
    ///
    /// ```no_run
    /// # async fn f(visitor: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = visitor.log_in("alice", || async { Ok("…".to_owned()) }).await?;
    /// client.room("lobby")?.send("I was here before").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn log_in<F, R>(&self, user: impl AsRef<str>, token_with: F) -> Result<Self, ConnectError>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        let becoming = self.0.becoming.as_ref();
        let becoming = becoming.ok_or(refused(CallError::Reject(Code::AlreadyLoggedIn.into())))?;
        let user =
            UserId::new(user.as_ref()).map_err(|source| ConnectError::InvalidId { field: "user", source })?;
        let login = Login { user: user.clone(), ..becoming.login.clone() };
        let token = Token::Callback(Arc::new(move || Box::pin(token_with())));
        let greeting = Greeting::Login(Box::new(login), token);
        let dialer = Dialer { greeting: greeting.clone(), ..becoming.dialer.clone() };
        let Words::Login(login) = greeting.words(None).await? else { unreachable!("it is a login") };
        let (dial, to_be) = (dialer.repeat(), user.clone());
        let waiting = |reply, slot| Waiting::LogIn { user: to_be, dial, reply, slot };
        let logged_in = self.ask(*login, waiting).await.map_err(refused)?;
        Ok(self.of(user, logged_in.limits))
    }
}

fn refused(error: CallError) -> ConnectError {
    ConnectError::Failed(match error {
        CallError::Reject(reject) => Cause::LoginRefused(reject),
        CallError::TimedOut => Cause::TimedOut,
        CallError::Disconnected(cause) => cause,
        CallError::Unknown => Cause::Interrupted,
        _ => Cause::Malformed,
    })
}
