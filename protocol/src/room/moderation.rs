//! Who may what in a room, who is kept out of it, and who may not speak.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::{
    bounded::{List, Text},
    id::{RoomId, UserId},
    limits::{REASON_BYTES_MAX, RESTRICTIONS_PER_PAGE_MAX, ROLES_MAX},
    open::open_enum,
    position::Position,
    time::Timestamp,
};

/// Why somebody did something.
pub type Reason = Text<REASON_BYTES_MAX>;

/// Make somebody an admin, or an admin a member again. The owner may; the role stays when they leave.
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `MemberNotFound`, `TooManyAdmins`,
/// `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct SetRole {
    /// Where.
    pub room: RoomId,
    /// Whose.
    pub user: UserId,
    /// `Admin` or `Member`.
    pub role: Role,
    /// Why.
    pub reason: Reason,
}

/// The role is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RoleSet {
    /// What the user is.
    pub role: Role,
}

/// Give a room to somebody in it. The owner may, and is a member then.
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `MemberNotFound`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Transfer {
    /// Which.
    pub room: RoomId,
    /// To whom.
    pub user: UserId,
    /// Why.
    pub reason: Reason,
}

/// The room is theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Transferred {
    /// Who owns it.
    pub owner: UserId,
}

/// Put somebody out of a room; they may come in again. The owner may, and an admin if it is a member.
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `MemberNotFound`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Kick {
    /// Of which.
    pub room: RoomId,
    /// Whom.
    pub user: UserId,
    /// Why.
    pub reason: Reason,
}

/// They are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Kicked {}

/// Keep somebody out of a room, whether they are in it or not, or let them in again. Who may is as with [`Kick`].
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `TooManyRestrictions`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Ban {
    /// Of which.
    pub room: RoomId,
    /// Whom.
    pub user: UserId,
    /// Until when, 0 for as long as the room lives; `None` lifts it.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Reason,
}

/// Forbid somebody to speak, or allow it again. Who may is as with [`Kick`].
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `TooManyRestrictions`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Mute {
    /// Where.
    pub room: RoomId,
    /// Whom.
    pub user: UserId,
    /// Until when, 0 for as long as the room lives; `None` lifts it.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Reason,
}

/// Forbid everybody to speak but those with one of the `exempt` roles, or allow it again. The owner and admins may.
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MuteAll {
    /// Where.
    pub room: RoomId,
    /// Until when, 0 for as long as the room lives; `None` lifts it.
    pub until: Option<Timestamp>,
    /// Who may speak all the same; the owner always may.
    pub exempt: List<Role, ROLES_MAX>,
    /// Why.
    pub reason: Reason,
}

/// It is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Restricted {}

open_enum! {
    /// What somebody may not.
    RestrictionKind: u8 {
        /// Be in the room.
        Ban = 1,
        /// Speak.
        Mute = 2,
    }
}

/// Page through those who are kept out of a room, or may not speak in it. The owner and admins may.
///
/// Rejects: `RateLimited`, `NotInRoom`, `RightMissing`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Restrictions {
    /// Of which.
    pub room: RoomId,
    /// Which of the two.
    pub kind: RestrictionKind,
    /// Go on behind this user, where a page before ended.
    pub after: Option<UserId>,
    /// At most this many, 1 to 100.
    pub limit: u16,
}

/// Some of them, by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RestrictionsPage {
    /// They.
    pub restrictions: List<Restriction, RESTRICTIONS_PER_PAGE_MAX>,
    /// True if there are more.
    pub more: bool,
}

/// That somebody may not something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Restriction {
    /// Who.
    pub user: UserId,
    /// Until when; 0 for as long as the room lives.
    pub until: Timestamp,
    /// Who wanted it.
    pub operator: UserId,
    /// Why.
    pub reason: Reason,
}

/// Who did something in a room, and what they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Operator {
    /// Who.
    pub user: UserId,
    /// What they were.
    pub role: Role,
}

/// Somebody's role is another, or the room has another owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RoleChanged {
    /// Where.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// Whose.
    pub user: UserId,
    /// What they are. If it is `Owner`, whoever was it is a member.
    pub role: Role,
    /// By whom.
    pub operator: Operator,
    /// Why.
    pub reason: Reason,
}

/// Somebody may or may not be in the room, or speak in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RestrictionChanged {
    /// Where.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// What it is about.
    pub kind: RestrictionKind,
    /// Whom.
    pub user: UserId,
    /// Until when, 0 for as long as the room lives; `None` if it is lifted.
    pub until: Option<Timestamp>,
    /// By whom; `None` if its time was over.
    pub operator: Option<Operator>,
    /// Why.
    pub reason: Reason,
}

/// Everybody may or may not speak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MuteAllChanged {
    /// Where.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// Until when, 0 for as long as the room lives; `None` if it is lifted.
    pub until: Option<Timestamp>,
    /// Who may speak all the same, besides the owner.
    pub exempt: List<Role, ROLES_MAX>,
    /// By whom; `None` if its time was over.
    pub operator: Option<Operator>,
    /// Why.
    pub reason: Reason,
}
