//! A connection with a login, as often as one is needed.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use quail_protocol::{
    Close,
    bounded::Text,
    session::{LoggedIn, Login, ResumeToken},
};
use tokio::time::timeout;

use crate::{
    builder::CarrierKind,
    carrier::websocket::{Tcp, WebSocket},
    dial,
    error::{ConnectError, TokenError},
    link::{Link, close_for},
    state::Cause,
    trust::Trust,
};

type TokenFuture = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// Where a token comes from.
#[derive(Clone)]
pub(crate) enum Token {
    Fixed(String),
    Callback(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

pub(crate) type Dialed = Result<(Link, LoggedIn), ConnectError>;

/// Makes connections, each with a login of its own that goes on with a session if it is still kept.
pub(crate) type Dial = Box<dyn Fn(ResumeToken) -> Pin<Box<dyn Future<Output = Dialed> + Send>> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: String,
    pub(crate) trust: Trust,
    pub(crate) carrier: CarrierKind,
    pub(crate) endpoint: Option<quinn::Endpoint>,
    pub(crate) tcp: Tcp,
    pub(crate) connect_timeout: Duration,
    pub(crate) token: Token,
    /// Everything but the token.
    pub(crate) login: Login,
}

impl Dialer {
    /// Connects and logs in once.
    pub(crate) async fn dial(self, resume: Option<ResumeToken>) -> Dialed {
        let mut login = self.login;
        login.resume = resume;
        let token = match self.token {
            Token::Fixed(token) => token,
            Token::Callback(callback) => callback().await.map_err(ConnectError::Token)?,
        };
        login.token = Text::new(token).map_err(|source| ConnectError::TooLong { field: "token", source })?;
        let mut link = match &self.carrier {
            CarrierKind::Quic => {
                Link::new(dial::quic(&self.address, &self.trust, self.endpoint, self.connect_timeout).await?)
            }
            CarrierKind::WebSocket { url } => {
                // A WebSocket has no stream windows to report.
                login.stream_window_bytes = 0;
                let connecting = timeout(self.connect_timeout, WebSocket::connect(url, &self.tcp));
                Link::new(connecting.await.map_err(|_| ConnectError::Failed(Cause::ServerUnavailable))??)
            }
        };
        match link.greet(&login).await {
            Ok(logged_in) => Ok((link, logged_in)),
            Err(cause) => {
                // Whoever means to try again does not log out of the session that may have gone on here.
                let again = resume.is_some() && cause.comes_back();
                link.close(if again { Close::Abandoned } else { close_for(cause) }).await;
                Err(ConnectError::Failed(cause))
            }
        }
    }

    /// The same, any number of times.
    pub(crate) fn repeat(self) -> Dial {
        Box::new(move |token| Box::pin(self.clone().dial(Some(token))))
    }
}
