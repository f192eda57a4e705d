//! Who is online and where, and how often they asked. The only file that names dashmap; no guard leaves it.

pub mod fanout;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use foldhash::fast::FixedState;
use quail_protocol::id::{AppId, UserId};

use crate::{apps::Rates, domain::rate::Bucket, session::Session};

/// Which bucket a request draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// A text message.
    Text,
    /// A query.
    Query,
    /// A change.
    Change,
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

#[derive(Debug, Default)]
struct User {
    sessions: Vec<Arc<Session>>,
    text: Bucket,
    query: Bucket,
    change: Bucket,
}

impl User {
    fn is_forgettable(&self, now: Instant) -> bool {
        let full = [self.text, self.query, self.change].iter().all(|bucket| bucket.is_full(now));
        self.sessions.is_empty() && full
    }
}

impl Hub {
    /// Nobody is online.
    pub fn new(hasher: FixedState) -> Self {
        Self { users: DashMap::with_hasher(hasher) }
    }

    /// Adds a session of a user, and takes those out that give way to it. Refused if `sessions_max` others stay.
    pub fn register(
        &self,
        app: &AppId,
        user: &UserId,
        session: Arc<Session>,
        sessions_max: usize,
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
        Ok(displaced)
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
        match draw {
            Draw::Text => entry.text.draw(rates.text, now),
            Draw::Query => entry.query.draw(rates.query, now),
            Draw::Change => entry.change.draw(rates.change, now),
        }
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
        assert_eq!(hub.register(&app, &user, one.clone(), 2, |_| false).map(|gone| gone.len()), Ok(0));
        assert_eq!(hub.register(&app, &user, two.clone(), 2, |_| false).map(|gone| gone.len()), Ok(0));
        assert_eq!(hub.register(&app, &user, three.clone(), 2, |_| false).err(), Some(TooManySessions));
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
}
