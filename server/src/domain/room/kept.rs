//! What of a room outlives the server, in rows, and a room made of them again.
//!
//! Whatever changes something that is kept marks its row; whoever drives the room takes the marked rows and has them
//! written. Members and what is set of them are not kept, nor are messages: of some rooms the store has those.

use std::collections::BTreeMap;

use quail_protocol::{
    Epoch, Timestamp,
    frame::{decode, encode_body},
    id::{RoomId, UserId},
    room::{AttributeKey, CounterKey, Restriction, RestrictionKind, Settings},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Bounds, Room, attributes::Held, moderation::AllMuted, stored::Stored};

/// A row of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// What it is.
    Whole,
    /// That somebody is an admin.
    Admin(UserId),
    /// That somebody is kept out.
    Ban(UserId),
    /// That somebody may not speak.
    Mute(UserId),
    /// One attribute.
    Attribute(AttributeKey),
    /// How often attributes changed.
    AttributesVersion,
    /// All counters.
    Counters,
}

/// Rows by their names; `None` where there is none any more.
pub type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A stored row is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable;

#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    settings: Settings,
    owner: UserId,
    maker: UserId,
    created: Timestamp,
    all_muted: Option<AllMuted>,
    /// The epoch that it was made under, if its messages are kept.
    stored_under: Option<Epoch>,
}

/// The counters, and how new the newest id is with which something was added.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) version: u64,
    pub(super) values: BTreeMap<CounterKey, i64>,
    pub(super) newest: u64,
}

impl Row {
    pub(super) fn name(&self) -> Vec<u8> {
        let (kind, of) = match self {
            Self::Whole => (0, ""),
            Self::Admin(user) => (1, user.as_str()),
            Self::Ban(user) => (2, user.as_str()),
            Self::Mute(user) => (3, user.as_str()),
            Self::Attribute(key) => (4, key.as_str()),
            Self::AttributesVersion => (5, ""),
            Self::Counters => (6, ""),
        };
        [&[kind], of.as_bytes()].concat()
    }

    fn named(name: &[u8]) -> Result<Self, Unreadable> {
        let (kind, of) = name.split_first().ok_or(Unreadable)?;
        let of = str::from_utf8(of).map_err(|_| Unreadable)?;
        let user = || UserId::new(of).map_err(|_| Unreadable);
        match kind {
            0 => Ok(Self::Whole),
            1 => Ok(Self::Admin(user()?)),
            2 => Ok(Self::Ban(user()?)),
            3 => Ok(Self::Mute(user()?)),
            4 => Ok(Self::Attribute(AttributeKey::new(of).map_err(|_| Unreadable)?)),
            5 => Ok(Self::AttributesVersion),
            6 => Ok(Self::Counters),
            _ => Err(Unreadable),
        }
    }
}

impl Room {
    /// Marks a row as changed.
    pub(super) fn touch(&mut self, row: Row) {
        self.touched.insert(row);
    }

    /// True if something that is kept changed and was not taken yet.
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The rows that changed since they were taken last.
    pub fn take_touched(&mut self) -> Rows {
        std::mem::take(&mut self.touched).iter().map(|row| (row.name(), self.row(row))).collect()
    }

    /// What removes every row that the room may have.
    pub fn wiped(&self) -> Rows {
        // What was marked and not taken may be gone here and there still.
        self.all_rows().chain(self.touched.iter().cloned()).map(|row| (row.name(), None)).collect()
    }

    pub(super) fn all_rows(&self) -> impl Iterator<Item = Row> {
        let single = [Row::Whole, Row::AttributesVersion, Row::Counters].into_iter();
        let admins = self.admins.iter().cloned().map(Row::Admin);
        let banned = self.banned.all().map(|one| Row::Ban(one.user.clone()));
        let muted = self.muted.all().map(|one| Row::Mute(one.user.clone()));
        let attributes = self.attributes.keys().map(|key| Row::Attribute(key.clone()));
        single.chain(admins).chain(banned).chain(muted).chain(attributes)
    }

    pub(super) fn row(&self, row: &Row) -> Option<Vec<u8>> {
        match row {
            Row::Whole => Some(encode_body(&Whole {
                settings: self.settings.clone(),
                owner: self.owner.clone(),
                maker: self.maker.clone(),
                created: self.created,
                all_muted: self.all_muted.clone(),
                stored_under: self.stored_under(),
            })),
            Row::Admin(user) => self.admins.contains(user).then(Vec::new),
            Row::Ban(user) => self.banned.of(user).map(encode_body),
            Row::Mute(user) => self.muted.of(user).map(encode_body),
            Row::Attribute(key) => self.attributes.held(key).map(encode_body),
            Row::AttributesVersion => Some(encode_body(&self.attributes.version)),
            Row::Counters => {
                let (version, values) = (self.counters.version, self.counters.values.clone());
                Some(encode_body(&Counts { version, values, newest: self.counters.newest }))
            }
        }
    }

    /// A room as it is kept, with nobody in it and no messages: its positions begin anew under `epoch`, unless it is to
    /// [go on](Self::go_on) with those that the store has. Those who were in it have
    /// until `returning_until` to come back before it counts as empty. `None` if the rows are of a room that is over.
    pub fn restored(
        id: RoomId,
        rows: &[(Vec<u8>, Vec<u8>)],
        epoch: Epoch,
        bounds: Bounds,
        (now, returning_until): (Timestamp, Timestamp),
    ) -> Result<Option<Self>, Unreadable> {
        let read = |(name, value): &(Vec<u8>, Vec<u8>)| Ok((Row::named(name)?, value.clone()));
        let mut rows = rows.iter().map(read).collect::<Result<BTreeMap<_, _>, _>>()?;
        let Some(whole) = rows.remove(&Row::Whole) else { return Ok(None) };
        let Whole { settings, owner, maker, created, all_muted, stored_under } = value(&whole)?;
        let mut room = Self::new(id, settings, maker, epoch, bounds, now);
        if stored_under.is_some() != room.stored.is_some() {
            return Err(Unreadable);
        }
        room.stored = stored_under.map(Stored::new);
        (room.owner, room.created, room.all_muted) = (owner, created, all_muted);
        (room.empty_since, room.returning_until) = (Some(returning_until), Some(returning_until));
        for (row, bytes) in rows {
            match row {
                Row::Whole => {}
                Row::Admin(user) => _ = room.admins.insert(user),
                Row::Ban(user) => room.put_back(RestrictionKind::Ban, &user, value(&bytes)?)?,
                Row::Mute(user) => room.put_back(RestrictionKind::Mute, &user, value(&bytes)?)?,
                Row::Attribute(key) => room.attributes.insert(key, value::<Held>(&bytes)?),
                Row::AttributesVersion => room.attributes.version = value(&bytes)?,
                Row::Counters => room.counters.restore(value(&bytes)?, now),
            }
        }
        room.touched.clear();
        Ok(Some(room))
    }

    fn put_back(
        &mut self,
        kind: RestrictionKind,
        user: &UserId,
        restriction: Restriction,
    ) -> Result<(), Unreadable> {
        if restriction.user != *user {
            return Err(Unreadable);
        }
        self.restricted(kind).map_err(|_| Unreadable)?.put_back(restriction);
        Ok(())
    }

    /// Gives up what goes with owners who did not come back after a start of the server.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if self.returning_until.take_if(|until| *until <= now).is_none() {
            return;
        }
        for owner in self.attributes.owners_who_take_theirs() {
            if !self.members.contains_key(&owner) {
                let role = self.standing(&owner);
                self.orphan_attributes(&owner, role);
            }
        }
    }
}

fn value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    decode(bytes).map_err(|_| Unreadable)
}
