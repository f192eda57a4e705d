//! Visitors who become users.

use std::{future::Future, sync::Arc};

use quail_protocol::{
    Code, Lane, Operation, frame,
    id::UserId,
    session::{LoggedIn, Login},
};
use tokio::{sync::oneshot, time::timeout};

use super::Client;
use crate::{
    dialer::{Dialer, Token},
    error::{CallError, ConnectError, TokenError},
    greeting::{Greeting, Words},
    outbox::Request,
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
        let body = postcard::to_stdvec(&*login).unwrap_or_else(|_| unreachable!("wire types always encode"));
        let reply = async {
            let turn = self.0.window.turn(Lane::Control).await.map_err(|_| self.disconnected())?;
            let (reply, answer) = oneshot::channel();
            let waiting =
                Waiting::LogIn { user: user.clone(), dial: dialer.repeat(), reply, slot: turn.slot };
            let request =
                Request { lane: Lane::Control, info: Login::INFO, body: body.into(), own: None, waiting };
            self.0.requests.try_send(request).map_err(|_| self.disconnected())?;
            drop(turn.first);
            answer.await.map_err(|_| self.disconnected())?
        };
        let answered = timeout(self.0.call_timeout, reply).await.unwrap_or(Err(CallError::TimedOut));
        let logged_in: LoggedIn =
            frame::decode(&answered.map_err(refused)?).map_err(|_| ConnectError::Failed(Cause::Malformed))?;
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
