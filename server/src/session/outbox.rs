//! What a session still has to be told: one bounded queue per lane. Pushing never waits.
//!
//! Replies are bounded by the request window and are never dropped. Events of stored messages are dropped when a lane
//! is full: the whole backlog of the lane goes, and each of its conversations gets one `Behind` in its place, because
//! the messages are in the history and the client has to page for them anyway. Messages without a number are dropped
//! one by one, and the client is told how many; messages of rooms likewise, and it is told up to where. Notices take no
//! one's place, but that a newer mark replaces an older of its conversation: a client that leaves too many of them unread is
//! closed, and finds in its feed and a sync what it was not told.
//!
//! An outbox serves one connection at a time. Between two of them it takes nothing: replies are kept elsewhere, and
//! what was missed of conversations is found by the client's cursors.

mod queue;
mod serving;
mod way;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use bytesize::ByteSize;
use quail_protocol::{Conversation, Lane, Position, Priority, Rev, event::Kind};
use serde::{Deserialize, Serialize};

use self::queue::Queue;
pub use self::{
    serving::{Attachment, Service, Waiting},
    way::{Strand, Way},
};

/// Bounds of one session's queues.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Events that may wait on one lane. Default 1024.
    pub lane_items: usize,
    /// Bytes of events that may wait on one lane; the event that crosses it is dropped too. Default 64KiB.
    pub lane_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { lane_items: 1024, lane_bytes: ByteSize::kib(64) }
    }
}

/// Which conversation an event frame tells of, and how far that had come.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The conversation, as the receiver names it.
    pub conversation: Conversation,
    /// Its newest position.
    pub head: Position,
    /// The conversation's last change.
    pub rev: Rev,
}

/// What became of a frame that may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits.
    Queued,
    /// There was no room for it.
    Dropped,
    /// There is no connection that could be told.
    Away,
}

/// Signals that may wait; they are small, and of no use when they are late.
const SIGNALS_MAX: usize = 64;

#[derive(Debug, Default)]
struct Queues {
    lanes: [Queue; Lane::COUNT],
    waiting: Waiting,
    signals: VecDeque<Bytes>,
    reply_bytes: usize,
    dropped: u64,
    attachment: Attachment,
    /// Streams of a lane that the connection writes on.
    streams: u8,
    /// Nobody is logged in on the connection yet: replies go out, and nothing before them.
    replies_only: bool,
    /// The connection is lost and no other is there yet.
    away: bool,
    closed: bool,
    /// The connection left more notices unread than are kept.
    overrun: bool,
    /// Of the connection's driver.
    waker: Option<Waker>,
}

impl Queues {
    fn takes_in(&self) -> bool {
        !self.away && !self.closed && !self.overrun
    }

    /// The queue of a lane, on which something is to wait.
    fn to(&mut self, lane: Lane) -> &mut Queue {
        self.waiting.0 |= 1 << lane.index();
        &mut self.lanes[lane.index()]
    }

    /// Forgets what waits.
    fn clear(&mut self) {
        self.lanes = Default::default();
        self.waiting = Waiting::default();
        self.signals.clear();
        self.streams = 1;
        self.replies_only = false;
        self.reply_bytes = 0;
        self.overrun = false;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    config: Config,
    queues: Mutex<Queues>,
}

/// Frames of one lane, joined for one write.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The frames.
    pub bytes: Bytes,
    /// How many of them are replies.
    pub replies: usize,
    /// On which of the lane's streams they go.
    pub slot: u8,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(config: Config) -> Self {
        Self { config, queues: Mutex::default() }
    }

    /// Queues the reply to a request.
    pub fn push_reply(&self, way: impl Into<Way>, frame: Bytes) {
        let Way { lane, strand } = way.into();
        let mut queues = self.lock();
        if !queues.takes_in() {
            return;
        }
        queues.reply_bytes += frame.len();
        let first = queues.replies_only && lane == Lane::Control;
        queues.to(lane).push_reply(frame, strand, first);
        wake(queues);
    }

    /// Queues a notice to this session alone, such as `session.draining`. The one that finds no room overruns the
    /// connection.
    pub fn push_notice(&self, frame: Bytes) {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return;
        }
        if !queues.to(Lane::Control).push_notice(&self.config, frame) {
            queues.overrun = true;
        }
        wake(queues);
    }

    /// Queues a notice that makes older ones of its kind and conversation useless: it takes their place. Marks and
    /// receipts, which others cause, are such.
    pub fn push_latest(&self, kind: Kind, conversation: Conversation, frame: Bytes) {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return;
        }
        let queue = queues.to(Lane::Control);
        if !queue.push_latest(&self.config, (kind, conversation), frame) {
            queues.overrun = true;
        }
        wake(queues);
    }

    /// Queues the event of a stored message. Returns how many events were dropped for lack of room.
    pub fn push_event(&self, lane: Lane, frame: Bytes, subject: Subject) -> usize {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return 0;
        }
        let queue = queues.to(lane);
        let full = !queue.has_room(&self.config, frame.len());
        let dropped = if full || queue.is_behind(&subject.conversation) {
            queue.fall_behind(full, subject)
        } else {
            queue.push_event(frame, subject);
            0
        };
        queues.dropped += dropped as u64;
        wake(queues);
        dropped
    }

    /// Queues a message without a number. Without room it is dropped, and the client is told how many were.
    pub fn push_passing(&self, lane: Lane, frame: Bytes, conversation: &Conversation) -> Pushed {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return Pushed::Away;
        }
        let queue = queues.to(lane);
        let pushed = if queue.has_room(&self.config, frame.len()) {
            queue.push_passing(frame, Strand::of(conversation));
            Pushed::Queued
        } else {
            let noted = queue.note_dropped(conversation, self.config.lane_items);
            queues.overrun |= !noted;
            queues.dropped += 1;
            Pushed::Dropped
        };
        wake(queues);
        pushed
    }

    /// Queues a message of a room on the lane of its priority. Without room it is dropped, and the client is told up to
    /// where, in its place.
    pub fn push_live(
        &self,
        priority: Priority,
        frame: Bytes,
        conversation: &Conversation,
        position: Position,
    ) -> Pushed {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return Pushed::Away;
        }
        let queue = queues.to(priority.lane());
        let pushed = if queue.has_room(&self.config, frame.len()) {
            queue.push_live(frame, conversation);
            Pushed::Queued
        } else {
            queue.note_gap(conversation, priority, position);
            queues.dropped += 1;
            Pushed::Dropped
        };
        wake(queues);
        pushed
    }

    /// Queues several events of a room, one behind the other. `None` if not all have room: they are to be pushed one by one.
    pub fn push_run(&self, lane: Lane, frames: Bytes, events: u32, of: &Conversation) -> Option<Pushed> {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return Some(Pushed::Away);
        }
        if !queues.to(lane).push_run(&self.config, frames, events, of) {
            return None;
        }
        wake(queues);
        Some(Pushed::Queued)
    }

    /// Queues a signal.
    pub fn push_signal(&self, frame: Bytes) -> Pushed {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return Pushed::Away;
        }
        if queues.signals.len() == SIGNALS_MAX {
            return Pushed::Dropped;
        }
        queues.signals.push_back(frame);
        queues.waiting.0 |= Waiting::SIGNALS;
        wake(queues);
        Pushed::Queued
    }

    /// Takes the signal that waits longest.
    pub fn take_signal(&self, attachment: Attachment) -> Option<Bytes> {
        let mut queues = self.lock();
        if queues.attachment != attachment {
            return None;
        }
        let signal = queues.signals.pop_front();
        if queues.signals.is_empty() {
            queues.waiting.0 &= !Waiting::SIGNALS;
        }
        signal
    }

    /// Queues a signal that no datagram can carry, on the Low lane. False if there is no room.
    pub fn push_signal_on_lane(&self, frame: Bytes) -> bool {
        let mut queues = self.lock();
        let queue = queues.to(Lane::Low);
        let room = queue.has_room(&self.config, frame.len());
        if room {
            queue.push_passing(frame, Strand::default());
        }
        room
    }

    /// Takes the frames that stand first on `lane`, as many as fit into `bytes_max` but at least one. Nothing for a
    /// connection that was superseded.
    pub fn take(&self, attachment: Attachment, lane: Lane, bytes_max: usize) -> Option<Batch> {
        let mut queues = self.lock();
        if queues.attachment != attachment {
            return None;
        }
        // What is on Control has an order across conversations.
        let streams = if lane == Lane::Control { 1 } else { queues.streams };
        let replies_only = queues.replies_only && lane == Lane::Control;
        let queue = &mut queues.lanes[lane.index()];
        if replies_only && !queue.begins_with_reply() {
            return None;
        }
        queue.tell_behind();
        let taken = queue.take(if replies_only { 0 } else { bytes_max }, streams);
        if queue.is_empty() {
            queues.waiting.0 &= !(1 << lane.index());
        }
        let (batch, reply_bytes) = taken?;
        queues.reply_bytes -= reply_bytes;
        Some(batch)
    }

    /// Bytes of replies that wait on all lanes.
    pub fn reply_bytes(&self) -> usize {
        self.lock().reply_bytes
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        let queues = self.lock();
        queues.signals.is_empty() && queues.lanes.iter().all(Queue::is_empty)
    }

    /// Events dropped so far.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics while it holds the lock; were it otherwise, the queues would still be whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut queues: MutexGuard<'_, Queues>) {
    let waker = queues.waker.take();
    drop(queues);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
