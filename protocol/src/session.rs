//! Domain `session`: login, logout, ping, and going on after a connection was lost.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

mod visit;

pub use self::visit::{VISITOR_PREFIX, Visit, Visiting};
use crate::{
    bounded::{List, Text},
    conversation::{Conversation, Conversations},
    id::{AppId, DeviceId, SessionId, UserId},
    lane::Priority,
    limits::{AVATAR_BYTES_MAX, CLIENT_BYTES_MAX, CURSORS_PER_RESUME_MAX, NAME_BYTES_MAX, TOKEN_BYTES_MAX},
    open::open_enum,
    operation::operations,
    position::{Position, Rev, Seq},
    time::Timestamp,
};

operations! { 0x01 "session" {
    0x01 "login"  Login  => LoggedIn,  Anyone, Change, Free, control;
    0x02 "logout" Logout => LoggedOut, Visitor, Change, Free, control;
    0x03 "ping"   Ping   => Pong,      Anyone, Query,  Free, control;
    0x04 "renew_token" RenewToken => TokenRenewed, User, Change, Change, control;
    0x05 "resume" Resume => Resumed,   Visitor, Query, Query, control;
    0x06 "visit"  Visit  => Visiting,  Anyone, Change, Free, control;
}}

/// Become a session of a user. Sent first on the Control lane, within the greeting deadline.
///
/// A visitor may log in to the same app on the same connection: a new session begins whatever `resume` says, and is in the
/// rooms that the visitor was in, unless one does not let the user in.
///
/// Rejects: `AppUnknown`, the `Token…` codes, `AlreadyLoggedIn`, `TooManySessions`, `LoggedInElsewhere`, `InvalidArgument`.
/// The connection stays what it was, so another login may follow; the third refusal closes it with `Close::LoginRefused`.
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
    /// Streams that the client opens for each lane but Control, 1 to [`crate::limits::STREAMS_PER_LANE_MAX`]; 0 says 1. The
    /// server puts all frames of a conversation on one of them, so that a lost packet holds up fewer of the others.
    pub streams_per_lane: u8,
    /// How many of the user's conversations the answer is to bring, at most 50. It saves the first `conversation.sync`.
    pub conversations: u16,
    /// Names the session to go on with, if a connection was lost before. A session that is no longer kept is no error:
    /// a new one begins, and [`LoggedIn::resumed`] says so.
    pub resume: Option<ResumeToken>,
}

/// The right to go on with a session on another connection, together with a token of its user. A secret.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ResumeToken(pub [u8; 16]);

/// Prints no token.
impl std::fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResumeToken")
    }
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
    /// The session.
    pub session: SessionId,
    /// True if this is the session that [`Login::resume`] names: request ids go on, and requests that were sent and not
    /// answered are sent again under their ids. Each is served once, whichever connections it arrived on.
    pub resumed: bool,
    /// For the login of the next connection, if this one is lost.
    pub resume_token: ResumeToken,
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
    /// As many of the user's conversations as [`Login::conversations`] asks for, as of a moment after the session began: what is
    /// placed later comes as an event. What was placed just before comes as one, too, and is in the heads here already: they
    /// are not what this client was told last. Nothing, and no `next`, if it asks for none.
    pub conversations: Conversations,
}

/// Limits in force for a session. Rates are per second and user, with a burst of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Limits {
    /// Bytes of one frame after its length prefix.
    pub frame_bytes: u32,
    /// Requests that may wait for their reply.
    pub requests_in_flight: u16,
    /// Bytes of the text of a text message.
    pub text_bytes: u32,
    /// Bytes of the body of an image or a voice message.
    pub media_bytes: u32,
    /// Bytes of the body of a custom message and of the other structured kinds.
    pub custom_bytes: u32,
    /// Bytes of the body of a command.
    pub command_bytes: u32,
    /// Bytes of the body of a barrage.
    pub barrage_bytes: u32,
    /// Bytes of the body of a signal.
    pub signal_bytes: u32,
    /// Text messages per second.
    pub texts_per_second: u32,
    /// Custom messages and those of all structured kinds together, per second.
    pub customs_per_second: u32,
    /// Commands per second.
    pub commands_per_second: u32,
    /// Barrages per second.
    pub barrages_per_second: u32,
    /// Signals per second.
    pub signals_per_second: u32,
    /// Queries per second.
    pub queries_per_second: u32,
    /// Changes per second.
    pub changes_per_second: u32,
    /// Silence after which the client sends `session.ping`, in milliseconds.
    pub ping_after_ms: u32,
    /// Silence after which the server closes with `Close::Idle`, in milliseconds.
    pub idle_timeout_ms: u32,
    /// How long after it was placed a message may be recalled, in milliseconds.
    pub recall_window_ms: u32,
    /// How long a session whose connection was lost is kept, from the last bytes heard on it, in milliseconds.
    pub grace_ms: u32,
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

/// Ask what was missed in conversations that this device follows. Sent after each login but a device's first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Resume {
    /// How far the device has got in each of them, at most 100; more go into further requests.
    pub cursors: List<Cursor, CURSORS_PER_RESUME_MAX>,
}

/// How far a device has got in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Cursor {
    /// Which, as this device's user names it.
    pub conversation: Conversation,
    /// The device has everything up to here, or wants no more of it.
    pub position: Position,
    /// The newest number that the device has of each priority of which it has something beyond `position`. Of that
    /// priority it has everything up to there.
    pub ahead: List<Ahead, { Priority::COUNT }>,
    /// The number of the last change that the device knows.
    pub rev: Rev,
}

/// The newest number of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Ahead {
    /// Which priority.
    pub priority: Priority,
    /// The number.
    pub seq: Seq,
}

/// What each cursor stands before, as of a moment after the login: what is placed later comes as an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Resumed {
    /// One answer per cursor, in the order asked.
    pub answers: List<Answer, CURSORS_PER_RESUME_MAX>,
}

/// What a cursor stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Answer {
    /// Which of the five it is.
    pub missed: Missed,
    /// The conversation's newest position; zero if the user is no member.
    pub head: Position,
    /// The first number that is still kept; zero if the user is no member.
    pub first: Seq,
    /// The number of the conversation's last change. If it is above the cursor's, changes were missed.
    pub rev: Rev,
}

open_enum! {
    /// What a device has missed of a conversation.
    Missed: u8 {
        /// Nothing.
        CaughtUp = 1,
        /// Entries up to `head`, all of them in the history, or changes up to `rev`, or both.
        Replay = 2,
        /// Entries up to `head`; those below `first` are no longer kept.
        Trimmed = 3,
        /// The history up to the cursor is not continued: `head` is of another epoch.
        EpochChanged = 4,
        /// The conversation, which is none of the user's any more.
        NotMember = 5,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conversation::Summary,
        limits::{CONTROL_REPLY_BYTES_MAX, ID_BYTES_MAX, LOGIN_CONVERSATIONS_MAX},
        position::Epoch,
    };

    #[test]
    fn the_largest_answer_to_a_login_travels_on_control() {
        let (last, time) = (Seq(u64::MAX), Timestamp(u64::MAX));
        let head = Position { epoch: Epoch(u64::MAX), seq: last };
        let conversation = Conversation::Peer(UserId::new("x".repeat(ID_BYTES_MAX)).unwrap());
        let summary = Summary {
            conversation: conversation.clone(),
            head,
            first: last,
            rev: Rev(u64::MAX),
            time,
            delivered: last,
            read: last,
            unread: u64::MAX,
            peer_delivered: last,
            peer_read: last,
        };
        let conversations = List::new(vec![summary; LOGIN_CONVERSATIONS_MAX]).unwrap();
        let logged_in = LoggedIn {
            session: SessionId([0; 16]),
            resumed: true,
            resume_token: ResumeToken([0; 16]),
            revision: u16::MAX,
            time,
            token_expires: time,
            limits: Limits { frame_bytes: u32::MAX, ..Limits::default() },
            feed: head,
            conversations: Conversations { conversations, next: Some(conversation) },
        };
        assert!(postcard::to_stdvec(&logged_in).unwrap().len() <= CONTROL_REPLY_BYTES_MAX);
    }
}
