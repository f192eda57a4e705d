//! Who may do what in a room.

use quail_protocol::room::Role;

/// What one may do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// Send High messages without a bound.
    Urge,
    /// Change what the room says of itself.
    UpdateInfo,
    /// Change attributes of others, and counters.
    Values,
    /// Make admins.
    SetRole,
    /// Give the room away.
    Transfer,
    /// Put out, keep out and mute those who are less, and see who is.
    Moderate,
    /// Mute everybody.
    MuteAll,
    /// End the room.
    Dismiss,
}

/// Whether `role` has a right.
pub(super) fn may(role: Role, right: Right) -> bool {
    use Right::*;
    match right {
        Urge | UpdateInfo | Values | Moderate | MuteAll => matches!(role, Role::Owner | Role::Admin),
        SetRole | Transfer | Dismiss => role == Role::Owner,
    }
}

/// Whether `role` is more than `other`, so that it may moderate them.
pub(super) fn outranks(role: Role, other: Role) -> bool {
    let rank = |role| match role {
        Role::Owner => 2,
        Role::Admin => 1,
        Role::Member | Role::Unknown(_) => 0,
    };
    rank(role) > rank(other)
}
