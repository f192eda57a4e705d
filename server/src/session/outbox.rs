//! What a session still has to be told: one bounded queue per lane. Pushing never waits.
//!
//! Replies are bounded by the request window and are never dropped. Events of stored messages are dropped when a lane
//! is full: the whole backlog of the lane goes, and each of its conversations gets one `Behind` in its place, because
//! the messages are in the history and the client has to page for them anyway.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::{Bytes, BytesMut};
use bytesize::ByteSize;
use futures_util::task::AtomicWaker;
use quail_protocol::{Conversation, Lane, Position, event::EventBody, message::Behind};
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
    behind: BTreeMap<Conversation, Position>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.behind.is_empty()
    }
}

#[derive(Debug, Default)]
struct Queues {
    lanes: [Queue; Lane::COUNT],
    reply_bytes: usize,
    dropped: u64,
    closed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    config: Config,
    queues: Mutex<Queues>,
    waker: AtomicWaker,
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
        Self { config, queues: Mutex::default(), waker: AtomicWaker::new() }
    }

    /// Queues the reply to a request.
    pub fn push_reply(&self, lane: Lane, frame: Bytes) {
        let mut queues = self.lock();
        if queues.closed {
            return;
        }
        queues.reply_bytes += frame.len();
        queues.lanes[lane.index()].items.push_back(Item::Reply(frame));
        drop(queues);
        self.waker.wake();
    }

    /// Queues a notice to this session alone, such as `session.draining`.
    pub fn push_notice(&self, frame: Bytes) {
        let mut queues = self.lock();
        if queues.closed {
            return;
        }
        let queue = &mut queues.lanes[Lane::Control.index()];
        queue.notices += 1;
        queue.items.push_back(Item::Notice(frame));
        drop(queues);
        self.waker.wake();
    }

    /// Queues the event of a stored message. Returns how many events were dropped for lack of room.
    pub fn push_event(&self, lane: Lane, frame: Bytes, subject: Subject) -> usize {
        let mut queues = self.lock();
        if queues.closed {
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
        drop(queues);
        self.waker.wake();
        dropped
    }

    /// Takes the frames that stand first on `lane`, as many as fit into `bytes_max` but at least one.
    pub fn take(&self, lane: Lane, bytes_max: usize) -> Option<Batch> {
        let mut queues = self.lock();
        let queue = &mut queues.lanes[lane.index()];
        // While notices wait, what falls behind is only noted: a conversation has one of each at most.
        if queue.notices == 0 {
            while let Some((conversation, head)) = queue.behind.pop_first() {
                queue.notices += 1;
                queue.items.push_back(Item::Notice(Behind { conversation, head }.to_frame()));
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

    /// Forgets what waits and takes nothing more.
    pub fn close(&self) {
        let mut queues = self.lock();
        *queues = Queues { dropped: queues.dropped, closed: true, ..Queues::default() };
    }

    /// True when nothing is taken any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Wakes the driver although nothing was pushed.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Wakes `waker` when something is pushed.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics while it holds the lock; were it otherwise, the queues would still be whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
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
mod tests {
    use quail_protocol::{
        Epoch, Event, Seq,
        frame::{Decoder, Head},
        id::UserId,
    };

    use super::*;

    fn subject(user: &str, seq: u64) -> Subject {
        Subject {
            conversation: Conversation::Peer(UserId::new(user).unwrap()),
            position: Position { epoch: Epoch(1), seq: Seq(seq) },
        }
    }

    fn small() -> Outbox {
        Outbox::new(Config { lane_items: 3, lane_bytes: ByteSize::b(100) })
    }

    fn frame(byte: u8, length: usize) -> Bytes {
        vec![byte; length].into()
    }

    #[test]
    fn ready_frames_of_a_lane_leave_in_one_batch_in_order() {
        let outbox = small();
        outbox.push_reply(Lane::High, frame(1, 4));
        outbox.push_event(Lane::High, frame(2, 4), subject("a", 1));
        outbox.push_reply(Lane::Low, frame(3, 4));
        let batch = outbox.take(Lane::High, 100).unwrap();
        assert_eq!(batch, Batch { bytes: [frame(1, 4), frame(2, 4)].concat().into(), replies: 1 });
        assert_eq!(outbox.take(Lane::High, 100), None);
        assert_eq!(outbox.take(Lane::Low, 100).unwrap().replies, 1);
        assert!(outbox.is_empty());
        assert_eq!(outbox.reply_bytes(), 0);
    }

    #[test]
    fn a_batch_is_bounded_but_never_empty() {
        let outbox = small();
        for byte in 1..=3 {
            outbox.push_reply(Lane::Normal, frame(byte, 40));
        }
        assert_eq!(outbox.take(Lane::Normal, 90).unwrap().bytes.len(), 80);
        assert_eq!(outbox.take(Lane::Normal, 10).unwrap().bytes.len(), 40);
    }

    #[test]
    fn an_overflow_drops_the_lanes_events_and_names_each_conversation_once() {
        let outbox = small();
        assert_eq!(outbox.push_event(Lane::Normal, frame(1, 10), subject("a", 1)), 0);
        outbox.push_reply(Lane::Normal, frame(9, 10));
        assert_eq!(outbox.push_event(Lane::Normal, frame(2, 10), subject("b", 7)), 0);
        assert_eq!(outbox.push_event(Lane::Normal, frame(3, 10), subject("a", 2)), 0);
        assert_eq!(outbox.push_event(Lane::Normal, frame(4, 10), subject("a", 3)), 4);
        assert_eq!(outbox.push_event(Lane::Normal, frame(5, 10), subject("a", 4)), 1);
        assert_eq!(outbox.push_event(Lane::Normal, frame(6, 10), subject("c", 1)), 0);
        assert_eq!(outbox.dropped(), 5);

        let batch = outbox.take(Lane::Normal, 1000).unwrap();
        assert_eq!(&batch.bytes[..10], &[9; 10]);
        assert_eq!(&batch.bytes[10..20], &[6; 10]);
        let mut decoder = Decoder::new(1000);
        decoder.extend(&batch.bytes[20..]);
        let mut told = vec![];
        while let Some(frame) = decoder.next_frame().unwrap() {
            let Head::Event { kind } = frame.head else { panic!("not an event") };
            let Event::Behind(behind) = Event::decode(kind, frame.body).unwrap() else {
                panic!("not behind")
            };
            told.push((behind.conversation.to_string(), behind.head.seq.0));
        }
        assert_eq!(told, [("peer a".to_owned(), 4), ("peer b".to_owned(), 7)]);
        assert_eq!(outbox.push_event(Lane::Normal, frame(7, 10), subject("a", 5)), 0);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_large_event_passes() {
        let outbox = small();
        assert_eq!(outbox.push_event(Lane::Low, frame(1, 500), subject("a", 1)), 0);
        assert_eq!(outbox.push_event(Lane::Low, frame(1, 1), subject("a", 2)), 2);
    }

    #[test]
    fn a_trickling_reader_with_many_conversations_piles_up_no_notices() {
        let outbox = small();
        for seq in 1..=100 {
            for user in 0..50 {
                outbox.push_event(Lane::Normal, frame(1, 50), subject(&format!("user{user}"), seq));
            }
            outbox.take(Lane::Normal, 100).unwrap();
        }
        assert!(outbox.lock().lanes[Lane::Normal.index()].items.len() < 60);
    }

    #[test]
    fn a_closed_outbox_holds_nothing() {
        let outbox = small();
        outbox.push_reply(Lane::Control, frame(1, 1));
        outbox.close();
        outbox.push_reply(Lane::Control, frame(1, 1));
        outbox.push_event(Lane::Control, frame(1, 1), subject("a", 1));
        assert!(outbox.is_empty());
    }
}
