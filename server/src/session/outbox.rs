//! What a session still has to be told: one bounded queue per lane. Pushing never waits.
//!
//! Replies are bounded by the request window and are never dropped. Events of stored messages are dropped when a lane
//! is full: the whole backlog of the lane goes, and each of its conversations gets one `Behind` in its place, because
//! the messages are in the history and the client has to page for them anyway. Notices take no one's place: a client
//! that leaves too many of them unread is closed, and finds in its feed what it was not told.
//!
//! An outbox serves one connection at a time. Between two of them it takes nothing: replies are kept elsewhere, and
//! what was missed of conversations is found by the client's cursors.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::{Bytes, BytesMut};
use bytesize::ByteSize;
use quail_protocol::{
    Conversation, Lane, Position,
    event::EventBody,
    message::{Behind, BehindCause},
};
use serde::{Deserialize, Serialize};

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

/// Which message an event frame tells of, as the receiver names its conversation.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The conversation.
    pub conversation: Conversation,
    /// The message's place.
    pub position: Position,
}

/// One frame on its way out.
#[derive(Debug)]
enum Item {
    Reply(Bytes),
    Notice(Bytes),
    Event(Bytes, Subject),
}

impl Item {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Reply(bytes) | Self::Notice(bytes) | Self::Event(bytes, _) => bytes,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    events: usize,
    event_bytes: usize,
    notices: usize,
    notice_bytes: usize,
    behind: BTreeMap<Conversation, Position>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.behind.is_empty()
    }
}

/// Which connection an outbox serves: the first, the second and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment(u64);

#[derive(Debug, Default)]
struct Queues {
    lanes: [Queue; Lane::COUNT],
    reply_bytes: usize,
    dropped: u64,
    attachment: Attachment,
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

    /// Forgets what waits.
    fn clear(&mut self) {
        self.lanes = Default::default();
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
}

impl Outbox {
    /// An empty outbox.
    pub fn new(config: Config) -> Self {
        Self { config, queues: Mutex::default() }
    }

    /// Queues the reply to a request.
    pub fn push_reply(&self, lane: Lane, frame: Bytes) {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return;
        }
        queues.reply_bytes += frame.len();
        queues.lanes[lane.index()].items.push_back(Item::Reply(frame));
        wake(queues);
    }

    /// Queues a notice to this session alone, such as `session.draining`. The one that finds no room overruns the
    /// connection.
    pub fn push_notice(&self, frame: Bytes) {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return;
        }
        let queue = &mut queues.lanes[Lane::Control.index()];
        let bytes = queue.notice_bytes + frame.len();
        if queue.notices == self.config.lane_items
            || bytes > self.config.lane_bytes.as_u64() as usize && queue.notices > 0
        {
            queues.overrun = true;
        } else {
            queue.notices += 1;
            queue.notice_bytes = bytes;
            queue.items.push_back(Item::Notice(frame));
        }
        wake(queues);
    }

    /// Queues the event of a stored message. Returns how many events were dropped for lack of room.
    pub fn push_event(&self, lane: Lane, frame: Bytes, subject: Subject) -> usize {
        let mut queues = self.lock();
        if !queues.takes_in() {
            return 0;
        }
        let queue = &mut queues.lanes[lane.index()];
        let full = queue.events == self.config.lane_items
            || queue.event_bytes + frame.len() > self.config.lane_bytes.as_u64() as usize && queue.events > 0;
        let dropped = if full || queue.behind.contains_key(&subject.conversation) {
            fall_behind(queue, full, subject)
        } else {
            queue.events += 1;
            queue.event_bytes += frame.len();
            queue.items.push_back(Item::Event(frame, subject));
            0
        };
        queues.dropped += dropped as u64;
        wake(queues);
        dropped
    }

    /// Takes the frames that stand first on `lane`, as many as fit into `bytes_max` but at least one. Nothing for a
    /// connection that was superseded.
    pub fn take(&self, attachment: Attachment, lane: Lane, bytes_max: usize) -> Option<Batch> {
        let mut queues = self.lock();
        if queues.attachment != attachment {
            return None;
        }
        let queue = &mut queues.lanes[lane.index()];
        // While notices wait, what falls behind is only noted: a conversation has one of each at most.
        if queue.notices == 0 {
            while let Some((conversation, head)) = queue.behind.pop_first() {
                queue.notices += 1;
                let behind = Behind { conversation, head, cause: BehindCause::SlowReader }.to_frame();
                queue.notice_bytes += behind.len();
                queue.items.push_back(Item::Notice(behind));
            }
        }
        let first = queue.items.front()?.bytes().len();
        let mut taken = BytesMut::with_capacity(first.max(bytes_max.min(1024)));
        let mut alone = None;
        let mut replies = 0;
        let mut reply_bytes = 0;
        while let Some(item) = queue.items.front() {
            let length = item.bytes().len();
            if alone.is_some() || (!taken.is_empty() && taken.len() + length > bytes_max) {
                break;
            }
            let Some(item) = queue.items.pop_front() else { break };
            let bytes = match item {
                Item::Reply(bytes) => {
                    replies += 1;
                    reply_bytes += length;
                    bytes
                }
                Item::Notice(bytes) => {
                    queue.notices -= 1;
                    queue.notice_bytes -= length;
                    bytes
                }
                Item::Event(bytes, _) => {
                    queue.events -= 1;
                    queue.event_bytes -= length;
                    bytes
                }
            };
            if taken.is_empty() && queue.items.is_empty() {
                alone = Some(bytes);
            } else {
                taken.extend_from_slice(&bytes);
            }
        }
        queues.reply_bytes -= reply_bytes;
        Some(Batch { bytes: alone.unwrap_or_else(|| taken.freeze()), replies })
    }

    /// Bytes of replies that wait on all lanes.
    pub fn reply_bytes(&self) -> usize {
        self.lock().reply_bytes
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().lanes.iter().all(Queue::is_empty)
    }

    /// Events dropped so far.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
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

    /// True if the connection is to be closed because it leaves its notices unread.
    pub fn is_overrun(&self) -> bool {
        self.lock().overrun
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

    /// Wakes `waker` when something is pushed. False if the connection was superseded.
    pub fn register(&self, attachment: Attachment, waker: &Waker) -> bool {
        let mut queues = self.lock();
        if queues.attachment != attachment {
            return false;
        }
        match &mut queues.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
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

/// Drops an event, and with `all` every event before it on the lane; notes the heads the client has to page up to.
fn fall_behind(queue: &mut Queue, all: bool, subject: Subject) -> usize {
    let mut dropped = 1;
    if all {
        let items = std::mem::take(&mut queue.items);
        for item in items {
            if let Item::Event(_, subject) = item {
                dropped += 1;
                note(&mut queue.behind, subject);
            } else {
                queue.items.push_back(item);
            }
        }
        queue.events = 0;
        queue.event_bytes = 0;
    }
    note(&mut queue.behind, subject);
    dropped
}

fn note(behind: &mut BTreeMap<Conversation, Position>, subject: Subject) {
    let head = behind.entry(subject.conversation).or_default();
    *head = subject.position.max(*head);
}

#[cfg(test)]
mod tests;
