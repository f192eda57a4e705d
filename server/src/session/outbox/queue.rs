//! What waits on one lane.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use quail_protocol::{
    Conversation, Position, Priority, Rev,
    event::{EventBody, Kind},
    message::{Behind, BehindCause, Dropped, Gap},
};

use super::{Batch, Config, Subject, way::Strand};

/// One frame on its way out.
#[derive(Debug)]
enum Item {
    Reply(Bytes, Strand),
    Notice(Bytes, Strand),
    /// Where a notice stands that a newer one may have replaced.
    Latest(Latest),
    Event(Bytes, Subject),
    /// A message without a number.
    Passing(Bytes, Strand),
    /// So many events of a room.
    Run(Bytes, u32, Strand),
    /// Where messages without a number were dropped.
    Dropped(Conversation),
    /// Where messages of a room were dropped, by the number of the gap.
    Gap(u64),
}

/// Messages of a room that were dropped one behind the other.
#[derive(Debug)]
struct Missing {
    conversation: Conversation,
    priority: Priority,
    through: Position,
    count: u32,
}

/// What a notice tells that is of no use beside a newer one: a kind of event of a conversation.
pub(super) type Latest = (Kind, Conversation);

/// A queue is touched for every event of every room, so what is seldom there stands apart.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// Events, those without a number included.
    events: usize,
    event_bytes: usize,
    notices: usize,
    notice_bytes: usize,
    notes: Option<Box<Notes>>,
}

/// What items stand for that do not hold it themselves.
#[derive(Debug, Default)]
struct Notes {
    latest: BTreeMap<Latest, Bytes>,
    behind: BTreeMap<Conversation, (Position, Rev)>,
    /// How many messages without a number were dropped. Each has an item that stands for it.
    dropped: BTreeMap<Conversation, u32>,
    /// What is missing of rooms. Each has an item that stands for it.
    gaps: BTreeMap<u64, Missing>,
    /// The gap of each room behind which nothing of it waits: what is dropped next belongs to it.
    open_gaps: BTreeMap<Conversation, u64>,
    next_gap: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.notes.as_ref().is_none_or(|notes| notes.behind.is_empty())
    }

    fn notes(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }

    /// True if an event of so many bytes may be pushed; the first always may.
    pub(super) fn has_room(&self, config: &Config, bytes: usize) -> bool {
        let fits = self.event_bytes + bytes <= config.lane_bytes.as_u64() as usize;
        self.events < config.lane_items && (fits || self.events == 0)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Queues a reply, behind other replies and before everything else if it is to be `first`.
    pub(super) fn push_reply(&mut self, frame: Bytes, strand: Strand, first: bool) {
        let reply = Item::Reply(frame, strand);
        if first {
            let replies = self.items.iter().take_while(|item| matches!(item, Item::Reply(..))).count();
            self.items.insert(replies, reply);
        } else {
            self.items.push_back(reply);
        }
    }

    pub(super) fn begins_with_reply(&self) -> bool {
        matches!(self.items.front(), Some(Item::Reply(..)))
    }

    /// False if there is no room.
    pub(super) fn push_notice(&mut self, config: &Config, frame: Bytes) -> bool {
        let room = self.has_room_for_notice(config, frame.len());
        if room {
            self.notices += 1;
            self.notice_bytes += frame.len();
            self.items.push_back(Item::Notice(frame, Strand::default()));
        }
        room
    }

    /// Puts a notice in the place of the one that waits, if there is one. False if there is no room.
    pub(super) fn push_latest(&mut self, config: &Config, latest: Latest, frame: Bytes) -> bool {
        if let Some(older) = self.notes().latest.get_mut(&latest) {
            let before = std::mem::replace(older, frame.clone());
            self.notice_bytes = self.notice_bytes - before.len() + frame.len();
            return true;
        }
        let room = self.has_room_for_notice(config, frame.len());
        if room {
            self.notices += 1;
            self.notice_bytes += frame.len();
            self.items.push_back(Item::Latest(latest.clone()));
            self.notes().latest.insert(latest, frame);
        }
        room
    }

    fn has_room_for_notice(&self, config: &Config, bytes: usize) -> bool {
        let fits = self.notice_bytes + bytes <= config.lane_bytes.as_u64() as usize;
        self.notices < config.lane_items && (fits || self.notices == 0)
    }

    pub(super) fn push_event(&mut self, frame: Bytes, subject: Subject) {
        self.events += 1;
        self.event_bytes += frame.len();
        self.items.push_back(Item::Event(frame, subject));
    }

    pub(super) fn push_passing(&mut self, frame: Bytes, strand: Strand) {
        self.events += 1;
        self.event_bytes += frame.len();
        self.items.push_back(Item::Passing(frame, strand));
    }

    /// Queues a message of a room.
    pub(super) fn push_live(&mut self, frame: Bytes, conversation: &Conversation) {
        self.close_gap(conversation);
        self.push_passing(frame, Strand::of(conversation));
    }

    /// Something of a room waits: what is dropped of it next stands behind that.
    fn close_gap(&mut self, conversation: &Conversation) {
        if let Some(notes) = &mut self.notes {
            notes.open_gaps.remove(conversation);
        }
    }

    /// Queues several events of a room. False if there is no room for all of them.
    pub(super) fn push_run(
        &mut self,
        config: &Config,
        frames: Bytes,
        events: u32,
        of: &Conversation,
    ) -> bool {
        let fits = self.events + events as usize <= config.lane_items
            && self.event_bytes + frames.len() <= config.lane_bytes.as_u64() as usize;
        if fits {
            self.close_gap(of);
            self.events += events as usize;
            self.event_bytes += frames.len();
            self.items.push_back(Item::Run(frames, events, Strand::of(of)));
        }
        fits
    }

    /// Notes a message of a room that was dropped. There are no more gaps than messages that wait and rooms.
    pub(super) fn note_gap(&mut self, conversation: &Conversation, priority: Priority, position: Position) {
        let notes = self.notes();
        if let Some(missing) = notes.open_gaps.get(conversation).and_then(|gap| notes.gaps.get_mut(gap)) {
            missing.through = position;
            missing.count = missing.count.saturating_add(1);
            return;
        }
        let (number, conversation) = (notes.next_gap, conversation.clone());
        notes.next_gap += 1;
        notes.open_gaps.insert(conversation.clone(), number);
        notes.gaps.insert(number, Missing { conversation, priority, through: position, count: 1 });
        self.items.push_back(Item::Gap(number));
    }

    /// Counts a message without a number that was dropped. False if more conversations dropped some than are noted.
    pub(super) fn note_dropped(&mut self, conversation: &Conversation, conversations_max: usize) -> bool {
        let dropped = &mut self.notes().dropped;
        if let Some(count) = dropped.get_mut(conversation) {
            *count = count.saturating_add(1);
        } else if dropped.len() == conversations_max {
            return false;
        } else {
            dropped.insert(conversation.clone(), 1);
            self.items.push_back(Item::Dropped(conversation.clone()));
        }
        true
    }

    /// True if events of the conversation were dropped and that is not told yet.
    pub(super) fn is_behind(&self, conversation: &Conversation) -> bool {
        self.notes.as_ref().is_some_and(|notes| notes.behind.contains_key(conversation))
    }

    /// Drops an event, and with `all` every event of a stored message before it; notes the heads the client has to page
    /// up to. Returns how many were dropped.
    pub(super) fn fall_behind(&mut self, all: bool, subject: Subject) -> usize {
        let mut dropped = 1;
        if all {
            for item in std::mem::take(&mut self.items) {
                if let Item::Event(frame, subject) = item {
                    dropped += 1;
                    self.events -= 1;
                    self.event_bytes -= frame.len();
                    self.note_behind(subject);
                } else {
                    self.items.push_back(item);
                }
            }
        }
        self.note_behind(subject);
        dropped
    }

    fn note_behind(&mut self, subject: Subject) {
        let (head, rev) = self.notes().behind.entry(subject.conversation).or_default();
        *head = subject.head.max(*head);
        *rev = subject.rev.max(*rev);
    }

    /// Queues a notice for each conversation that fell behind. While notices wait, what falls behind is only noted: a
    /// conversation has one of each at most.
    pub(super) fn tell_behind(&mut self) {
        if self.notices > 0 {
            return;
        }
        let Some(behind) = self.notes.as_mut().map(|notes| std::mem::take(&mut notes.behind)) else { return };
        for (conversation, (head, rev)) in behind {
            let strand = Strand::of(&conversation);
            let behind = Behind { conversation, head, rev, cause: BehindCause::SlowReader }.to_frame();
            self.notices += 1;
            self.notice_bytes += behind.len();
            self.items.push_back(Item::Notice(behind, strand));
        }
    }

    /// Takes the frames that stand first, as many as fit into `bytes_max` but at least one, and says how many bytes of
    /// them are replies. With several streams they are those that go on the stream of the first.
    pub(super) fn take(&mut self, bytes_max: usize, streams: u8) -> Option<(Batch, usize)> {
        let slot = if streams > 1 { self.gather(bytes_max, streams)? } else { 0 };
        let (mut count, mut length) = (0, 0);
        for item in &self.items {
            let bytes = self.bytes(item);
            let elsewhere = streams > 1 && self.strand(item).slot(streams) != slot;
            if count > 0 && (length + bytes > bytes_max || elsewhere) {
                break;
            }
            (count, length) = (count + 1, length + bytes);
        }
        let (mut replies, mut reply_bytes) = (0, 0);
        let mut next = |queue: &mut Self| {
            let item = queue.items.pop_front()?;
            if let Item::Reply(frame, _) = &item {
                replies += 1;
                reply_bytes += frame.len();
            }
            Some(queue.frame(item))
        };
        let first = next(self)?;
        let bytes = if count == 1 {
            first
        } else {
            let mut joined = BytesMut::with_capacity(length);
            joined.extend_from_slice(&first);
            for _ in 1..count {
                next(self).into_iter().for_each(|frame| joined.extend_from_slice(&frame));
            }
            joined.freeze()
        };
        Some((Batch { bytes, replies, slot }, reply_bytes))
    }

    /// Puts what goes on the stream of the first frame behind it, as far as one batch reaches, and says which stream.
    fn gather(&mut self, bytes_max: usize, streams: u8) -> Option<u8> {
        let slot = self.strand(self.items.front()?).slot(streams);
        let goes = |queue: &Self, item: &Item| queue.strand(item).slot(streams) == slot;
        let run = self.items.iter().take_while(|item| goes(self, item)).count();
        if run == self.items.len() {
            return Some(slot);
        }
        let (mut first, mut rest, mut length, mut full) = (VecDeque::new(), VecDeque::new(), 0, false);
        for item in std::mem::take(&mut self.items) {
            if !full && goes(self, &item) {
                length += self.bytes(&item);
                // Nothing of a strand overtakes what stands before it; and no more than one batch of it passes others, or
                // a busy conversation would keep all of them waiting.
                full = !first.is_empty() && length > bytes_max;
            } else {
                rest.push_back(item);
                continue;
            }
            if full { &mut rest } else { &mut first }.push_back(item);
        }
        first.append(&mut rest);
        self.items = first;
        Some(slot)
    }

    fn strand(&self, item: &Item) -> Strand {
        match item {
            Item::Reply(_, strand)
            | Item::Notice(_, strand)
            | Item::Passing(_, strand)
            | Item::Run(_, _, strand) => *strand,
            Item::Event(_, subject) => Strand::of(&subject.conversation),
            Item::Latest((_, conversation)) | Item::Dropped(conversation) => Strand::of(conversation),
            Item::Gap(number) => {
                let missing = self.notes.as_ref().and_then(|notes| notes.gaps.get(number));
                missing.map_or_else(Strand::default, |missing| Strand::of(&missing.conversation))
            }
        }
    }

    fn bytes(&self, item: &Item) -> usize {
        match item {
            Item::Reply(frame, _)
            | Item::Notice(frame, _)
            | Item::Event(frame, _)
            | Item::Passing(frame, _)
            | Item::Run(frame, ..) => frame.len(),
            Item::Latest(latest) => {
                self.notes.as_ref().and_then(|notes| notes.latest.get(latest)).map_or(0, Bytes::len)
            }
            // Small, whatever it says.
            Item::Dropped(_) | Item::Gap(_) => 1,
        }
    }

    /// The frame of an item that waits no longer.
    fn frame(&mut self, item: Item) -> Bytes {
        match item {
            Item::Reply(frame, _) => frame,
            Item::Notice(frame, _) => self.noticed(frame),
            Item::Latest(latest) => {
                let frame = self.notes().latest.remove(&latest).unwrap_or_default();
                self.noticed(frame)
            }
            Item::Event(frame, _) | Item::Passing(frame, _) => {
                self.events -= 1;
                self.event_bytes -= frame.len();
                frame
            }
            Item::Run(frames, events, _) => {
                self.events -= events as usize;
                self.event_bytes -= frames.len();
                frames
            }
            Item::Dropped(conversation) => {
                let count = self.notes().dropped.remove(&conversation).unwrap_or_default();
                Dropped { conversation, count }.to_frame()
            }
            Item::Gap(number) => {
                let notes = self.notes();
                let Some(missing) = notes.gaps.remove(&number) else { return Bytes::new() };
                let Missing { conversation, priority, through, count } = missing;
                if notes.open_gaps.get(&conversation) == Some(&number) {
                    notes.open_gaps.remove(&conversation);
                }
                Gap { conversation, priority, through, count }.to_frame()
            }
        }
    }

    fn noticed(&mut self, frame: Bytes) -> Bytes {
        self.notices -= 1;
        self.notice_bytes -= frame.len();
        frame
    }
}
