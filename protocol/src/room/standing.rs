//! Where a client stands with a room. None of this is on the wire: clients tell their apps, and all of them mean the same.

use super::{EntryStatus, LeaveCause, Reason, RoomState};
use crate::{
    id::{RoomId, UserId},
    reject::Reject,
};

/// Where a client stands with a room. ZIM's `ZIMRoomState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Not in it. ZIM's 0.
    Disconnected,
    /// On the way in, or its connection was lost and the room is to be come into again. ZIM's 1.
    Connecting,
    /// In it. ZIM's 2.
    Connected,
}

/// Why a client stands so with a room. ZIM's `ZIMRoomEvent`, and what it has no number for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StandingCause {
    /// It is in, as it wanted, or after an interruption it still is. ZIM's 0, `Success`.
    Success,
    /// The connection was lost and is being made again. ZIM's 1, `NetworkInterrupted`.
    Interrupted,
    /// The connection was lost for too long, or for good. ZIM's 2, `NetworkDisconnected`.
    Lost,
    /// There is no such room. ZIM's 3, `RoomNotExist`.
    NotFound,
    /// The app makes the room. ZIM's 4, `ActiveCreate`.
    Creating,
    /// It was not made. ZIM's 5, `CreateFailed`.
    CreateFailed,
    /// The app joins or enters. ZIM's 6, `ActiveEnter`.
    Entering,
    /// It is not let in. ZIM's 7, `EnterFailed`.
    EnterFailed,
    /// Somebody put the user out, for now or with a ban. ZIM's 8, `KickedOut`.
    KickedOut,
    /// There was no answer in time. ZIM's 9, `ConnectTimeout`.
    TimedOut,
    /// The user logged in elsewhere, and the app allows no more sessions of this kind. ZIM's 10,
    /// `KickedOutByOtherDevice`.
    Displaced,
    /// The app switches: from another room into this one or, if the client is out, from this one into another. ZIM's 11,
    /// `ActiveSwitch`.
    Switching,
    /// The switch was refused, and the client is where it was. ZIM's 12, `SwitchFailed`.
    SwitchFailed,
    /// The client came in again by itself, after its session was lost. Messages may be missing, attributes and
    /// counters have to be compared by their versions.
    Rejoined,
    /// The user left, here or with another terminal.
    Left,
    /// The room was dismissed.
    Dismissed,
    /// The room ended by itself.
    Ended,
    /// While the connection was lost the user was put out or the room ended; nobody says which.
    OutMeanwhile,
}

/// What else there is to say. ZIM's `extendedData`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandingDetail {
    /// Nothing.
    None,
    /// How it came in, and how the room stands.
    Entered {
        /// How.
        status: EntryStatus,
        /// How the room stands.
        state: Box<RoomState>,
    },
    /// What the server answered.
    Refused(Reject),
    /// What `room.left` says.
    PutOut {
        /// Why.
        cause: LeaveCause,
        /// Who did it, if somebody did.
        operator: Option<UserId>,
        /// What they said of it.
        reason: Reason,
    },
}

/// A client stands otherwise with a room than before. ZIM's `roomStateChanged`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomStateChanged {
    /// Which.
    pub room: RoomId,
    /// How it stands now.
    pub state: Standing,
    /// Why.
    pub cause: StandingCause,
    /// What else there is to say.
    pub detail: StandingDetail,
}
