//! Who is online and where, and how often they asked. The only file that names dashmap; no guard leaves it.

pub mod fanout;
pub mod rooms;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use foldhash::fast::FixedState;
use quail_protocol::{
    id::{AppId, UserId},
    message::RateClass,
    session::ResumeToken,
};

use crate::{apps::Rates, domain::rate::Bucket, session::Session};

/// Which bucket a request draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// A text message.
    Text,
    /// A custom message, or one of the structured kinds.
    Custom,
    /// A command.
    Command,
    /// A barrage.
    Barrage,
    /// A signal.
    Signal,
    /// A query.
    Query,
    /// A change.
    Change,
}

impl Draw {
    /// How many there are.
    const COUNT: usize = 7;

    /// For a message of this class.
    pub fn of(class: RateClass) -> Self {
        match class {
            RateClass::Text => Self::Text,
            RateClass::Custom => Self::Custom,
            RateClass::Command => Self::Command,
            RateClass::Barrage => Self::Barrage,
        }
    }

    fn per_second(self, rates: &Rates) -> u32 {
        match self {
            Self::Text => rates.text,
            Self::Custom => rates.custom,
            Self::Command => rates.command,
            Self::Barrage => rates.barrage,
            Self::Signal => rates.signal,
            Self::Query => rates.query,
            Self::Change => rates.change,
        }
    }
}

/// The user has as many sessions as the app allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySessions;

type UserKey = (AppId, UserId);

/// See the module.
#[derive(Debug)]
pub struct Hub {
    users: DashMap<UserKey, User, FixedState>,
}

/// How many sessions that gave way a user is remembered for.
const DISPLACED_MAX: usize = 8;

#[derive(Debug, Default)]
struct User {
    sessions: Vec<Arc<Session>>,
    /// Keys to sessions that gave way, until nobody can mean to come back with them.
    displaced: Vec<(ResumeToken, Instant)>,
    buckets: [Bucket; Draw::COUNT],
}

impl User {
    fn is_forgettable(&self, now: Instant) -> bool {
        let full = self.buckets.iter().all(|bucket| bucket.is_full(now));
        self.sessions.is_empty() && full && self.displaced.iter().all(|(_, until)| *until <= now)
    }
}

impl Hub {
    /// Nobody is online.
    pub fn new(hasher: FixedState) -> Self {
        Self { users: DashMap::with_hasher(hasher) }
    }

    /// Adds a session of a user, and takes those out that give way to it. Refused if `sessions_max` others stay. The
    /// keys to those that gave way are known until `known_until`.
    pub fn register(
        &self,
        app: &AppId,
        user: &UserId,
        session: Arc<Session>,
        sessions_max: usize,
        known_until: Instant,
        gives_way: impl Fn(&Session) -> bool,
    ) -> Result<Vec<Arc<Session>>, TooManySessions> {
        let mut entry = self.users.entry((app.clone(), user.clone())).or_default();
        let staying = entry.sessions.iter().filter(|other| !gives_way(other)).count();
        if staying >= sessions_max {
            return Err(TooManySessions);
        }
        let (displaced, stay) =
            std::mem::take(&mut entry.sessions).into_iter().partition(|other| gives_way(other));
        entry.sessions = stay;
        entry.sessions.push(session);
        for gone in displaced.iter().filter_map(|session: &Arc<Session>| session.resume_token()) {
            if entry.displaced.len() == DISPLACED_MAX {
                entry.displaced.remove(0);
            }
            entry.displaced.push((gone, known_until));
        }
        Ok(displaced)
    }

    /// True if the session that `token` is the key to gave way to another login not long ago.
    pub fn was_displaced(&self, app: &AppId, user: &UserId, token: ResumeToken, now: Instant) -> bool {
        self.users.get(&(app.clone(), user.clone())).is_some_and(|user| {
            user.displaced.iter().any(|(displaced, until)| *displaced == token && *until > now)
        })
    }

    /// Removes a session. True if it was there.
    pub fn deregister(&self, app: &AppId, user: &UserId, session: &Arc<Session>, now: Instant) -> bool {
        let key = (app.clone(), user.clone());
        let Some(mut entry) = self.users.get_mut(&key) else { return false };
        let before = entry.sessions.len();
        entry.sessions.retain(|other| !Arc::ptr_eq(other, session));
        let removed = entry.sessions.len() < before;
        let forgettable = entry.is_forgettable(now);
        drop(entry);
        if forgettable {
            self.users.remove_if(&key, |_, user| user.is_forgettable(now));
        }
        removed
    }

    /// The sessions of a user, in the order of their logins.
    pub fn sessions(&self, app: &AppId, user: &UserId) -> Vec<Arc<Session>> {
        self.users.get(&(app.clone(), user.clone())).map_or_else(Vec::new, |user| user.sessions.clone())
    }

    /// Draws from a user's bucket, or says how long to wait.
    pub fn draw(
        &self,
        app: &AppId,
        user: &UserId,
        draw: Draw,
        rates: &Rates,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut entry = self.users.entry((app.clone(), user.clone())).or_default();
        entry.buckets[draw as usize].draw(draw.per_second(rates), now)
    }

    /// Forgets users who are gone and whose buckets are full. Called now and then, it bounds the table by those who
    /// are online.
    pub fn sweep(&self, now: Instant) {
        self.users.retain(|_, user| !user.is_forgettable(now));
    }

    /// Users in the table.
    pub fn users(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::{entropy::Entropy, session::outbox};

    #[test]
    fn sessions_come_and_go_and_the_table_forgets_them() {
        let hub = Hub::new(Entropy::seeded(1).hasher());
        let (app, user) = (AppId::new("demo").unwrap(), UserId::new("alice").unwrap());
        let session = || Arc::new(Session::new(outbox::Config::default()));
        let (one, two, three) = (session(), session(), session());
        let now = Instant::now();
        assert_eq!(hub.register(&app, &user, one.clone(), 2, now, |_| false).map(|gone| gone.len()), Ok(0));
        assert_eq!(hub.register(&app, &user, two.clone(), 2, now, |_| false).map(|gone| gone.len()), Ok(0));
        assert_eq!(hub.register(&app, &user, three.clone(), 2, now, |_| false).err(), Some(TooManySessions));
        assert!(!hub.deregister(&app, &user, &three, now));
        assert!(hub.deregister(&app, &user, &one, now));
        assert!(Arc::ptr_eq(&hub.sessions(&app, &user)[0], &two));

        let rates = Rates { text: 1, ..Rates::default() };
        assert_eq!(hub.draw(&app, &user, Draw::Text, &rates, now), Ok(()));
        assert!(hub.deregister(&app, &user, &two, now));
        assert!(
            hub.draw(&app, &user, Draw::Text, &rates, now).is_err(),
            "logging out must not refill a bucket"
        );
        hub.sweep(now + Duration::from_secs(1));
        assert_eq!(hub.users(), 0);
    }

    #[test]
    fn the_key_to_a_session_that_gave_way_is_known_for_a_while() {
        let hub = Hub::new(Entropy::seeded(1).hasher());
        let (app, user) = (AppId::new("demo").unwrap(), UserId::new("alice").unwrap());
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        for key in 0..20 {
            let session = Arc::new(Session::new(outbox::Config::default()));
            session.set_resume_token(ResumeToken([key; 16]));
            hub.register(&app, &user, session, 1, now + second, |_| true).unwrap();
        }
        let known = |key, at| hub.was_displaced(&app, &user, ResumeToken([key; 16]), at);
        assert!(known(18, now) && known(11, now));
        assert!(!known(19, now), "it is still there");
        assert!(!known(10, now), "no more than a few are known");
        assert!(!known(18, now + second));
    }
}
