//! Conversations that this client has not heard of.

use quail_protocol::{
    Event, Position, Rev, Seq, Timestamp,
    conversation::{Conversation, Conversations, Summary, Sync},
    limits::SYNC_CONVERSATIONS_MAX,
    message::{Behind, BehindCause},
};

use super::{Note, Query, Tracker, track::Track};

/// How far the paging through the user's conversations is.
#[derive(Default)]
pub(super) struct Paging {
    /// The time of the login after which all pages were seen: whatever was there then is followed, or was let go.
    since: Option<Timestamp>,
    /// A conversation was let go: one that is not followed need not be new.
    let_go: bool,
    login: Timestamp,
    /// The time of the first login, if its connection was lost before all pages were seen: what was placed from then on
    /// may have been told by no event.
    interrupted: Option<Timestamp>,
    /// After what the next page is to be asked for.
    due: Option<Option<Conversation>>,
}

impl Paging {
    /// True if a page is to be asked for.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Goes on with what an earlier run knew.
    pub(super) fn restore(&mut self, since: Option<Timestamp>, let_go: bool) {
        (self.since, self.let_go) = (since, let_go);
    }

    /// A conversation is followed no longer.
    pub(super) fn let_go(&mut self) {
        self.let_go = true;
    }

    /// True if a conversation that is not followed has never been.
    fn knows_all(&self) -> bool {
        self.since.is_some() && !self.let_go
    }

    /// A new connection stands: what began is begun again.
    pub(super) fn reconnected(&mut self, login: Timestamp, asked: bool) {
        if asked || self.due.is_some() || self.since.is_some() {
            if self.since.is_none() {
                self.interrupted.get_or_insert(self.login);
            }
            self.begin(login);
        }
    }

    /// The user's conversations are to be asked for, from the first page on.
    pub(super) fn begin(&mut self, login: Timestamp) {
        (self.login, self.due) = (login, Some(None));
    }

    /// The page after `after` is to be asked for, unless all are from the beginning.
    pub(super) fn go_on(&mut self, after: Option<Conversation>) {
        self.due.get_or_insert(after);
    }
}

impl Tracker {
    /// The first connection stands.
    pub(crate) fn connected(&mut self, login: Timestamp) {
        self.ready.connected(login);
        self.paging.begin(login);
    }

    /// The first page of the user's conversations, which the login brought. Nothing comes of it if none was to be asked for.
    pub(crate) fn brought(&mut self, page: Conversations) {
        // The answer to an older question would be taken for what follows.
        let awaited = matches!(self.asked, Some(Query::Sync(_)));
        if self.paging.due == Some(None) && !awaited {
            self.paging.due = None;
            self.paged(None, page);
        }
    }

    pub(super) fn ask_sync(&mut self) -> Option<Query> {
        let after = self.paging.due.take()?;
        Some(Query::Sync(Sync { after, limit: SYNC_CONVERSATIONS_MAX as u16 }))
    }

    /// A page of the user's conversations.
    pub(super) fn listed(&mut self, page: Conversations) {
        if let Some(Query::Sync(query)) = self.asked.take() {
            self.paged(query.after.as_ref(), page);
        }
    }

    fn paged(&mut self, after: Option<&Conversation>, page: Conversations) {
        for summary in page.conversations.into_vec() {
            self.summarized(summary);
        }
        if self.paging.due.is_some() {
            return;
        }
        // A server that turns round would be asked for ever.
        self.paging.due = page.next.filter(|next| Some(next) != after).map(Some);
        if self.paging.due.is_none() {
            let login = self.paging.login;
            self.paging.since = Some(login);
            self.paging.interrupted = None;
            self.ready.note(|| Note::Synced(login));
        }
    }

    fn summarized(&mut self, summary: Summary) {
        let Summary { conversation, head, first, rev, time, .. } = summary;
        if self.tracks.contains_key(&conversation) {
            return;
        }
        match self.paging.since {
            // What was there before the client is no news.
            None if self.tracks.len() < self.conversations_max => {
                let news = self.paging.interrupted.filter(|from| time >= *from);
                let track = match news {
                    Some(from) => Track::since(conversation.clone(), head, rev, from),
                    None => Track::starting_at(conversation.clone(), head, rev),
                };
                self.follow(conversation.clone(), track);
                self.want(conversation);
            }
            None => {
                self.paging.let_go();
                self.ready.note(|| Note::LetGo(conversation));
            }
            Some(_) if !self.paging.let_go => {
                let before = Position { seq: Seq(first.0.saturating_sub(1)), ..head };
                // Of its changes, too, none is known: what is on its way may be older than the summary.
                let mut track = Track::starting_at(conversation.clone(), before, Rev(0));
                track.behind(head, rev, &mut self.ready);
                self.follow(conversation.clone(), track);
                self.want(conversation);
            }
            Some(since) if time >= since => {
                let (named, cause) = (conversation.clone(), BehindCause::Refused);
                self.ready.tell(Event::Behind(Behind { conversation: named, head, rev, cause }));
                self.follow(conversation.clone(), Track::starting_at(conversation, head, rev));
            }
            Some(_) => {}
        }
    }

    /// The track of a conversation that was not followed up to now and that has something at `position`.
    pub(super) fn unheard_of(&self, conversation: Conversation, position: Position, rev: Rev) -> Track {
        if matches!(conversation, Conversation::Room(_)) {
            // It was come into just now, and its answer is on the way.
            Track::starting_at(conversation, position, rev)
        } else if self.paging.knows_all() {
            Track::starting_at(conversation, Position { seq: Seq(0), ..position }, Rev(0))
        } else if let Some(time) = self.paging.interrupted {
            Track::since(conversation, position, rev, time)
        } else {
            Track::starting_at(conversation, position, rev)
        }
    }

    /// True if a conversation that is not followed is a new one.
    pub(super) fn knows_all(&self) -> bool {
        self.paging.knows_all()
    }
}
