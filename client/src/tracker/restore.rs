//! Going on where another run of the app ended.

use quail_protocol::{Timestamp, session::Cursor};

use super::{Tracker, track::Track};
use crate::outbox::OwnMessage;

/// What an earlier run left.
#[derive(Default)]
pub(crate) struct Restored {
    /// How far the app was.
    pub(crate) cursors: Vec<Cursor>,
    /// Sends whose fate is not known.
    pub(crate) unsent: Vec<OwnMessage>,
    /// The time of the login after which all conversations were seen.
    pub(crate) synced: Option<Timestamp>,
    /// Some were followed once and are not any more.
    pub(crate) let_go: bool,
}

impl Tracker {
    /// Goes on with what was noted, and takes notes for the next run.
    pub(crate) fn restore(&mut self, restored: Restored) {
        self.ready.take_notes();
        self.paging.restore(restored.synced, restored.let_go);
        for own in &restored.unsent {
            self.sending(own);
        }
        self.earlier.clone_from(&self.unanswered);
        for cursor in restored.cursors {
            let track = Track::restored(&cursor);
            self.follow(cursor.conversation, track);
        }
        self.unsure = self.uses.values().rev().cloned().collect();
    }
}
