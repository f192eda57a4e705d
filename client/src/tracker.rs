//! What the app has been told of each conversation, and what it has missed.
//!
//! Pure: the driver hands events, replies and pages in, and takes out what the app gets and what is to be fetched.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use quail_protocol::{
    Conversation, Event, Position, Seq,
    id::{ClientMessageId, UserId},
    limits::HISTORY_ENTRIES_MAX,
    message::{Behind, History, Message, Page, Sent},
};

use crate::{
    outbox::Own,
    tracker::track::{Held, Track},
};

mod track;

/// Conversations that are followed; the one that was used least recently goes.
const CONVERSATIONS_MAX: usize = 10_000;

/// Messages that wait until what stands before them is fetched. Later ones are fetched too.
const HELD_MAX: usize = 256;

/// Sends whose fate is not known are remembered until so many others followed.
const UNANSWERED_MAX: usize = 4096;

pub(crate) struct Tracker {
    me: UserId,
    conversations_max: usize,
    tracks: HashMap<Conversation, Track>,
    /// By when they were used last.
    uses: BTreeMap<u64, Conversation>,
    next_use: u64,
    /// Where messages are known to be missing.
    holes: VecDeque<Conversation>,
    /// Where some may have been missed.
    unsure: VecDeque<Conversation>,
    /// Messages that wait for others.
    held: usize,
    fetching: Option<History>,
    ready: VecDeque<Event>,
    unanswered: HashSet<ClientMessageId>,
    sent: VecDeque<ClientMessageId>,
    /// Sends without an answer from before the last reconnect: they may stand before what this session tells of.
    earlier: HashSet<ClientMessageId>,
}

impl Tracker {
    pub(crate) fn new(me: UserId) -> Self {
        Self {
            me,
            conversations_max: CONVERSATIONS_MAX,
            tracks: HashMap::new(),
            uses: BTreeMap::new(),
            next_use: 0,
            holes: VecDeque::new(),
            unsure: VecDeque::new(),
            held: 0,
            fetching: None,
            ready: VecDeque::new(),
            unanswered: HashSet::new(),
            sent: VecDeque::new(),
            earlier: HashSet::new(),
        }
    }

    /// The next thing to tell the app.
    pub(crate) fn pop_ready(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// The app wants no events any more.
    pub(crate) fn discard(&mut self) {
        *self = Self::new(self.me.clone());
    }

    /// An event arrived.
    pub(crate) fn event(&mut self, event: Event) {
        match event {
            Event::MessageSent(message) => self.message(message),
            Event::Behind(behind) => self.behind(behind),
            event => self.ready.push_back(event),
        }
    }

    /// A send goes out: its entry is not told to the app, wherever it comes from.
    pub(crate) fn sending(&mut self, own: &Own) {
        if self.unanswered.insert(own.id) {
            self.sent.push_back(own.id);
        }
        if self.sent.len() > UNANSWERED_MAX
            && let Some(id) = self.sent.pop_front()
        {
            self.unanswered.remove(&id);
        }
    }

    /// A send has its place.
    pub(crate) fn sent(&mut self, own: &Own, sent: &Sent) {
        self.unanswered.remove(&own.id);
        let followed = self.tracks.contains_key(&own.conversation);
        let held = Held::own(own.priority, sent.prev);
        self.place(own.conversation.clone(), sent.position, held);
        if self.earlier.remove(&own.id)
            && !followed
            && let Some(track) = self.tracks.get_mut(&own.conversation)
        {
            // What was placed between it and this session's login is told by no event.
            track.fetch_all();
            self.unsure.push_back(own.conversation.clone());
        }
    }

    /// A new session began: everything may have been missed. The conversations in use come first.
    pub(crate) fn reconnected(&mut self) {
        self.fetching = None;
        self.earlier.clone_from(&self.unanswered);
        self.holes.clear();
        self.unsure.clear();
        for conversation in self.uses.values().rev() {
            if let Some(track) = self.tracks.get_mut(conversation) {
                track.fetch_all();
                self.unsure.push_back(conversation.clone());
            }
        }
    }

    /// True if there is something to fetch and nothing on its way.
    pub(crate) fn wants(&self) -> bool {
        self.fetching.is_none() && self.ready.is_empty() && !(self.holes.is_empty() && self.unsure.is_empty())
    }

    /// What to fetch next, if `wants`. Answered by `page`, `retry` or `give_up`.
    pub(crate) fn fetch(&mut self) -> Option<History> {
        if !self.wants() {
            return None;
        }
        while let Some(conversation) = self.holes.pop_front().or_else(|| self.unsure.pop_front()) {
            let Some((from, to)) = self.tracks.get(&conversation).and_then(Track::wanted) else { continue };
            let query =
                History { conversation, from: Seq(from), to: Seq(to), limit: HISTORY_ENTRIES_MAX as u16 };
            self.fetching = Some(query.clone());
            return Some(query);
        }
        None
    }

    /// What was fetched.
    pub(crate) fn page(&mut self, page: Page) {
        let Some(query) = self.fetching.take() else { return };
        let (me, unanswered) = (&self.me, &self.unanswered);
        let Some(track) = self.tracks.get_mut(&query.conversation) else { return };
        let own = |message: &Message| message.sender == *me && unanswered.contains(&message.client_id);
        let (before, held) = (track.wanted(), track.held());
        track.page(&query, page, own, &mut self.ready);
        self.held = (self.held + track.held()).saturating_sub(held);
        match track.wanted() {
            None => {}
            // A server that answers with nothing would be asked for ever.
            after if after == before => self.forget(&query.conversation),
            Some(_) if track.has_hole() => self.holes.push_back(query.conversation),
            Some(_) => self.unsure.push_front(query.conversation),
        }
    }

    /// The server could not answer now: the same again.
    pub(crate) fn retry(&mut self) {
        if let Some(query) = self.fetching.take() {
            self.holes.push_front(query.conversation);
        }
    }

    /// The server refuses: the app gets what there is, and learns that something is missing.
    pub(crate) fn give_up(&mut self) {
        if let Some(query) = self.fetching.take() {
            self.forget(&query.conversation);
        }
    }

    fn message(&mut self, message: Message) {
        let mine = message.sender == self.me;
        let conversation = match &message.conversation {
            Conversation::Peer(user) if !mine && *user == self.me => {
                Conversation::Peer(message.sender.clone())
            }
            named => named.clone(),
        };
        let position = message.position;
        let held = if mine && self.unanswered.contains(&message.client_id) {
            Held::own(message.priority, message.prev)
        } else {
            Held::message(message)
        };
        self.place(conversation, position, held);
    }

    fn place(&mut self, conversation: Conversation, position: Position, held: Held) {
        let room = self.held < HELD_MAX;
        if let Some(track) = used(&mut self.tracks, &mut self.uses, &mut self.next_use, &conversation) {
            let before = track.held();
            track.place(position, held, room, &mut self.ready);
            self.held = (self.held + track.held()).saturating_sub(before);
            self.want(conversation);
        } else {
            let mut track = Track::starting_at(position);
            track.place(position, held, true, &mut self.ready);
            self.follow(conversation, track);
        }
    }

    fn behind(&mut self, behind: Behind) {
        let Behind { conversation, head } = behind.clone();
        if let Some(track) = used(&mut self.tracks, &mut self.uses, &mut self.next_use, &conversation) {
            let held = track.held();
            track.behind(head, &mut self.ready);
            self.held = (self.held + track.held()).saturating_sub(held);
            self.want(conversation);
        } else {
            self.follow(conversation, Track::starting_at(head));
            self.ready.push_back(Event::Behind(behind));
        }
    }

    /// A hole is fetched before what a reconnect may have missed.
    fn want(&mut self, conversation: Conversation) {
        let wanted = self.tracks.get(&conversation).is_some_and(|track| track.has_hole());
        let fetching = self.fetching.as_ref().is_some_and(|query| query.conversation == conversation);
        if wanted && !fetching && !self.holes.contains(&conversation) {
            self.holes.push_back(conversation);
        }
    }

    /// Begins to follow a conversation, and lets one go if there are too many.
    fn follow(&mut self, conversation: Conversation, mut track: Track) {
        track.used = self.next_use;
        self.uses.insert(self.next_use, conversation.clone());
        self.next_use += 1;
        self.tracks.insert(conversation, track);
        if self.tracks.len() > self.conversations_max
            && let Some((_, oldest)) = self.uses.first_key_value()
        {
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
    }

    /// Follows a conversation no longer. What it waits for is left to the app.
    fn forget(&mut self, conversation: &Conversation) {
        let Some(mut track) = self.tracks.remove(conversation) else { return };
        self.uses.remove(&track.used);
        self.held = self.held.saturating_sub(track.held());
        if track.wanted().is_some() {
            let behind = Behind { conversation: conversation.clone(), head: track.end() };
            track.finish(&mut self.ready);
            self.ready.push_back(Event::Behind(behind));
        }
    }
}

/// The track of a conversation, which counts as used now.
fn used<'a>(
    tracks: &'a mut HashMap<Conversation, Track>,
    uses: &mut BTreeMap<u64, Conversation>,
    next: &mut u64,
    conversation: &Conversation,
) -> Option<&'a mut Track> {
    let track = tracks.get_mut(conversation)?;
    if let Some(name) = uses.remove(&track.used) {
        track.used = *next;
        uses.insert(*next, name);
        *next += 1;
    }
    Some(track)
}

#[cfg(test)]
mod tests;
