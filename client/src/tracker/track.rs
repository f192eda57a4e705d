//! What the app has been told of one conversation.

use std::collections::BTreeMap;

use quail_protocol::{
    Conversation, Epoch, Event, Position, Priority, Rev, Seq, Timestamp,
    bounded::List,
    message::{Behind, BehindCause, History, Message, Page},
    session::{Ahead, Answer, Cursor, Missed},
};

use super::ready::{Note, Ready};

mod change;

/// Gaps between entries that arrived ahead of others on slower lanes. With more of them, what is late is fetched.
const RANGES_MAX: usize = 2048;

/// An entry that has its place. Own ones fill it and are not told.
pub(super) struct Held {
    priority: Priority,
    prev: u64,
    rev: Rev,
    message: Option<Box<Message>>,
}

impl Held {
    pub(super) fn own(priority: Priority, prev: Seq, rev: Rev) -> Self {
        Self { priority, prev: prev.0, rev, message: None }
    }

    pub(super) fn message(message: Message) -> Self {
        let Message { priority, prev, rev, .. } = message;
        Self { priority, prev: prev.0, rev, message: Some(Box::new(message)) }
    }

    /// The number of the conversation's last change when it was placed, or of its own.
    pub(super) fn rev(&self) -> Rev {
        self.rev
    }
}

enum Verdict {
    Seen,
    Next,
    Hole,
}

/// What a cursor is made of.
type Reached = (Epoch, u64, [Option<u64>; Priority::COUNT], Rev);

/// So many entries are looked at to find those that were placed since a time.
const NEWS_MAX: u64 = 1000;

pub(super) struct Track {
    conversation: Conversation,
    epoch: Epoch,
    /// Nothing up to here is missed; it may still arrive.
    base: u64,
    /// Every entry from `base` up to here was told or is own.
    through: u64,
    /// First and last numbers of what was told beyond.
    above: BTreeMap<u64, u64>,
    /// The last number told of each priority.
    told: [Option<u64>; Priority::COUNT],
    /// Entries that arrived before one of their priority that is missing.
    held: BTreeMap<u64, Held>,
    /// Up to here there are entries to fetch.
    want: u64,
    /// The last change that was told, or need not be.
    rev: Rev,
    /// Up to here there are changes to fetch.
    want_rev: Rev,
    /// There may be changes to fetch.
    suspects: bool,
    /// Changes up to here were made before this was followed; events of some may still be on their way.
    first_rev: Rev,
    /// What became of messages that may be told yet: what is on its way may say what they were.
    overtaken: BTreeMap<u64, Box<Message>>,
    /// What was noted last.
    noted: Option<Reached>,
    /// What was placed before is no news.
    news_from: Timestamp,
    /// When it was used last; the tracker's.
    pub(super) used: u64,
}

impl Track {
    /// The first that is seen of a conversation stands at `position`.
    pub(super) fn starting_at(conversation: Conversation, position: Position, rev: Rev) -> Self {
        Self {
            conversation,
            epoch: position.epoch,
            base: position.seq.0,
            through: position.seq.0,
            above: BTreeMap::new(),
            told: [None; Priority::COUNT],
            held: BTreeMap::new(),
            want: 0,
            rev,
            want_rev: Rev(0),
            suspects: false,
            first_rev: rev,
            overtaken: BTreeMap::new(),
            noted: None,
            news_from: Timestamp(0),
            used: 0,
        }
    }

    /// Of what stands up to `head`, the newest that was placed from `time` on is wanted, and nothing older is told.
    pub(super) fn since(conversation: Conversation, head: Position, rev: Rev, time: Timestamp) -> Self {
        let before = Position { seq: Seq(head.seq.0.saturating_sub(NEWS_MAX)), ..head };
        let news = Self::starting_at(conversation, before, rev);
        Self { want: head.seq.0, news_from: time, ..news }
    }

    /// Goes on where an earlier run was.
    pub(super) fn restored(cursor: &Cursor) -> Self {
        let mut track = Self::starting_at(cursor.conversation.clone(), cursor.position, cursor.rev);
        track.told = [Some(track.through); Priority::COUNT];
        track.first_rev = Rev(0);
        for ahead in &*cursor.ahead {
            track.told[ahead.priority.index()] = Some(ahead.seq.0.max(track.through));
        }
        track.noted = Some(track.reached());
        track
    }

    /// How far the app has been told.
    pub(super) fn cursor(&self) -> Cursor {
        let told = |priority: &Priority| self.told[priority.index()].filter(|seq| *seq > self.through);
        let ahead =
            |priority: &Priority| told(priority).map(|seq| Ahead { priority: *priority, seq: Seq(seq) });
        let ahead = List::new(Priority::ALL.iter().filter_map(ahead).collect());
        Cursor {
            conversation: self.conversation.clone(),
            position: Position { epoch: self.epoch, seq: Seq(self.through) },
            ahead: ahead.unwrap_or_else(|_| unreachable!("one for each priority at most")),
            rev: self.rev,
        }
    }

    fn reached(&self) -> Reached {
        (self.epoch, self.through, self.told, self.rev)
    }

    /// Notes how far the app is if no event did.
    pub(super) fn note_down(&mut self, out: &mut Ready) {
        if out.takes_notes() && self.noted != Some(self.reached()) {
            self.noted = Some(self.reached());
            out.note(|| Note::At(self.cursor()));
        }
    }

    /// How many messages wait here.
    pub(super) fn held(&self) -> usize {
        self.held.values().filter(|held| held.message.is_some()).count()
    }

    /// Where this has come to.
    pub(super) fn end(&self) -> Position {
        let held = self.held.last_key_value().map_or(0, |(seq, _)| *seq);
        let above = self.above.last_key_value().map_or(0, |(_, last)| *last);
        Position { epoch: self.epoch, seq: Seq(self.through.max(self.want).max(held).max(above)) }
    }

    /// First and last number to fetch.
    pub(super) fn wanted(&self) -> Option<(u64, u64)> {
        (self.want > self.through).then_some((self.through.saturating_add(1), self.want))
    }

    /// Events up to `head` were dropped.
    pub(super) fn behind(&mut self, head: Position, rev: Rev, out: &mut Ready) {
        if head.epoch > self.epoch {
            self.begin_again(head, rev, out);
        } else if head.epoch == self.epoch {
            self.want = self.want.max(head.seq.0);
            self.want_rev = self.want_rev.max(rev);
        }
    }

    /// Something may be missing.
    pub(super) fn suspect(&mut self) {
        self.want = self.want.max(self.through.saturating_add(1));
    }

    /// What the server says of the cursor, whose position was of epoch `asked`.
    pub(super) fn answered(&mut self, asked: Epoch, answer: Answer, out: &mut Ready) {
        match answer.missed {
            Missed::CaughtUp => {}
            Missed::Trimmed => {
                self.lose(answer.first, answer.head, out);
                self.behind(answer.head, answer.rev, out);
            }
            // In the same epoch: the cursor is beyond all that there is.
            Missed::EpochChanged if answer.head.epoch != self.epoch || answer.head.epoch == asked => {
                self.begin_again(answer.head, answer.rev, out);
            }
            // An epoch that an event has told of already is as good as any.
            Missed::Replay | Missed::EpochChanged => self.behind(answer.head, answer.rev, out),
            Missed::NotMember => self.tell_behind(Position::default(), BehindCause::NotMember, out),
            Missed::Unknown(_) => self.tell_behind(answer.head, BehindCause::Refused, out),
        }
    }

    /// An entry arrived. Without `room` a message that cannot be told yet is fetched later.
    pub(super) fn place(&mut self, at: Position, entry: Held, room: bool, out: &mut Ready) {
        let seq = at.seq.0;
        if at.epoch > self.epoch {
            // What stands before the first that is seen of an epoch is not told, as with any conversation.
            self.begin_again(Position { seq: Seq(seq.saturating_sub(1)), ..at }, entry.rev, out);
        } else if at.epoch < self.epoch {
            return;
        }
        self.settle(seq, entry, room, out);
        if !self.held.is_empty() {
            self.release(out);
        }
        if self.above.len() > RANGES_MAX {
            self.want = self.want.max(seq);
        }
    }

    /// Entries of the history that were asked for with `query`. `own` tells which are not for the app.
    pub(super) fn page(
        &mut self,
        query: &History,
        page: Page,
        own: impl Fn(&Message) -> bool,
        out: &mut Ready,
    ) {
        if page.head.epoch != self.epoch {
            if page.head.epoch > self.epoch {
                self.begin_again(page.head, page.rev, out);
            } else {
                self.through = self.end().seq.0;
                self.finish(out);
            }
            return;
        }
        self.lose(page.first, page.head, out);
        for message in page.messages.into_vec() {
            let seq = message.position.seq.0;
            let mut entry = if own(&message) {
                Held::own(message.priority, message.prev, message.rev)
            } else {
                Held::message(message)
            };
            if let Some(held) = self.held.remove(&seq)
                && held.message.is_none()
            {
                entry.message = None;
            }
            if self.told[entry.priority.index()].is_none_or(|told| seq > told) && seq > self.through {
                self.tell(seq, entry, out);
            }
        }
        let end = page.next.map_or(query.to.0, |next| next.0.saturating_sub(1).min(query.to.0));
        self.through = self.through.max(end);
        self.absorb();
        self.release(out);
    }

    /// Tells whatever waits, in order.
    pub(super) fn finish(&mut self, out: &mut Ready) {
        for (seq, held) in std::mem::take(&mut self.held) {
            if let Some(message) = self.as_it_is(seq, held) {
                out.tell(Event::MessageSent(*message));
            }
        }
    }

    /// A newer incarnation does not continue what was before: the app is told, and what follows `position` is followed.
    fn begin_again(&mut self, position: Position, rev: Rev, out: &mut Ready) {
        self.finish(out);
        *self = Self { used: self.used, ..Self::starting_at(self.conversation.clone(), position, rev) };
        self.tell_behind(position, BehindCause::EpochChanged, out);
    }

    /// Entries below `first` are no longer kept.
    fn lose(&mut self, first: Seq, head: Position, out: &mut Ready) {
        let last = first.0.saturating_sub(1);
        if head.epoch == self.epoch && last > self.through {
            self.through = last;
            self.absorb();
            self.tell_behind(head, BehindCause::Trimmed, out);
            self.release(out);
        }
    }

    fn tell_behind(&self, head: Position, cause: BehindCause, out: &mut Ready) {
        let (conversation, rev) = (self.conversation.clone(), self.rev);
        out.tell(Event::Behind(Behind { conversation, head, rev, cause }));
    }

    fn verdict(&self, seq: u64, entry: &Held) -> Verdict {
        match self.told[entry.priority.index()] {
            Some(told) if seq <= told => Verdict::Seen,
            Some(told) if entry.prev <= told => Verdict::Next,
            None if seq <= self.base => Verdict::Next,
            // Whatever stands up to `through` was told, or the server does not have it.
            _ if entry.prev <= self.through => Verdict::Next,
            _ => Verdict::Hole,
        }
    }

    fn tell(&mut self, seq: u64, entry: Held, out: &mut Ready) {
        self.told[entry.priority.index()] = Some(seq);
        self.note(seq);
        if let Some(message) = self.as_it_is(seq, entry)
            && message.time >= self.news_from
        {
            out.tell_with(Event::MessageSent(*message), || Note::At(self.cursor()));
            self.noted = Some(self.reached());
        }
    }

    /// Tells an entry if it is next, or keeps it until what stands before it is there.
    fn settle(&mut self, seq: u64, entry: Held, room: bool, out: &mut Ready) {
        match self.verdict(seq, &entry) {
            Verdict::Seen => {}
            Verdict::Next => self.tell(seq, entry, out),
            Verdict::Hole => {
                if !self.held.contains_key(&entry.prev) {
                    self.want = self.want.max(entry.prev);
                }
                // Of an own entry only this remembers that it is one.
                if room || entry.message.is_none() {
                    self.held.insert(seq, entry);
                } else {
                    self.want = self.want.max(seq);
                }
            }
        }
    }

    /// Tells what has waited and is next now. What waits on keeps its room.
    fn release(&mut self, out: &mut Ready) {
        for (seq, entry) in std::mem::take(&mut self.held) {
            self.settle(seq, entry, true, out);
        }
    }

    fn note(&mut self, seq: u64) {
        if seq <= self.through {
            return;
        }
        if seq == self.through.saturating_add(1) {
            self.through = seq;
            return self.absorb();
        }
        let mut range = (seq, seq);
        if let Some((&first, &last)) = self.above.range(..seq).next_back()
            && last.saturating_add(1) >= seq
        {
            range = (first, last.max(seq));
        }
        if let Some(last) = self.above.remove(&range.1.saturating_add(1)) {
            range.1 = last;
        }
        self.above.insert(range.0, range.1);
    }

    /// Goes on over what was told beyond.
    fn absorb(&mut self) {
        while let Some(first) = self.above.first_entry()
            && *first.key() <= self.through.saturating_add(1)
        {
            self.through = self.through.max(first.remove());
        }
    }
}
