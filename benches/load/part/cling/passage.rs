//! What one client goes through: from losing the server to being where it was.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// See the module. Times are in microseconds since this machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// When it first lost the server.
    pub(crate) lost_us: Option<u64>,
    /// When it was logged in again for the last time.
    pub(crate) logged_in_us: Option<u64>,
    /// When it was in its room again as well, if it has one.
    pub(crate) back_us: Option<u64>,
    /// Times it lost the server, and tries that failed, as far as it told of each.
    pub(crate) troubles: u32,
    /// It does not come back by itself any more.
    pub(crate) gave_up: bool,
    connected: bool,
    /// `None` without a room.
    in_room: Option<bool>,
}

impl Passage {
    /// Of a client that is connected; in its room, or on the way there, if it has one.
    pub(super) fn new(has_room: bool) -> Self {
        Self { connected: true, in_room: has_room.then_some(false), ..Self::default() }
    }

    /// Forgets what was until now.
    pub(super) fn mark(&mut self) {
        let Self { gave_up, connected, in_room, .. } = *self;
        *self = Self { gave_up, connected, in_room, ..Self::default() };
    }

    /// It has lost the server, or a try failed.
    pub(super) fn trouble(&mut self, now: Duration) {
        self.troubles += 1;
        self.connected = false;
        (self.logged_in_us, self.back_us) = (None, None);
        self.lost_us.get_or_insert(us(now));
    }

    /// It is logged in again.
    pub(super) fn connected(&mut self, now: Duration) {
        self.connected = true;
        self.logged_in_us = Some(us(now));
        self.look(now);
    }

    /// It is in its room, or is not.
    pub(super) fn room(&mut self, is_in: bool, now: Duration) {
        self.in_room = Some(is_in);
        self.look(now);
    }

    fn look(&mut self, now: Duration) {
        if self.is_there() && self.lost_us.is_some() {
            self.back_us.get_or_insert(us(now));
        }
    }

    /// True if it is where it should be.
    pub(crate) fn is_there(&self) -> bool {
        self.connected && self.in_room != Some(false)
    }
}

fn us(now: Duration) -> u64 {
    now.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_client_is_back_when_it_is_logged_in_and_in_its_room() {
        let mut plain = Passage::new(false);
        plain.trouble(at(1));
        plain.trouble(at(2));
        assert!(!plain.is_there());
        plain.connected(at(3));
        assert_eq!((plain.lost_us, plain.back_us, plain.troubles), (Some(1_000_000), Some(3_000_000), 2));

        let mut member = Passage::new(true);
        assert!(!member.is_there());
        member.room(true, at(0));
        assert!(member.is_there() && member.back_us.is_none(), "it was never away");
        member.trouble(at(1));
        member.room(false, at(1));
        member.connected(at(2));
        assert!(!member.is_there());
        member.room(true, at(4));
        assert_eq!((member.logged_in_us, member.back_us), (Some(2_000_000), Some(4_000_000)));
        // The connection is lost again before the end.
        member.trouble(at(5));
        assert_eq!((member.lost_us, member.back_us), (Some(1_000_000), None));
        member.mark();
        assert_eq!((member.lost_us, member.is_there()), (None, false));
    }
}
