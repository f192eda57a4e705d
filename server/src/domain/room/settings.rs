//! What a room may begin with.

use quail_protocol::{
    Code, Timestamp,
    limits::WHEN_EMPTY_MS_MAX,
    room::{Lifetime, LifetimeKind, RoomHistory, Settings},
};

/// Checks what a room is to begin with.
pub fn check_settings(settings: &Settings, now: Timestamp) -> Result<(), Code> {
    let Lifetime { kind, ms } = settings.lifetime;
    let fits = match kind {
        LifetimeKind::WhenEmpty => ms <= WHEN_EMPTY_MS_MAX,
        LifetimeKind::Until => ms > now.0,
        LifetimeKind::Kept => ms == 0,
        LifetimeKind::Unknown(_) => false,
    };
    let is_known = !matches!(settings.history, RoomHistory::Unknown(_));
    if fits && is_known { Ok(()) } else { Err(Code::InvalidArgument) }
}
