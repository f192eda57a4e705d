//! Keeping what of rooms is to outlive the server, and making rooms of it when one starts.

use std::sync::{Arc, Mutex, atomic::Ordering};

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
    store::{RoomChange, RoomsKept, Write, commit::Submission},
};

/// What a change answers, to be told when it is kept.
#[derive(Debug)]
#[must_use]
pub struct Answer<R> {
    value: R,
    kept: Option<oneshot::Receiver<Result<(), Reject>>>,
}

impl<R> Answer<R> {
    /// One that need not be kept.
    pub(super) fn at_once(value: R) -> Self {
        Self { value, kept: None }
    }

    /// Another one that waits for the same.
    pub(super) fn with<T>(self, value: T) -> Answer<T> {
        Answer { value, kept: self.kept }
    }

    /// Returns it when all that it tells of will outlive the server.
    pub async fn kept(self) -> Result<R, Reject> {
        if let Some(kept) = self.kept {
            // Without an answer the committer is gone.
            kept.await.unwrap_or(Err(Code::Unavailable.into()))?;
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

impl Rooms {
    /// An error while too many changes wait to be written.
    pub(super) fn ready(&self) -> Result<(), Code> {
        if self.committer.is_full() { Err(Code::Unavailable) } else { Ok(()) }
    }

    /// Has written what changed of a room. The answer waits until it is.
    pub(super) fn keep<R>(&self, app: &AppId, room: &RoomId, live: &mut Live, value: R) -> Answer<R> {
        if !live.rules.is_touched() {
            return Answer::at_once(value);
        }
        let rows = live.rules.take_touched();
        let change =
            RoomChange { app: app.clone(), room: room.clone(), epoch: live.rules.head().epoch, rows };
        Answer { value, kept: Some(self.submit(change)) }
    }

    /// Has removed what is kept of a room that is over.
    pub(super) fn wipe<R>(&self, app: &AppId, room: &RoomId, live: &Live, value: R) -> Answer<R> {
        let (epoch, rows) = (live.rules.head().epoch, live.rules.wiped());
        let change = RoomChange { app: app.clone(), room: room.clone(), epoch, rows };
        Answer { value, kept: Some(self.submit(change)) }
    }

    fn submit(&self, change: RoomChange) -> oneshot::Receiver<Result<(), Reject>> {
        let (ticket, kept) = oneshot::channel();
        // It happened and was told: refusing it would leave the store behind for good.
        self.committer.insist(Submission { write: Write::Room(change), ticket: Ticket::Room(ticket) });
        kept
    }

    /// Makes the rooms that were there when the server ended. The answer waits until their epochs are remembered:
    /// nobody is to come in before.
    pub fn restore(
        &self,
        kept: RoomsKept,
        config: impl Fn(&AppId) -> Option<apps::Rooms>,
        now: Now,
    ) -> Result<Answer<()>, Unreadable> {
        let mut last = None;
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
            let Ok(Some(rules)) = restored else { return Err(Unreadable { app, room }) };
            lock(&self.counts).restore(&app, rules.maker());
            self.metrics.rooms_changed(1);
            let live = Arc::new(Room { live: Mutex::new(Live::new(rules, self.metrics.clone())) });
            self.write().insert((app.clone(), room.clone()), live);
            last = Some((app, room, epoch));
        }
        let remember = |(app, room, epoch)| self.submit(RoomChange { app, room, epoch, rows: vec![] });
        Ok(Answer { value: (), kept: last.map(remember) })
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
