//! Whether the client is connected, and why not.

use quail_protocol::{Close, Reject};
use tokio::sync::watch;

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A carrier is being established or the login waits for its answer.
    Connecting,
    /// Logged in: calls go out, events come in.
    Connected,
    /// The session's connection is gone and does not come back.
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
    /// The server was silent for the idle timeout, or did not answer the login within the greeting deadline.
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
        State::Connecting | State::Connected => Cause::LoggedOut,
    }
}
