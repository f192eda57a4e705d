//! Keeping what of rooms is to outlive the server, and making rooms of it when one starts.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use quail_protocol::{
    Code, Reject, Timestamp,
    id::{AppId, RoomId},
};
use tokio::sync::oneshot;

use super::{Now, Room, Rooms, lock, room::Live};
use crate::{
    apps,
    domain::room::Room as Rules,
    hub::fanout::Ticket,
    session::Session,
    store::{ConversationKey, RoomChange, RoomsKept, Write, commit::Submission},
};

/// What a change answers, to be told when it is kept.
#[derive(Debug)]
#[must_use]
pub struct Answer<R> {
    value: R,
    kept: Option<oneshot::Receiver<Result<(), Reject>>>,
    /// Ready when all that stands before it in its line was told.
    told: Option<oneshot::Receiver<()>>,
}

impl<R> Answer<R> {
    pub(super) fn new(value: R, kept: Option<oneshot::Receiver<Result<(), Reject>>>) -> Self {
        Self { value, kept, told: None }
    }

    /// Another one that waits for the same.
    pub(super) fn with<T>(self, value: T) -> Answer<T> {
        let Self { kept, told, .. } = self;
        Answer { value, kept, told }
    }

    /// Returns it when all that it tells of will outlive the server, and whoever asked was told what happened before.
    pub async fn kept(self) -> Result<R, Reject> {
        if let Some(kept) = self.kept {
            // Without an answer the committer is gone.
            kept.await.unwrap_or(Err(Code::Unavailable.into()))?;
        }
        if let Some(told) = self.told {
            // Without an answer it went with its line.
            _ = told.await;
        }
        Ok(self.value)
    }
}

/// What is kept of rooms cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what is kept of room {room} of app {app} cannot be read")]
pub struct Unreadable {
    app: AppId,
    room: RoomId,
}

/// What changed of a room since it was asked last.
fn touched(app: &AppId, room: &RoomId, live: &mut Live) -> RoomChange {
    let (epoch, rows) = (live.rules.head().epoch, live.rules.take_touched());
    RoomChange { app: app.clone(), room: room.clone(), epoch, rows }
}

impl Rooms {
    /// An error while too many changes wait to be written.
    pub(super) fn ready(&self) -> Result<(), Code> {
        if self.committer.is_full() { Err(Code::Unavailable) } else { Ok(()) }
    }

    /// Has written what changed of a room. The answer waits until it is; also if nothing changed, for it may tell of what
    /// changed before and is on its way.
    pub(super) fn keep<R>(&self, app: &AppId, room: &RoomId, live: &mut Live, value: R) -> Answer<R> {
        Answer::new(value, Some(self.submit(touched(app, room, live), None)))
    }

    /// The same for a room that is new, and notes when it is there for good.
    pub(super) fn keep_new<R>(&self, app: &AppId, room: &RoomId, made: &Room, value: R) -> Answer<R> {
        let change = touched(app, room, &mut made.lock());
        Answer::new(value, Some(self.submit(change, Some(made.is_kept.clone()))))
    }

    /// The same for what nobody asked for.
    pub(super) fn keep_unasked(&self, app: &AppId, room: &RoomId, live: &mut Live) {
        if live.rules.is_touched() {
            _ = self.keep(app, room, live, ());
        }
    }

    /// Answers a session that came in behind everything that it was told before, and not before there is such a room for
    /// good.
    pub(super) fn let_in<R>(
        &self,
        app: &AppId,
        room: &RoomId,
        found: &Room,
        live: &mut Live,
        (session, value): (&Arc<Session>, R),
    ) -> Answer<R> {
        let answer = if found.is_kept.load(Ordering::Acquire) {
            Answer::new(value, None)
        } else {
            self.keep(app, room, live, value)
        };
        let (tell, told) = oneshot::channel();
        // Whoever was given up waits no more.
        live.answer(session, move || _ = tell.send(()));
        Answer { told: Some(told), ..answer }
    }

    /// Has removed what is kept of a room that is over.
    pub(super) fn wipe<R>(&self, app: &AppId, room: &RoomId, live: &Live, value: R) -> Answer<R> {
        let (epoch, rows) = (live.rules.head().epoch, live.rules.wiped());
        let change = RoomChange { app: app.clone(), room: room.clone(), epoch, rows };
        Answer::new(value, Some(self.submit(change, None)))
    }

    fn submit(
        &self,
        change: RoomChange,
        settles: Option<Arc<AtomicBool>>,
    ) -> oneshot::Receiver<Result<(), Reject>> {
        let (waiting, kept) = oneshot::channel();
        // It happened and was told: refusing it would leave the store behind for good.
        let ticket = Ticket::Room { waiting, settles };
        self.committer.insist(Submission { write: Write::Room(change), ticket });
        kept
    }

    /// Makes the rooms that were there when the server ended, and has what is left of others removed. The answer waits
    /// until their epochs are remembered, and names those that are to go on with their messages: nobody is to come in
    /// before.
    pub fn restore(
        &self,
        kept: RoomsKept,
        config: impl Fn(&AppId) -> Option<apps::Rooms>,
        now: Now,
    ) -> Result<Answer<Vec<ConversationKey>>, Unreadable> {
        let (mut last, mut stored) = (None, BTreeSet::new());
        self.epoch.fetch_max(kept.last_epoch.0, Ordering::AcqRel);
        for rows in kept.rows.chunk_by(|one, next| (&one.app, &one.room) == (&next.app, &next.room)) {
            let Some(first) = rows.first() else { continue };
            let (app, room) = (first.app.clone(), first.room.clone());
            let Some(config) = config(&app) else {
                tracing::warn!(%app, %room, "a room of an app that is not configured stays as it is");
                continue;
            };
            let grace = u64::try_from(config.return_grace.as_millis()).unwrap_or(u64::MAX);
            let until = Timestamp(now.time.0.saturating_add(grace));
            let rows: Vec<_> = rows.iter().map(|row| (row.name.clone(), row.value.clone())).collect();
            let epoch = self.next_epoch(now.time);
            let restored = Rules::restored(room.clone(), &rows, epoch, config.bounds(), (now.time, until));
            let Ok(restored) = restored else { return Err(Unreadable { app, room }) };
            let Some(rules) = restored else {
                tracing::error!(%app, %room, "rows of a room that is over are removed");
                let rows = rows.into_iter().map(|(name, _)| (name, None)).collect();
                _ = self.submit(RoomChange { app, room, epoch, rows }, None);
                continue;
            };
            lock(&self.counts).restore(&app, rules.maker());
            self.metrics.rooms_changed(1);
            let made = Room::new(&app, &room, Live::new(rules, self.metrics.clone()), true);
            stored.extend(made.stored.clone());
            self.write().insert((app.clone(), room.clone()), Arc::new(made));
            last = Some((app, room, epoch));
        }
        let remember = |(app, room, epoch)| self.submit(RoomChange { app, room, epoch, rows: vec![] }, None);
        let answer = Answer::new((), last.map(remember));
        // What a server that ended had not removed yet.
        let over = kept.histories.into_iter().filter(|key| !stored.contains(key));
        over.filter(|key| config(key.app()).is_some()).for_each(|key| self.forget(key));
        Ok(answer.with(stored.into_iter().collect()))
    }

    /// Says that the server ends: its rooms are to be there when it starts again.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// True if the server ends.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
