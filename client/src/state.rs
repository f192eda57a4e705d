//! Whether the client is connected, and why not.

use quail_protocol::{Advice, Close, Reject, close::Return};
use tokio::sync::watch;

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A carrier is being established or the login waits for its answer.
    Connecting,
    /// Logged in: calls go out, events come in.
    Connected,
    /// The connection is gone and is made again by itself, with a new session. Calls wait meanwhile.
    Reconnecting {
        /// Why it is gone, or why the last try failed.
        cause: Cause,
    },
    /// The connection is gone and does not come back.
    Disconnected {
        /// Why.
        cause: Cause,
    },
}

/// Why a connection ended or never came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// This side ended it: [`Client::close`](crate::Client::close) was called or the last handle was dropped.
    #[error("logged out")]
    LoggedOut,
    /// The server closed; [`Close::comes_back`] says whether to connect again.
    #[error("closed by the server: {0}")]
    Closed(Close),
    /// The server was silent for two thirds of the idle timeout, or did not answer the login within the greeting deadline.
    #[error("timed out")]
    TimedOut,
    /// The carrier broke without a word of the server. Connecting again may help.
    #[error("interrupted")]
    Interrupted,
    /// The server does not speak this protocol generation. Only another client or server helps.
    #[error("the server does not speak this protocol version")]
    VersionRefused,
    /// The server refused the login; [`Code::advice`](quail_protocol::Code::advice) says what to do.
    #[error("login refused: {0}")]
    LoginRefused(Reject),
    /// Nobody serves at the address, or the server takes no connection now.
    #[error("the server is not available")]
    ServerUnavailable,
    /// The server sent what the protocol does not allow. A fault of the server or of this client.
    #[error("the server broke the protocol")]
    Malformed,
}

impl Cause {
    /// Whether the client connects again by itself after this. A refused login does if its code advises to retry: the
    /// session that was lost may still count against the user's number of sessions for a while.
    pub fn comes_back(self) -> bool {
        match self {
            Self::Closed(close) => close.comes_back() != Return::Never,
            Self::LoginRefused(reject) => reject.code.advice() == Advice::Retry,
            Self::TimedOut | Self::Interrupted | Self::ServerUnavailable => true,
            Self::LoggedOut | Self::VersionRefused | Self::Malformed => false,
        }
    }
}

/// The client's state as it changes. Rapid changes are merged: only the newest state is kept.
///
/// ```no_run
/// # async fn f(client: quail_client::Client) {
/// use quail_client::State;
///
/// let mut states = client.states();
/// while let Some(state) = states.changed().await {
///     if let State::Disconnected { cause } = state {
///         println!("gone: {cause}");
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct States(watch::Receiver<State>);

impl States {
    pub(crate) fn new(receiver: watch::Receiver<State>) -> Self {
        Self(receiver)
    }

    /// The state now. A change up to here is no longer reported by [`changed`](Self::changed).
    pub fn current(&mut self) -> State {
        *self.0.borrow_and_update()
    }

    /// The next state that was not seen yet, or `None` once the last one was seen and no other can follow.
    pub async fn changed(&mut self) -> Option<State> {
        self.0.changed().await.ok()?;
        Some(self.current())
    }
}

/// Why a call finds the window closed: the connection ended, or a logout under way will end it.
pub(crate) fn cause_of(state: State) -> Cause {
    match state {
        State::Disconnected { cause } => cause,
        State::Connecting | State::Connected | State::Reconnecting { .. } => Cause::LoggedOut,
    }
}
