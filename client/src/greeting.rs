//! What a connection begins with: a login or a visit.

use quail_protocol::{
    Timestamp,
    bounded::Text,
    conversation::Conversations,
    id::{SessionId, UserId},
    session::{Limits, LoggedIn, Login, ResumeToken, Visit, Visiting},
};

use crate::{dialer::Token, error::ConnectError, link::Link, state::Cause};

/// How this side says who it is.
#[derive(Clone)]
pub(crate) enum Greeting {
    /// A user, with everything but the token.
    Login(Box<Login>, Token),
    /// Nobody.
    Visit(Visit),
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Greeted {
    pub(crate) session: SessionId,
    /// The session is the one that was to be gone on with.
    pub(crate) resumed: bool,
    /// The key to the session, if it is kept when its connection is lost.
    pub(crate) resume_token: Option<ResumeToken>,
    pub(crate) time: Timestamp,
    pub(crate) limits: Limits,
    /// What the server calls the visitor.
    pub(crate) visitor: Option<UserId>,
    /// The first of the user's conversations; nothing for a visitor.
    pub(crate) conversations: Conversations,
}

impl From<LoggedIn> for Greeted {
    fn from(logged_in: LoggedIn) -> Self {
        let LoggedIn { session, resumed, resume_token, time, limits, conversations, .. } = logged_in;
        let resume_token = Some(resume_token);
        Self { session, resumed, resume_token, time, limits, visitor: None, conversations }
    }
}

impl From<Visiting> for Greeted {
    fn from(visiting: Visiting) -> Self {
        let Visiting { session, visitor, time, limits, .. } = visiting;
        let (visitor, conversations) = (Some(visitor), Conversations::default());
        Self { session, resumed: false, resume_token: None, time, limits, visitor, conversations }
    }
}

/// A greeting as it goes out once.
pub(crate) enum Words {
    Login(Box<Login>),
    Visit(Visit),
}

impl Greeting {
    /// Gets a token if one is needed. `resume` names the session to go on with.
    pub(crate) async fn words(self, resume: Option<ResumeToken>) -> Result<Words, ConnectError> {
        match self {
            Self::Login(login, token) => {
                let token = token.get().await.map_err(ConnectError::Token)?;
                let token =
                    Text::new(token).map_err(|source| ConnectError::TooLong { field: "token", source })?;
                Ok(Words::Login(Box::new(Login { token, resume, ..*login })))
            }
            Self::Visit(visit) => Ok(Words::Visit(visit)),
        }
    }
}

impl Words {
    /// The carrier has no stream windows to report.
    pub(crate) fn without_windows(&mut self) {
        match self {
            Self::Login(login) => (login.stream_window_bytes, login.streams_per_lane) = (0, 1),
            Self::Visit(visit) => visit.stream_window_bytes = 0,
        }
    }

    /// Streams of each lane.
    pub(crate) fn streams_per_lane(&self) -> u8 {
        match self {
            Self::Login(login) => login.streams_per_lane,
            Self::Visit(_) => 1,
        }
    }

    /// Says it, and waits for the answer.
    pub(crate) async fn say(&self, link: &mut Link) -> Result<Greeted, Cause> {
        match self {
            Self::Login(login) => link.greet(&**login).await.map(Greeted::from),
            Self::Visit(visit) => link.greet(visit).await.map(Greeted::from),
        }
    }
}
