//! Domain `session`: login, logout, ping.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::{
    bounded::Text,
    id::{AppId, DeviceId, SessionId, UserId},
    limits::{AVATAR_BYTES_MAX, CLIENT_BYTES_MAX, NAME_BYTES_MAX, TOKEN_BYTES_MAX},
    open::open_enum,
    operation::operations,
    position::Position,
    time::Timestamp,
};

operations! { 0x01 "session" {
    0x01 "login"  Login  => LoggedIn,  Anyone, Change, Free, control;
    0x02 "logout" Logout => LoggedOut, User,   Change, Free, control;
    0x03 "ping"   Ping   => Pong,      Anyone, Query,  Free, control;
    0x04 "renew_token" RenewToken => TokenRenewed, User, Change, Change, control;
}}

/// Become a session. Sent first on the Control lane, within the greeting deadline.
///
/// Rejects: `AppUnknown`, the `Token…` codes, `AlreadyLoggedIn`, `TooManySessions`. The connection stays in greeting,
/// so another login may follow; the third refusal closes it with `Close::LoginRefused`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Login {
    /// The client's [`crate::version::REVISION`].
    pub revision: u16,
    /// The tenant.
    pub app: AppId,
    /// Who logs in; must equal the token's `sub`.
    pub user: UserId,
    /// A JWT signed with one of the app's keys.
    pub token: Text<TOKEN_BYTES_MAX>,
    /// Display name; `None` keeps the stored one.
    pub name: Option<Text<NAME_BYTES_MAX>>,
    /// Avatar URL; `None` keeps the stored one.
    pub avatar: Option<Text<AVATAR_BYTES_MAX>>,
    /// Which terminal.
    pub device: DeviceId,
    /// What kind of terminal.
    pub platform: Platform,
    /// Name and version of the client, for logs (`quail-client/0.1.0`).
    pub client: Text<CLIENT_BYTES_MAX>,
    /// Bytes the client grants on each stream (its `initial_max_stream_data`). The server sizes its own buffer by it;
    /// 0 says unknown.
    pub stream_window_bytes: u32,
}

/// Prints no token.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("app", &self.app)
            .field("user", &self.user)
            .field("device", &self.device)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

open_enum! {
    /// What kind of terminal a session runs on.
    Platform: u8 {
        /// iPhone or iPad.
        Ios = 1,
        /// Android.
        Android = 2,
        /// macOS.
        MacOs = 3,
        /// Windows.
        Windows = 4,
        /// Linux.
        Linux = 5,
        /// A browser.
        Web = 6,
        /// A program without a person in front of it.
        Bot = 7,
    }
}

impl Platform {
    /// The class that multi-login policies count by.
    pub const fn class(self) -> PlatformClass {
        match self {
            Self::Ios | Self::Android => PlatformClass::Mobile,
            Self::MacOs | Self::Windows | Self::Linux => PlatformClass::Desktop,
            Self::Web => PlatformClass::Web,
            Self::Bot | Self::Unknown(_) => PlatformClass::Other,
        }
    }
}

/// Kinds of terminals that a user has one of in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlatformClass {
    /// Phones and tablets.
    Mobile,
    /// Computers.
    Desktop,
    /// Browsers.
    Web,
    /// Bots and what this build does not know.
    Other,
}

/// The session exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct LoggedIn {
    /// The new session.
    pub session: SessionId,
    /// The server's [`crate::version::REVISION`].
    pub revision: u16,
    /// The server's clock; client message ids are made with it.
    pub time: Timestamp,
    /// When the token expires.
    pub token_expires: Timestamp,
    /// What the app allows this user.
    pub limits: Limits,
    /// The newest position of the user's feed.
    pub feed: Position,
}

/// Limits in force for a session. Rates are per second and user, with a burst of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Limits {
    /// Bytes of one frame after its length prefix.
    pub frame_bytes: u32,
    /// Requests that may wait for their reply.
    pub requests_in_flight: u16,
    /// Bytes of the body of a text message.
    pub text_bytes: u32,
    /// Text messages per second.
    pub texts_per_second: u32,
    /// Queries per second.
    pub queries_per_second: u32,
    /// Changes per second.
    pub changes_per_second: u32,
    /// Silence after which the client sends `session.ping`, in milliseconds.
    pub ping_after_ms: u32,
    /// Silence after which the server closes with `Close::Idle`, in milliseconds.
    pub idle_timeout_ms: u32,
}

/// End the session. After the reply the client closes the connection with `Close::LoggedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Logout {}

/// The session is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct LoggedOut {}

/// Show that both ends are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Ping {}

/// The answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Pong {
    /// The server's clock.
    pub time: Timestamp,
}

/// Go on under a new token, before the one before expires. ZIM's `renewToken`.
///
/// Rejects: the `Token…` codes; the session then goes on under the token before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RenewToken {
    /// A JWT for the same app and user.
    pub token: Text<TOKEN_BYTES_MAX>,
}

/// Prints no token.
impl std::fmt::Debug for RenewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenewToken").finish_non_exhaustive()
    }
}

/// The new token is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct TokenRenewed {
    /// When it expires.
    pub token_expires: Timestamp,
}

/// The token expires soon, and with it the session. ZIM's `tokenWillExpire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct TokenWillExpire {
    /// Seconds that are left.
    pub seconds: u32,
}

/// The server goes away soon. Requests in flight are still answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Draining {
    /// Wait at least this long before connecting again, in milliseconds.
    pub retry_after_ms: u32,
}
