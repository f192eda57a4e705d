//! Being there without being anybody.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Limits;
use crate::{
    bounded::Text,
    id::{AppId, SessionId, UserId},
    limits::CLIENT_BYTES_MAX,
    time::Timestamp,
};

/// How the ids of visitors begin. Whoever logs in as a user of such an id is refused.
pub const VISITOR_PREFIX: &str = "visitor:";

/// Become a visitor: a session of nobody, which may be in rooms and read, and no more. Sent instead of a login. Tencent
/// Chat's guests and their `AVChatRoom`.
///
/// A visitor's session is not kept when its connection is lost; its client visits again, and comes into its rooms again.
///
/// Rejects: `AppUnknown`, `VisitorsRefused`, `TooManyVisitors`, `AppFull`, `AlreadyLoggedIn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Visit {
    /// The client's [`crate::version::REVISION`].
    pub revision: u16,
    /// The tenant.
    pub app: AppId,
    /// Name and version of the client, for logs (`quail-client/0.1.0`).
    pub client: Text<CLIENT_BYTES_MAX>,
    /// Bytes the client grants on each stream, as in [`super::Login::stream_window_bytes`].
    pub stream_window_bytes: u32,
}

/// The session exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Visiting {
    /// The session.
    pub session: SessionId,
    /// The server's name for the visitor. Nobody else is told, and no user has such an id.
    pub visitor: UserId,
    /// The server's [`crate::version::REVISION`].
    pub revision: u16,
    /// The server's clock.
    pub time: Timestamp,
    /// What holds for this session. Its frames are smaller than a user's, and its requests draw from no bucket.
    pub limits: Limits,
}
