//! The rooms that are live: which there are, who is in them with which session, and telling everybody in one.
//!
//! Whatever changes a room or tells it something happens under the room's own lock, for microseconds: so everybody in it
//! sees the same order. A room is driven by values and answers with values.

mod counts;
mod crowd;
mod kept;
mod moderation;
mod read;
mod room;
mod stored;
mod talk;
mod values;
mod visitors;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use foldhash::fast::FixedState;
use quail_protocol::{
    Code, Epoch, Priority, Timestamp,
    event::EventBody,
    id::{AppId, RoomId, UserId},
    room::{
        Dismiss, Dismissed, Entered, EntryStatus, InfoChanged, LeaveCause, Left, Reason, RoomLeft, Settings,
        UpdateInfo,
    },
};

use self::{counts::Counts, room::Live};
pub use self::{
    crowd::Gather,
    kept::{Answer, Unreadable},
    room::Head,
    stored::Unplaced,
};
use super::fanout::Ticket;
use crate::{
    apps,
    domain::room::{Asker, Came, Newcomer, Room as Rules},
    session::Session,
    store::{ConversationKey, commit::Committer},
    telemetry::Metrics,
};

type Key = (AppId, RoomId);

/// A moment, by the clock on the wall and by one that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall time.
    pub time: Timestamp,
    /// For what lasts.
    pub instant: Instant,
}

/// How somebody wants to come in.
#[derive(Clone, Debug)]
pub enum Door {
    /// Only if the room has to be made.
    Create(Settings),
    /// Only if the room is there.
    Join,
    /// Either way.
    Enter(Settings),
}

/// Where leaving a room was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// In the session that leaves, or it is over.
    Here,
    /// In another one of the same user.
    OnAnother,
}

/// One live room.
#[derive(Debug)]
struct Room {
    live: Mutex<Live>,
    /// That it was made is synced.
    is_kept: Arc<AtomicBool>,
    /// What its messages are kept under, if they are.
    stored: Option<ConversationKey>,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Rooms {
    rooms: RwLock<HashMap<Key, Arc<Room>, FixedState>>,
    counts: Mutex<Counts>,
    /// Rooms with something to tell that waits for its time.
    pending: Mutex<BTreeSet<Key>>,
    /// The epoch of the room that was made last.
    epoch: AtomicU64,
    /// Writes what is kept.
    committer: Committer<Ticket>,
    closed: AtomicBool,
    metrics: Arc<Metrics>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rooms {
    /// There is none.
    pub fn new(hasher: FixedState, committer: Committer<Ticket>, metrics: Arc<Metrics>) -> Self {
        Self {
            rooms: RwLock::new(HashMap::with_hasher(hasher)),
            counts: Mutex::default(),
            pending: Mutex::default(),
            epoch: AtomicU64::new(0),
            committer,
            closed: AtomicBool::new(false),
            metrics,
        }
    }

    fn find(&self, app: &AppId, room: &RoomId) -> Option<Arc<Room>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).get(&(app.clone(), room.clone())).cloned()
    }

    /// Does something in a room that is there, under its lock; `absent` if it is not, or has ended.
    fn within<R>(
        &self,
        app: &AppId,
        room: &RoomId,
        absent: Code,
        act: impl FnOnce(&mut Live) -> Result<R, Code>,
    ) -> Result<R, Code> {
        let found = self.find(app, room).ok_or(absent)?;
        let mut live = found.lock();
        // Whoever ended it was here between the look and the lock.
        if live.is_over() { Err(absent) } else { act(&mut live) }
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Key, Arc<Room>, FixedState>> {
        self.rooms.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a session in by `door`, and tells it up to `recent` of the newest messages.
    pub fn enter(
        &self,
        app: (&AppId, &apps::Rooms),
        room: &RoomId,
        door: &Door,
        who: (&Newcomer, &Arc<Session>),
        recent: usize,
        now: Now,
    ) -> Result<Answer<Entered>, Code> {
        loop {
            let Some(found) = self.find(app.0, room) else {
                let settings = match door {
                    Door::Join => return Err(Code::RoomNotFound),
                    Door::Create(settings) | Door::Enter(settings) => settings,
                };
                match self.make(app, room, settings, who, now)? {
                    Some(entered) => return Ok(entered),
                    // Somebody else was faster.
                    None => continue,
                }
            };
            let mut live = found.lock();
            if live.has_ended(now.time) {
                _ = self.end(app.0, room, &found, live, LeaveCause::Ended, None);
                continue;
            }
            let user = &who.0.user;
            let is_in = live.has(who.1);
            if matches!(door, Door::Create(_)) && !is_in {
                return Err(Code::RoomExists);
            }
            let status = match live.enter(who, now)? {
                Came::Already => EntryStatus::AlreadyIn,
                Came::User | Came::Session => EntryStatus::Joined,
            };
            let entered = Entered {
                status,
                state: live.rules.state(&Asker::User(user.clone())),
                recent: live.recent(recent),
            };
            self.tell_news(app.0, room, &mut live, now);
            return Ok(self.let_in(app.0, room, &found, &mut live, (who.1, entered)));
        }
    }

    /// Makes a room with its first session in it. `None` if there is one by now.
    fn make(
        &self,
        (app, config): (&AppId, &apps::Rooms),
        room: &RoomId,
        settings: &Settings,
        who: (&Newcomer, &Arc<Session>),
        now: Now,
    ) -> Result<Option<Answer<Entered>>, Code> {
        self.ready()?;
        let owner = who.0.user.clone();
        let rules = Rules::new(
            room.clone(),
            settings.clone(),
            owner,
            self.next_epoch(now.time),
            config.bounds(),
            now.time,
        );
        let mut live = Live::new(rules, self.metrics.clone());
        live.enter(who, now)?;
        let state = live.rules.state(&Asker::User(who.0.user.clone()));
        // Whoever makes a room is alone in it, and knows.
        live.forget_news(now);
        let mut rooms = self.write();
        let key = (app.clone(), room.clone());
        if rooms.contains_key(&key) {
            who.1.forget_room(room);
            return Ok(None);
        }
        if let Err(code) = lock(&self.counts).add(app, config, &who.0.user) {
            who.1.forget_room(room);
            return Err(code);
        }
        self.metrics.rooms_changed(1);
        let entered = Entered { status: EntryStatus::Created, state, recent: Default::default() };
        // Behind what removes the room that had this name before: that is queued before it goes from the table.
        let made = Room::new(app, room, live, false);
        let answer = self.keep_new(app, room, &made, entered);
        rooms.insert(key, Arc::new(made));
        Ok(Some(answer))
    }

    /// A new room's, above that of every room before, even if the clock was set back.
    fn next_epoch(&self, time: Timestamp) -> Epoch {
        let next = |last: u64| Some(time.0.max(last + 1));
        let last = self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or_default();
        Epoch(time.0.max(last + 1))
    }

    /// Lets one session of a user out, and tells it if it did not ask for that.
    pub fn leave(
        &self,
        app: &AppId,
        room: &RoomId,
        (user, session, asked): (Option<&UserId>, &Arc<Session>, Asked),
        cause: LeaveCause,
        now: Now,
    ) -> Result<Left, Code> {
        let found = self.find(app, room).ok_or(Code::NotInRoom)?;
        let mut live = found.lock();
        live.leave(user, session, cause, now)?;
        let last = live.rules.head();
        if asked == Asked::OnAnother {
            let (room, operator, reason) = (room.clone(), user.cloned(), Reason::default());
            session.outbox.push_notice(RoomLeft { room, last, cause, operator, reason }.to_frame());
        }
        self.tell_news(app, room, &mut live, now);
        if live.has_ended(now.time) {
            _ = self.end(app, room, &found, live, LeaveCause::Ended, None);
        }
        Ok(Left { last })
    }

    /// Lets a session out of every room. Returns how many there were.
    pub fn leave_all(
        &self,
        app: &AppId,
        who: (Option<&UserId>, &Arc<Session>, Asked),
        cause: LeaveCause,
        now: Now,
    ) -> u32 {
        let rooms = who.1.rooms();
        rooms.iter().filter(|room| self.leave(app, room, who, cause, now).is_ok()).count() as u32
    }

    /// Ends a room for all in it, if `user` may.
    pub fn dismiss(
        &self,
        app: &AppId,
        Dismiss { room, reason }: &Dismiss,
        (user, session): (&UserId, &Arc<Session>),
    ) -> Result<Answer<Dismissed>, Code> {
        self.ready()?;
        let found = self.find(app, room).ok_or(Code::RoomNotFound)?;
        let live = found.lock();
        if live.is_over() {
            return Err(Code::RoomNotFound);
        }
        live.rules.may_dismiss(user)?;
        let last = live.rules.head();
        let ended = self.end(app, room, &found, live, LeaveCause::Dismissed, Some((user, session, reason)));
        Ok(ended.with(Dismissed { last }))
    }

    /// Ends a room: tells everybody in it but the session that asked for it, and forgets it.
    fn end(
        &self,
        app: &AppId,
        room: &RoomId,
        found: &Arc<Room>,
        mut live: MutexGuard<'_, Live>,
        cause: LeaveCause,
        operator: Option<(&UserId, &Arc<Session>, &Reason)>,
    ) -> Answer<()> {
        if !live.end(room, cause, operator) {
            return Answer::new((), None);
        }
        let (maker, answer) = (live.rules.maker().clone(), self.wipe(app, room, &live, ()));
        found.stored.iter().for_each(|key| self.forget(key.clone()));
        drop(live);
        let mut rooms = self.write();
        let key = (app.clone(), room.clone());
        if rooms.get(&key).is_some_and(|there| Arc::ptr_eq(there, found)) {
            rooms.remove(&key);
            lock(&self.counts).remove(app, &maker);
            self.metrics.rooms_changed(-1);
        }
        answer
    }

    /// Changes what a room says of itself.
    pub fn update_info(
        &self,
        app: &AppId,
        user: &UserId,
        session: &Arc<Session>,
        update: UpdateInfo,
    ) -> Result<Answer<InfoChanged>, Code> {
        self.ready()?;
        let room = update.room.clone();
        self.within(app, &room, Code::RoomNotFound, |live| {
            let updated = live.rules.update_info(user, update)?;
            let info = updated.info.clone();
            live.tell_passing(&updated, Priority::Normal, Some(session));
            Ok(self.keep(app, &room, live, InfoChanged { info }))
        })
    }

    fn tell_news(&self, app: &AppId, room: &RoomId, live: &mut Live, now: Now) {
        live.tell(now);
        // What went with an owner who left.
        self.keep_unasked(app, room, live);
        if live.rules.has_news() {
            lock(&self.pending).insert((app.clone(), room.clone()));
        }
    }

    /// Tells what has waited for its time. To be called a few times a second.
    pub fn tell_pending(&self, now: Now) {
        // The lock is given back before the loop, which takes it again for what has to wait once more.
        let pending = std::mem::take(&mut *lock(&self.pending));
        for (app, room) in pending {
            // One that has ended has nothing to tell.
            _ = self.within(&app, &room, Code::RoomNotFound, |live| {
                self.tell_news(&app, &room, live, now);
                Ok(())
            });
        }
    }

    /// Ends rooms whose time is over, and forgets messages that are too old. To be called every second or so.
    pub fn sweep(&self, now: Now) {
        let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = rooms.iter().map(|(key, room)| (key.clone(), room.clone())).collect();
        drop(rooms);
        for ((app, room), found) in all {
            let mut live = found.lock();
            if live.is_over() {
                continue;
            }
            live.rules.age(now.time);
            live.tell_expired(now);
            self.tell_news(&app, &room, &mut live, now);
            if live.has_ended(now.time) {
                _ = self.end(&app, &room, &found, live, LeaveCause::Ended, None);
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests;
