//! Which connection an outbox serves, and what that one is to know.

use std::task::Waker;

use quail_protocol::Lane;

use super::{Outbox, wake, way};

/// Which connection an outbox serves: the first, the second and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment(pub(super) u64);

/// Lanes on which something waits, and whether signals do. One look at it spares one at each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting(pub(super) u8);

impl Waiting {
    pub(super) const SIGNALS: u8 = 1 << Lane::COUNT;

    /// True if something waits on `lane`.
    pub fn on(self, lane: Lane) -> bool {
        self.0 & 1 << lane.index() != 0
    }

    /// True if a signal waits.
    pub fn signals(self) -> bool {
        self.0 & Self::SIGNALS != 0
    }
}

/// What an outbox is to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It serves it.
    On,
    /// It serves another.
    Superseded,
    /// It serves it no longer: the connection left too many notices unread.
    Overrun,
}

impl Outbox {
    /// Where something waits for a connection.
    pub fn waiting(&self, attachment: Attachment) -> Waiting {
        let queues = self.lock();
        if queues.attachment == attachment { queues.waiting } else { Waiting::default() }
    }

    /// True if the connection is to be closed because it leaves its notices unread.
    pub fn is_overrun(&self) -> bool {
        self.lock().overrun
    }

    /// Serves another connection from now on. Nothing of what waited for the one before is left. `None` if the session
    /// ended.
    pub fn attach(&self) -> Option<Attachment> {
        let mut queues = self.lock();
        if queues.closed {
            return None;
        }
        queues.clear();
        queues.away = false;
        queues.attachment.0 += 1;
        let attachment = queues.attachment;
        // The driver of the connection before finds out that it was superseded.
        wake(queues);
        Some(attachment)
    }

    /// The client of the connection opens so many streams for a lane.
    pub fn set_streams(&self, attachment: Attachment, said: u8) {
        let mut queues = self.lock();
        if queues.attachment == attachment {
            queues.streams = way::streams(said);
        }
    }

    /// Whether on Control nothing but replies goes out, and whatever else comes waits behind them: while nobody is logged in on the
    /// connection, for the answer to the login stands before all that a session is told.
    pub fn reply_only(&self, only: bool) {
        self.lock().replies_only = only;
    }

    /// The connection is lost: forgets what waits, and takes nothing in until the next. False if another connection is
    /// there already.
    pub fn detach(&self, attachment: Attachment) -> bool {
        let mut queues = self.lock();
        if queues.attachment != attachment || queues.closed {
            return false;
        }
        queues.clear();
        queues.away = true;
        true
    }

    /// Closes for good unless another connection came. True if it did.
    pub fn expire(&self, attachment: Attachment) -> bool {
        let mut queues = self.lock();
        if queues.attachment != attachment {
            return false;
        }
        queues.clear();
        queues.closed = true;
        true
    }

    /// True while the connection is the one that is served.
    pub fn serves(&self, attachment: Attachment) -> bool {
        self.lock().attachment == attachment
    }

    /// True between two connections.
    pub fn is_away(&self) -> bool {
        self.lock().away
    }

    /// True when nothing is taken any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Wakes the driver although nothing was pushed.
    pub fn wake(&self) {
        wake(self.lock());
    }

    /// Wakes `waker` when something is pushed, if the connection is served.
    pub fn register(&self, attachment: Attachment, waker: &Waker) -> Service {
        let mut queues = self.lock();
        if queues.attachment != attachment {
            return Service::Superseded;
        }
        if queues.overrun {
            return Service::Overrun;
        }
        match &mut queues.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Service::On
    }
}
