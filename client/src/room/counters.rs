//! Numbers of a room that many may add to at once.

use quail_protocol::{
    bounded::Text,
    room::{Counter, Counters, CountersChanged, CountersPage, Increase, IncreaseCounters, SetCounters},
};

use super::{Room, attributes::list};
use crate::error::CallError;

impl Room {
    /// Sets counters of the room, all or none; keys have up to 64 bytes, values are at most 2^52 from 0. For its owner and
    /// its admins, unless its settings have `counters_for_members`.
    ///
    /// Everybody else in the room gets one [`Event::CountersUpdated`](crate::protocol::Event::CountersUpdated) for each
    /// change.
    pub async fn set_counters<K: Into<String>>(
        &self,
        values: impl IntoIterator<Item = (K, i64)>,
    ) -> Result<CountersChanged, CallError> {
        let counter = |(key, value)| Ok(Counter { key: Text::new(key)?, value });
        let set = list(values.into_iter().map(counter))?;
        self.client.call(SetCounters { room: self.id.clone(), set, deleted: Default::default() }).await
    }

    /// Deletes counters of the room. Those that are not there are no error.
    pub async fn delete_counters<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<CountersChanged, CallError> {
        let deleted = list(keys.into_iter().map(Text::new))?;
        self.client.call(SetCounters { room: self.id.clone(), set: Default::default(), deleted }).await
    }

    /// Adds to counters of the room, all or none, and says how they stand; those that are not there begin with 0. A number
    /// below 0 takes away.
    ///
    /// ```no_run
    /// # async fn f(room: quail_client::Room) -> Result<(), quail_client::CallError> {
    /// let stand = room.increase_counters([("likes", 1)]).await?;
    /// println!("{} likes", stand.counters[0].value);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn increase_counters<K: Into<String>>(
        &self,
        increases: impl IntoIterator<Item = (K, i64)>,
    ) -> Result<CountersChanged, CallError> {
        self.client.call(self.increase(increases)?).await
    }

    /// The same for an app that tries again by itself: [`Client::call`](crate::Client::call) adds it once, however often
    /// it is called with a clone of it.
    pub fn increase<K: Into<String>>(
        &self,
        increases: impl IntoIterator<Item = (K, i64)>,
    ) -> Result<IncreaseCounters, CallError> {
        let increase = |(key, by)| Ok(Increase { key: Text::new(key)?, by });
        let increases = list(increases.into_iter().map(increase))?;
        Ok(IncreaseCounters { room: self.id.clone(), id: self.client.message_id(), increases })
    }

    /// All counters of the room.
    pub async fn counters(&self) -> Result<CountersPage, CallError> {
        self.client.call(Counters { room: self.id.clone() }).await
    }
}
