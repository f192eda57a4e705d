//! What the app has been told of each conversation, and what it has missed.
//!
//! Pure: the driver hands events, replies and pages in, and takes out what the app gets and what is to be fetched.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use quail_protocol::{
    Conversation, Event, Position, Seq, Timestamp,
    id::{ClientMessageId, UserId},
    message::{Behind, BehindCause, Message},
};

use crate::tracker::{
    ready::Ready,
    standing::Places,
    sync::Paging,
    track::{Held, Track},
};

mod change;
mod own;
mod query;
mod ready;
mod restore;
mod resume;
mod room;
mod standing;
mod sync;
mod track;

pub(crate) use query::Query;
pub(crate) use ready::{Note, Told};
pub(crate) use restore::Restored;

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
    /// Where changes are known to be missing.
    unchanged: VecDeque<Conversation>,
    /// Where the server is to be asked what was missed.
    unsure: VecDeque<Conversation>,
    /// Messages that wait for others.
    held: usize,
    asked: Option<Query>,
    ready: Ready,
    unanswered: HashSet<ClientMessageId>,
    sent: VecDeque<ClientMessageId>,
    /// Sends without an answer from before the last reconnect: they may stand before what this connection tells of.
    earlier: HashSet<ClientMessageId>,
    paging: Paging,
    /// The session has outlived a connection: answers may be older than this one.
    went_on: bool,
    /// Nobody is logged in: there are no conversations but rooms.
    visiting: bool,
    /// Rooms that were left last, and their newest position then.
    left: VecDeque<(Conversation, Position)>,
    places: Places,
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
            unchanged: VecDeque::new(),
            unsure: VecDeque::new(),
            held: 0,
            asked: None,
            ready: Ready::default(),
            unanswered: HashSet::new(),
            sent: VecDeque::new(),
            earlier: HashSet::new(),
            paging: Paging::default(),
            went_on: false,
            visiting: false,
            left: VecDeque::new(),
            places: Places::default(),
        }
    }

    /// The first connection stands, and is a visitor's.
    pub(crate) fn visiting(&mut self, visit: Timestamp) {
        self.visiting = true;
        self.ready.connected(visit);
    }

    /// The visitor asks to be this user. What the user is told may overtake the answer, and is named as the user names it.
    pub(crate) fn becoming(&mut self, user: &UserId) {
        if self.visiting {
            self.me = user.clone();
        }
    }

    /// The visitor is a user since this login, with conversations of their own.
    pub(crate) fn became(&mut self, user: UserId, login: Timestamp) {
        (self.me, self.visiting) = (user, false);
        self.paging.begin(login);
    }

    /// From now on, rooms that are lost with a session are come into again.
    pub(crate) fn reenter_rooms(&mut self) {
        self.places.reenter = true;
    }

    /// The next thing to tell the app.
    pub(crate) fn pop_ready(&mut self) -> Option<Told> {
        self.ready.pop()
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
            Event::MessageChanged(changed) => self.changed(changed),
            Event::MessageGap(gap) => self.gap(gap),
            Event::RoomLeft(left) => self.room_left(left),
            Event::MessagesDropped(dropped) => self.dropped(dropped),
            event => self.ready.tell(event),
        }
    }

    fn message(&mut self, message: Message) {
        if self.is_late(&message.conversation, message.position) {
            return;
        }
        let mine = message.sender == self.me;
        let conversation = self.named(&message);
        let position = message.position;
        let held = if mine && self.unanswered.contains(&message.client_id) {
            Held::own(message.priority, message.prev, message.rev)
        } else {
            Held::message(message)
        };
        self.place(conversation, position, held);
    }

    fn place(&mut self, conversation: Conversation, position: Position, held: Held) {
        let room = self.held < HELD_MAX;
        if let Some(track) = used(&mut self.tracks, &mut self.uses, &mut self.next_use, &conversation) {
            change(track, &mut self.held, &mut self.ready, |track, ready| {
                track.place(position, held, room, ready);
            });
            self.want(conversation);
        } else {
            let mut track = self.unheard_of(conversation.clone(), position, held.rev());
            let is_room = matches!(conversation, Conversation::Room(_));
            if self.knows_all() && position.seq > Seq(1) && !is_room {
                // What was placed before this connection is told by no event.
                self.unsure.push_back(conversation.clone());
            }
            track.place(position, held, true, &mut self.ready);
            self.held += track.held();
            self.follow(conversation.clone(), track);
            self.want(conversation);
        }
    }

    fn behind(&mut self, behind: Behind) {
        let Behind { conversation, head, rev, .. } = behind.clone();
        if let Some(track) = used(&mut self.tracks, &mut self.uses, &mut self.next_use, &conversation) {
            change(track, &mut self.held, &mut self.ready, |track, ready| track.behind(head, rev, ready));
            self.want(conversation);
        } else {
            let mut track = self.unheard_of(conversation.clone(), head, rev);
            track.behind(head, rev, &mut self.ready);
            if !self.knows_all() {
                self.ready.tell(Event::Behind(behind));
            }
            self.follow(conversation.clone(), track);
            self.want(conversation);
        }
    }

    /// A hole is fetched before what a reconnect may have missed.
    fn want(&mut self, conversation: Conversation) {
        self.want_changes(&conversation);
        let wanted = self.tracks.get(&conversation).is_some_and(|track| track.wanted().is_some());
        let asked = matches!(&self.asked, Some(Query::History(query)) if query.conversation == conversation);
        if wanted && !asked && !self.holes.contains(&conversation) {
            self.holes.push_back(conversation);
        }
    }

    /// Begins to follow a conversation, and lets one go if there are too many.
    fn follow(&mut self, conversation: Conversation, mut track: Track) {
        track.used = self.next_use;
        track.note_down(&mut self.ready);
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

    /// Follows a conversation no longer. What it waits for is nobody's.
    fn abandon(&mut self, conversation: &Conversation) -> Option<Track> {
        let track = self.tracks.remove(conversation)?;
        self.uses.remove(&track.used);
        self.held = self.held.saturating_sub(track.held());
        Some(track)
    }

    /// Follows a conversation no longer. What it waits for is left to the app.
    fn forget(&mut self, conversation: &Conversation) {
        let Some(mut track) = self.abandon(conversation) else { return };
        if !matches!(conversation, Conversation::Room(_)) {
            self.paging.let_go();
        }
        if track.wanted().is_some() {
            let head = track.end();
            track.finish(&mut self.ready);
            let (rev, cause) = (track.rev(), BehindCause::Refused);
            self.ready.tell(Event::Behind(Behind { conversation: conversation.clone(), head, rev, cause }));
        }
        self.ready.note(|| Note::LetGo(conversation.clone()));
    }
}

/// Changes a track that is followed: `held` stays the sum over all tracks, and how far the app is gets noted.
fn change(
    track: &mut Track,
    held: &mut usize,
    ready: &mut Ready,
    change: impl FnOnce(&mut Track, &mut Ready),
) {
    let before = track.held();
    change(track, ready);
    track.note_down(ready);
    *held = (*held + track.held()).saturating_sub(before);
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
