//! What the app is told next, and what is noted of it for the next run.

use std::collections::VecDeque;

use quail_protocol::{Conversation, Event, Timestamp, session::Cursor};

/// What to know at the next start, once the app has taken everything that was told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// How far the app is in a conversation.
    At(Cursor),
    /// A conversation is not followed any more.
    LetGo(Conversation),
    /// All pages of the user's conversations were seen since a login at this time.
    Synced(Timestamp),
}

/// An event, a note, or an event and what it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) event: Option<Event>,
    pub(crate) note: Option<Note>,
    /// The event is of a message that was placed before the connection stood.
    pub(crate) waited: bool,
}

#[derive(Default)]
pub(super) struct Ready {
    queue: VecDeque<Told>,
    /// Somebody takes notes.
    notes: bool,
    /// What was placed before has waited for this client.
    login: Timestamp,
}

impl Ready {
    /// From now on notes are taken.
    pub(super) fn take_notes(&mut self) {
        self.notes = true;
    }

    /// Whether notes are taken.
    pub(super) fn takes_notes(&self) -> bool {
        self.notes
    }

    /// A connection stands since then.
    pub(super) fn connected(&mut self, login: Timestamp) {
        self.login = login;
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.push(event, None);
    }

    fn push(&mut self, event: Event, note: Option<Note>) {
        let waited = matches!(&event, Event::MessageSent(message) if message.time < self.login);
        self.queue.push_back(Told { event: Some(event), note, waited });
    }

    /// With what the event changes.
    pub(super) fn tell_with(&mut self, event: Event, note: impl FnOnce() -> Note) {
        let note = self.notes.then(note);
        self.push(event, note);
    }

    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        if self.notes {
            self.queue.push_back(Told { note: Some(note()), ..Told::default() });
        }
    }

    pub(super) fn pop(&mut self) -> Option<Told> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
