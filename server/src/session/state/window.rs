//! Which request ids may come.

use std::collections::BTreeSet;

use quail_protocol::limits::REQUEST_ID_SPREAD_MAX;

/// Which request ids were seen on this connection. Ids step by one from 1, but lanes may overtake each other.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Every id up to this one was seen, or belongs to what the session asked before.
    complete: u32,
    /// The ids above it that were seen.
    early: BTreeSet<u32>,
    /// The largest id of the connections before.
    before: u32,
    /// The ids of the connections before that were seen again on this one.
    again: BTreeSet<u32>,
}

impl Window {
    /// Behind the connections before.
    pub(super) fn behind(newest: u32) -> Self {
        Self { complete: newest, before: newest, ..Self::default() }
    }

    pub(super) fn accept(&mut self, id: u32) -> bool {
        if id > 0 && id <= self.before {
            return self.before - id < REQUEST_ID_SPREAD_MAX && self.again.insert(id);
        }
        if id <= self.complete || id - self.complete > REQUEST_ID_SPREAD_MAX || !self.early.insert(id) {
            return false;
        }
        while self.early.first().is_some_and(|first| *first == self.complete + 1) {
            self.early.pop_first();
            self.complete += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_may_overtake_each_other_but_not_repeat_or_run_ahead() {
        for (ids, accepted) in [
            (&[1, 2, 3][..], true),
            (&[2, 1, 3], true),
            (&[1024, 1], true),
            (&[1, 1025], true),
            (&[0], false),
            (&[1, 1], false),
            (&[2, 1, 2], false),
            (&[1025], false),
            (&[2, 1026], false),
            (&[2, 1, 1026], true),
            (&[u32::MAX], false),
        ] {
            let mut window = Window::default();
            let (last, before) = ids.split_last().unwrap();
            assert!(before.iter().all(|id| window.accept(*id)), "{ids:?}");
            assert_eq!(window.accept(*last), accepted, "{ids:?}");
        }
        let mut window = Window::default();
        assert!((1..=10_000).all(|id| window.accept(id)));
        assert!(!window.accept(9_999));
        assert!(!window.accept(9_000));
    }

    #[test]
    fn behind_other_connections_what_was_asked_on_them_comes_once_more() {
        let mut window = Window::behind(2000);
        for (request_id, accepted) in [(2000, true), (977, true), (976, false), (0, false)] {
            assert_eq!(window.accept(request_id), accepted, "{request_id}");
        }
        assert!(!window.accept(2000), "twice on one connection");
        assert!(window.accept(2002) && window.accept(2001) && !window.accept(2002));
        assert!(!window.accept(2002 + REQUEST_ID_SPREAD_MAX + 1));
    }
}
