//! Errors by audience: what an app can conclude from each.

use std::{error::Error, fmt, io};

use quail_protocol::{
    Reject,
    bounded::TooLong,
    id::{AppId, DeviceId, InvalidId, UserId},
};

use crate::state::Cause;

/// Why no session came to be. Nothing is left behind: no task, no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A field without a default was not given to the builder. Nothing was sent.
    #[error("the builder was given no {0}")]
    Missing(&'static str),
    /// An id is not one. Nothing was sent; the same input fails again.
    #[error("invalid {field} id")]
    InvalidId {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: InvalidId,
    },
    /// A text is longer than the wire carries. Nothing was sent; the same input fails again.
    #[error("the {field} is too long")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// The bound in bytes.
        source: TooLong,
    },
    /// The address is not `host:port`, or the URL is not `ws[s]://host[:port]/path`. The same input fails again.
    #[error("invalid address {0:?}")]
    Address(String),
    /// The host name could not be resolved: it does not exist, or there is no network.
    #[error("cannot resolve {address:?}")]
    Resolve {
        /// What was to be resolved.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No local socket could be bound.
    #[error("cannot bind a socket")]
    Socket(#[source] io::Error),
    /// The operating system gave no random numbers. Nothing was sent.
    #[error("no random numbers")]
    Random(#[source] Box<dyn Error + Send + Sync>),
    /// The app's token callback failed. Nothing was sent.
    #[error("no token")]
    Token(#[source] TokenError),
    /// The trust setting cannot be used, for example a root that is no certificate. The same input fails again.
    #[error("unusable trust setting")]
    Trust(#[source] Box<dyn Error + Send + Sync>),
    /// The server's certificate is not trusted, or its TLS cannot be spoken. A wrong fingerprint ends here.
    #[error("the server's certificate was refused: {0}")]
    Untrusted(String),
    /// The storage cannot be read or written, or another client uses it.
    #[error("the storage fails")]
    Storage(#[source] io::Error),
    /// The storage is another's: each app, user and device needs its own. Nothing was sent.
    #[error("the storage belongs to {user} of {app} on device {device}")]
    ForeignStorage {
        /// Whose app.
        app: AppId,
        /// Whose.
        user: UserId,
        /// On which terminal.
        device: DeviceId,
    },
    /// The carrier or the login failed. [`Cause::LoginRefused`] holds the server's reason and its advice.
    #[error("{0}")]
    Failed(Cause),
}

/// Why a call has no reply.
///
/// Only [`Reject`](CallError::Reject), [`TooLarge`](CallError::TooLarge) and [`Storage`](CallError::Storage) say that
/// nothing happened. After the others the request was served once or not at all; a message may be sent again with the same client message id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused the request and changed nothing. [`Code::advice`](quail_protocol::Code::advice) says what to
    /// do. One exception is `Code::TimedOut`: the server gave up, and a send may still happen.
    #[error("refused: {0}")]
    Reject(Reject),
    /// The request is longer than the session's limits allow. Nothing was sent; the same request fails again.
    #[error("the request is too large: {0}")]
    TooLarge(TooLong),
    /// The storage could not keep the message. Nothing was sent.
    #[error("the storage fails: {0}")]
    Storage(io::ErrorKind),
    /// The connection ended before the reply and does not come back. The request was served once or not at all.
    #[error("disconnected: {0}")]
    Disconnected(Cause),
    /// The connection ended before the reply to a change, or to a message without a number. It was made or not; the client
    /// itself reconnects.
    #[error("the connection was lost before the reply")]
    Unknown,
    /// No reply within the call timeout. The request was served once or not at all.
    #[error("no reply in time")]
    TimedOut,
    /// The request was served, but its reply cannot be read by this build.
    #[error("malformed reply")]
    Malformed,
}

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The app signals more often than the session's limits allow.
    #[error("too many signals")]
    TooOften,
    /// The body is longer than the session's limits allow.
    #[error("the signal is too large: {0}")]
    TooLarge(TooLong),
    /// There is no connection now.
    #[error("there is no connection")]
    Disconnected,
}

/// Why the app's token callback has no token; holds the app's own error.
///
/// ```
/// use quail_client::TokenError;
///
/// let error = TokenError::new("the account service is down");
/// assert_eq!(error.to_string(), "the account service is down");
/// ```
pub struct TokenError(Box<dyn Error + Send + Sync>);

impl TokenError {
    /// Wraps an error or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
