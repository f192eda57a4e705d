//! Why a connection ended, and whether to come back.

use std::fmt;

/// Whether a client should reconnect after a [`Close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// At once, with the usual jitter.
    Now,
    /// Later: the server is busy.
    Later,
    /// Not before something changed: a new token, a new client, a wish of the user.
    Never,
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "now",
            Self::Later => "later",
            Self::Never => "not by itself",
        })
    }
}

macro_rules! closes {
    ($($number:literal $name:ident $doc:literal;)+) => {
        /// Application close code of a QUIC connection and status code of a WebSocket alike.
        ///
        /// 4000-4099: come back now. 4100-4199: come back later. 4200-4299: do not come back by yourself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Close {
            $(#[doc = $doc] $name,)+
            /// A code this build does not know; its range still says whether to come back.
            Unknown(u16),
        }

        impl Close {
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

            /// What it means, in one sentence.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Self::$name => $doc,)+
                    Self::Unknown(_) => "Unknown to this build.",
                }
            }
        }
    };
}

closes! {
    4000 Draining "The server is going away; another one or its successor is there.";
    4001 Idle "Nothing was heard from the client for the idle timeout.";
    4002 Slow "The client did not read what was pending for it.";
    4003 Failed "The server failed while it served this connection.";
    4004 GreetingTimeout "No login succeeded within the greeting deadline.";
    4005 Abandoned "The client gave this connection up and means to go on with its session on another.";
    4100 Overloaded "The server has as many connections as it takes.";
    4200 LoggedOut "The client logged out or went away.";
    4202 LoginRefused "Too many logins were refused on this connection.";
    4203 Malformed "Bytes on a lane were not whole frames, or the first byte of a stream or message was no lane.";
    4204 FrameTooLarge "A frame's length exceeded the limit, or the frames that were begun on all streams together did.";
    4205 ProtocolViolation "A frame only the server sends, a request id that was repeated or ran ahead, or too many streams.";
    4206 TokenExpired "The session's token expired and was not renewed.";
    4207 KickedOut "The user logged in elsewhere, and the app allows no more sessions of this kind.";
    4208 Superseded "The session goes on on another connection.";
}

impl Close {
    /// Whether to come back, by the range of the number.
    pub const fn comes_back(self) -> Return {
        match self.number() {
            4100..=4199 => Return::Later,
            4200..=4299 => Return::Never,
            _ => Return::Now,
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(number) => write!(f, "close {number}"),
            known => write!(f, "{known:?} ({})", known.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_ranges_decide() {
        for close in Close::ALL {
            assert_eq!(Close::from_number(close.number()), *close);
        }
        assert_eq!(Close::Draining.comes_back(), Return::Now);
        assert_eq!(Close::Overloaded.comes_back(), Return::Later);
        assert_eq!(Close::LoggedOut.comes_back(), Return::Never);
        assert_eq!(Close::Unknown(4299).comes_back(), Return::Never);
    }
}
