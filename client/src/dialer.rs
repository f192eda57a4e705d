//! A connection with a login, as often as one is needed.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use quail_protocol::{Close, session::ResumeToken};
use tokio::time::timeout;

use crate::{
    builder::CarrierKind,
    carrier::websocket::{Tcp, WebSocket},
    dial,
    error::{ConnectError, TokenError},
    greeting::{Greeted, Greeting},
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

impl Token {
    pub(crate) async fn get(self) -> Result<String, TokenError> {
        match self {
            Self::Fixed(token) => Ok(token),
            Self::Callback(callback) => callback().await,
        }
    }
}

pub(crate) type Dialed = Result<(Link, Greeted), ConnectError>;

/// Makes connections, each with a greeting of its own that goes on with a session if it is still kept.
pub(crate) type Dial =
    Box<dyn Fn(Option<ResumeToken>) -> Pin<Box<dyn Future<Output = Dialed> + Send>> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: String,
    pub(crate) trust: Trust,
    pub(crate) carrier: CarrierKind,
    pub(crate) endpoint: Option<quinn::Endpoint>,
    pub(crate) tcp: Tcp,
    pub(crate) connect_timeout: Duration,
    pub(crate) greeting: Greeting,
}

impl Dialer {
    /// Connects and greets once.
    pub(crate) async fn dial(self, resume: Option<ResumeToken>) -> Dialed {
        let mut words = self.greeting.words(resume).await?;
        let mut link = match &self.carrier {
            CarrierKind::Quic => {
                let socket = (self.endpoint, words.streams_per_lane());
                Link::new(dial::quic(&self.address, &self.trust, socket, self.connect_timeout).await?)
            }
            CarrierKind::WebSocket { url } => {
                words.without_windows();
                let connecting =
                    timeout(self.connect_timeout, WebSocket::connect(url, &self.trust, &self.tcp));
                Link::new(connecting.await.map_err(|_| ConnectError::Failed(Cause::ServerUnavailable))??)
            }
        };
        match words.say(&mut link).await {
            Ok(greeted) => Ok((link, greeted)),
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
        Box::new(move |token| Box::pin(self.clone().dial(token)))
    }
}
