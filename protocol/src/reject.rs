//! Why a request was refused.

use std::fmt;

use postcard_schema::{Schema, schema::NamedType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The answer to a request that was not served. The session lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Reject {
    /// What was wrong.
    pub code: Code,
    /// When the same request may pass, in milliseconds from now, where the server knows.
    pub retry_after_ms: Option<u32>,
    /// Names the server's log line, only with [`Code::Internal`]. Below 2^53.
    pub trace_id: Option<u64>,
}

impl From<Code> for Reject {
    fn from(code: Code) -> Self {
        Self { code, retry_after_ms: None, trace_id: None }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(ms) = self.retry_after_ms {
            write!(f, ", retry after {ms} ms")?;
        }
        if let Some(trace) = self.trace_id {
            write!(f, ", trace {trace:x}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Reject {}

/// What a requester should do about a [`Code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The same request may pass later.
    Retry,
    /// The request is wrong and stays wrong.
    FixInput,
    /// Get a new token and log in again.
    LogIn,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry",
            Self::FixInput => "fix the input",
            Self::LogIn => "log in again",
        })
    }
}

macro_rules! codes {
    ($($number:literal $name:ident $advice:ident $clouds:literal $doc:literal;)+) => {
        /// Stable number of a reason. 1-99 general, then a hundred per domain. Numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $doc] $name,)+
            /// A reason this build does not know.
            Unknown(u16),
        }

        impl Code {
            /// Every known code, ascending.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)+
                    Self::Unknown(number) => number,
                }
            }

            /// The code of a number.
            pub const fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$name,)+
                    other => Self::Unknown(other),
                }
            }

            /// What to do about it.
            pub const fn advice(self) -> Advice {
                match self {
                    $(Self::$name => Advice::$advice,)+
                    Self::Unknown(_) => Advice::FixInput,
                }
            }

            /// What it means, in one sentence.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Self::$name => $doc,)+
                    Self::Unknown(_) => "Unknown to this build.",
                }
            }

            /// The nearest codes of ZIM (Z), RongCloud (R) and Tencent Chat (T), empty where none exists.
            pub const fn clouds(self) -> &'static str {
                match self {
                    $(Self::$name => $clouds,)+
                    Self::Unknown(_) => "",
                }
            }
        }

        const _: () = {
            let numbers: &[u16] = &[$($number),+];
            let mut i = 1;
            while i < numbers.len() {
                assert!(numbers[i - 1] < numbers[i], "codes must ascend and never repeat");
                i += 1;
            }
        };
    };
}

codes! {
    1 Internal Retry "Z 6000002, T 10002" "The server failed; its log has a line with the trace id.";
    2 UnknownOperation FixInput "T 10004" "The server does not know this opcode.";
    3 Malformed FixInput "Z 6000001, R 23412, T 10004" "The body is not what the opcode says.";
    4 InvalidArgument FixInput "Z 6000001, R 23412, T 10004" "A value is well formed but not allowed.";
    5 RateLimited Retry "Z 6000005, R 20604, T 2996" "The user asked too often; retry_after_ms says when to ask again.";
    6 TimedOut Retry "Z 6000105" "The server gave up on the request; a send may still have happened.";
    7 Unavailable Retry "R 3, T 60020" "The server cannot serve this now.";
    8 NotLoggedIn LogIn "Z 6000121, R 31000, T 6014" "Only a session that is logged in may ask this.";
    9 ReplyForgotten FixInput "" "The request was served before, and its reply is no longer kept.";
    101 AppUnknown FixInput "R 31002" "No app has this id.";
    102 TokenMalformed LogIn "Z 6000103, R 31004, T 70001" "The token is not a JWT, or a claim has the wrong type.";
    103 TokenKeyUnknown LogIn "T 70001" "The token's key id is missing or not one of the app's keys.";
    104 TokenAlgorithmRefused LogIn "Z 6000107" "The token's algorithm is not the one its key is pinned to.";
    105 TokenSignatureInvalid LogIn "Z 6000103, R 31004, T 70003" "The token was not signed with the app's key.";
    106 TokenExpired LogIn "Z 6000106, R 31020, T 70001" "The token's exp is past.";
    107 TokenNotYetValid LogIn "" "The token's iat or nbf lies in the future.";
    108 TokenAudienceMismatch LogIn "" "The token's aud is not the app that is logged in to.";
    109 TokenSubjectMismatch LogIn "T 70013" "The token's sub is not the user that logs in.";
    110 TokenClaimMissing LogIn "" "The token lacks one of sub, aud, exp, iat.";
    111 TokenLifetimeTooLong LogIn "" "The token lives longer than the app allows.";
    112 AlreadyLoggedIn FixInput "Z 6000111, T 2025" "This session is logged in already.";
    113 TooManySessions Retry "" "The user has as many sessions as the app allows.";
    114 LoggedInElsewhere LogIn "R 31010, T 6208" "The session to be resumed gave way to a login of the same user elsewhere.";
    115 AppFull Retry "" "The app has as many sessions as the server lets it have.";
    116 VisitorsRefused FixInput "" "The app takes no visitors.";
    117 TooManyVisitors Retry "" "As many visitors as may be are there from this address.";
    201 UserUnknown FixInput "Z 6000204, T 20003" "Nobody of this id ever logged in, and the app takes no messages for such users.";
    501 EpochMismatch FixInput "" "The conversation is in another epoch: its history was not continued.";
    601 MessageTooLarge FixInput "R 30016, T 80002" "The body exceeds the limit of its kind.";
    602 MessageConflict FixInput "" "The client message id was used with another body.";
    603 MessageKindRefused FixInput "" "This server does not carry messages of this kind.";
    604 MessageIdStale FixInput "" "The client message id is older than duplicates are remembered, or lies in the future.";
    605 MessageNotFound FixInput "" "There is no such message, or it is no longer kept.";
    606 NotSender FixInput "" "Only who sent the message may do this.";
    607 RecallTooLate FixInput "T 10031" "The time in which the message could be recalled is over.";
    701 RoomNotFound FixInput "Z 6000322, R 23410, T 10010" "There is no such room.";
    702 RoomExists FixInput "Z 6000323, T 10021" "There is a room of this id already.";
    703 NotInRoom FixInput "Z 6000321, R 23406, T 10007" "The user is not in the room.";
    704 RoomFull Retry "R 23411, T 10014" "The room has as many members as it may.";
    705 TooManyRooms FixInput "Z 6000325" "The user is in as many rooms as the app allows.";
    706 AppRoomsFull Retry "Z 6000324" "The app has as many rooms as it may.";
    707 RightMissing FixInput "T 10007" "The user's role does not allow this.";
    708 RoomThrottled Retry "R 20607, T 10023" "The room gets more messages than it passes on; retry_after_ms says when there may be room.";
    720 MutedInRoom FixInput "R 23408, T 10017" "The user, or everybody of their role, may not speak in the room now.";
    721 BannedFromRoom FixInput "Z 6000327, R 23409" "The user is kept out of the room.";
    722 MemberNotFound FixInput "" "The user who is meant is not in the room.";
    723 TooManyRestrictions FixInput "" "As many users are banned from the room, or muted in it, as can be.";
    724 TooManyAdmins FixInput "" "As many users are admins of the room as can be.";
    730 AttributeNotOwned FixInput "Z 6000331" "Another user owns the attribute, and the change does not force it.";
    731 TooManyAttributes FixInput "Z 6000334" "The room, or the member, would have more attributes than it may.";
    732 AttributesTooLarge FixInput "Z 6000337, Z 6000351" "The attributes of the room, or of the member, would hold more bytes than they may.";
    733 TooManyCounters FixInput "" "The room would have more counters than it may.";
    734 CounterOutOfRange FixInput "" "A counter would be further from 0 than 2^52.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(number) => write!(f, "code {number}"),
            known => write!(f, "{known:?} ({})", known.number()),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u16::deserialize(deserializer).map(Self::from_number)
    }
}

impl Schema for Code {
    const SCHEMA: &'static NamedType = &NamedType { name: "Code", ty: <u16 as Schema>::SCHEMA.ty };
}
