//! Numbers of a room that many may add to at once. A change is made whole or not at all.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use quail_protocol::{
    Code, Timestamp,
    bounded::List,
    id::{ClientMessageId, UserId},
    limits::{COUNTER_ID_AHEAD_MS, COUNTER_MAX},
    room::{
        Counter, CounterKey, CountersChanged, CountersPage, CountersUpdated, Increase, IncreaseCounters,
        Role, SetCounters,
    },
};

use super::{
    Room, Row,
    attributes::{Change, check_keys},
    kept::Counts,
    rights::{Right, may},
};

/// So many increases are remembered at most; the oldest go.
const REMEMBERED_MAX: usize = 1024;

type Key = (UserId, ClientMessageId);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) values: BTreeMap<CounterKey, i64>,
    pub(super) version: u64,
    /// What a repetition of an id must have in common with its first use.
    added: HashMap<Key, u64>,
    by_age: VecDeque<(Key, Timestamp)>,
    /// Ids that were made up to here may have been forgotten; 0 if none was.
    forgotten: u64,
    /// When the newest of all ids was made, as it says.
    pub(super) newest: u64,
}

impl Counters {
    /// True if this was added before; an error if its id was used for something else, or may have been forgotten.
    fn is_repeated(&self, user: &UserId, change: &IncreaseCounters) -> Result<bool, Code> {
        match self.added.get(&(user.clone(), change.id)) {
            Some(before) if *before == hash(&change.increases) => Ok(true),
            Some(_) => Err(Code::MessageConflict),
            None if change.id.unix_ms() <= self.forgotten => Err(Code::MessageIdStale),
            None => Ok(false),
        }
    }

    /// What was there before a start of the server. Increases may be in it that were made before, or whose ids are no newer
    /// than the newest, whatever the clocks said.
    pub(super) fn restore(&mut self, before: Counts, now: Timestamp) {
        let Counts { version, values, newest } = before;
        (self.version, self.values, self.newest) = (version, values, newest);
        self.forgotten = now.0.max(newest);
    }

    fn remember(&mut self, user: UserId, change: &IncreaseCounters, now: Timestamp) {
        if self.by_age.len() == REMEMBERED_MAX
            && let Some((oldest, added)) = self.by_age.pop_front()
        {
            // An id that claims to be of later than when it came must not make those of others stale.
            self.forgotten = self.forgotten.max(oldest.1.unix_ms().min(added.0));
            self.added.remove(&oldest);
        }
        self.newest = self.newest.max(change.id.unix_ms());
        let key = (user, change.id);
        self.by_age.push_back((key.clone(), now));
        self.added.insert(key, hash(&change.increases));
    }

    /// How those of `keys` stand that are there.
    fn stand<'a>(&self, keys: impl IntoIterator<Item = &'a CounterKey>) -> Vec<Counter> {
        let counter =
            |key: &CounterKey| self.values.get(key).map(|value| Counter { key: key.clone(), value: *value });
        let mut counters: Vec<_> = keys.into_iter().filter_map(counter).collect();
        counters.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        counters
    }

    /// An error if there were too many with `set`, or one were too large.
    fn fit(&self, set: &BTreeMap<CounterKey, i64>, deleted: usize, max: usize) -> Result<(), Code> {
        if set.values().any(|value| value.unsigned_abs() > COUNTER_MAX.unsigned_abs()) {
            return Err(Code::CounterOutOfRange);
        }
        let new = set.keys().filter(|key| !self.values.contains_key(*key)).count();
        if new > 0 && self.values.len() - deleted + new > max {
            return Err(Code::TooManyCounters);
        }
        Ok(())
    }
}

fn hash(increases: &[Increase]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Increase { key, by } in increases {
        (key, by).hash(&mut hasher);
    }
    hasher.finish()
}

impl Room {
    /// Whether `user` may change counters, and what they are.
    fn may_count(&self, user: &UserId) -> Result<Role, Code> {
        let role = self.role(user).ok_or(Code::NotInRoom)?;
        if self.settings.counters_for_members || may(role, Right::Values) {
            Ok(role)
        } else {
            Err(Code::RightMissing)
        }
    }

    /// Sets and deletes counters.
    pub fn set_counters(
        &mut self,
        user: &UserId,
        change: SetCounters,
    ) -> Change<CountersChanged, CountersUpdated> {
        let role = self.may_count(user)?;
        let deleted = change.deleted.iter().map(|key| key.as_str());
        check_keys(change.set.iter().map(|counter| counter.key.as_str()).chain(deleted))?;
        let mut deleted = change.deleted.into_vec();
        deleted.retain(|key| self.counters.values.contains_key(key));
        let set = change.set.into_vec().into_iter().map(|counter| (counter.key, counter.value)).collect();
        self.change_counters(user, role, set, deleted)
    }

    /// Adds to counters. A repetition adds nothing.
    pub fn increase_counters(
        &mut self,
        user: &UserId,
        change: IncreaseCounters,
        now: Timestamp,
    ) -> Change<CountersChanged, CountersUpdated> {
        self.role(user).ok_or(Code::NotInRoom)?;
        check_keys(change.increases.iter().map(|increase| increase.key.as_str()))?;
        if self.counters.is_repeated(user, &change)? {
            let counters = self.counters.stand(change.increases.iter().map(|increase| &increase.key));
            return Ok((self.counters_changed(counters), None));
        }
        let role = self.may_count(user)?;
        if change.id.unix_ms() > now.0 + COUNTER_ID_AHEAD_MS {
            return Err(Code::MessageIdStale);
        }
        let sum = |increase: &Increase| {
            let value = self.counters.values.get(&increase.key).copied().unwrap_or_default();
            Some((increase.key.clone(), value.checked_add(increase.by)?))
        };
        let set: Option<_> = change.increases.iter().map(sum).collect();
        let changed = self.change_counters(user, role, set.ok_or(Code::CounterOutOfRange)?, vec![])?;
        // Before the row is taken, which holds the newest id.
        self.counters.remember(user.clone(), &change, now);
        Ok(changed)
    }

    fn change_counters(
        &mut self,
        user: &UserId,
        role: Role,
        mut set: BTreeMap<CounterKey, i64>,
        deleted: Vec<CounterKey>,
    ) -> Change<CountersChanged, CountersUpdated> {
        self.counters.fit(&set, deleted.len(), self.bounds.capacity.counters)?;
        let named: Vec<_> = set.keys().cloned().collect();
        set.retain(|key, value| self.counters.values.get(key) != Some(value));
        let changed: Vec<_> = set.keys().cloned().collect();
        self.counters.values.extend(set);
        for key in &deleted {
            self.counters.values.remove(key);
        }
        let is_news = !changed.is_empty() || !deleted.is_empty();
        self.counters.version += u64::from(is_news);
        if is_news {
            self.touch(Row::Counters);
        }
        let event = is_news.then(|| CountersUpdated {
            room: self.id.clone(),
            follows: self.head,
            version: self.counters.version,
            counters: List::new(self.counters.stand(&changed)).unwrap_or_default(),
            deleted: List::new(deleted).unwrap_or_default(),
            operator: user.clone(),
            role,
        });
        Ok((self.counters_changed(self.counters.stand(&named)), event))
    }

    fn counters_changed(&self, counters: Vec<Counter>) -> CountersChanged {
        let counters = List::new(counters).unwrap_or_default();
        CountersChanged { version: self.counters.version, counters }
    }

    /// All counters.
    pub fn counters(&self) -> CountersPage {
        let counters = List::new(self.counters.stand(self.counters.values.keys())).unwrap_or_default();
        CountersPage { version: self.counters.version, counters }
    }
}
