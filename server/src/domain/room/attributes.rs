//! Pairs of a key and a value that a room holds, of itself and of each member. A change is made whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use quail_protocol::{
    Code,
    bounded::List,
    id::UserId,
    limits::MEMBER_ATTRIBUTES_PAGE_BYTES_MAX,
    room::{
        Attribute, AttributeKey, AttributeValue, AttributesCause, AttributesChanged, AttributesPage,
        AttributesUpdated, DeleteAttributes, MemberAttribute, MemberAttributeKey, MemberAttributesChanged,
        MemberAttributesPage, MemberAttributesUpdated, OfMember, Role, SetAttributes, SetMemberAttributes,
    },
};

use serde::{Deserialize, Serialize};

use super::{
    Room, Row,
    rights::{Right, may},
};

/// How much a room may hold beside its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Attributes of the room.
    pub attributes: usize,
    /// Bytes of their keys and values.
    pub attributes_bytes: usize,
    /// Attributes of one member.
    pub member_attributes: usize,
    /// Bytes of their keys and values.
    pub member_attributes_bytes: usize,
    /// The same of all members together.
    pub all_members_bytes: usize,
    /// Counters.
    pub counters: usize,
}

/// What a change answers, and what everybody else is told if it changed something.
pub type Change<R, E> = Result<(R, Option<E>), Code>;

/// An attribute, by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    value: AttributeValue,
    owner: UserId,
    ends_with_owner: bool,
}

/// The attributes of a room itself.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pairs: BTreeMap<AttributeKey, Held>,
    bytes: usize,
    pub(super) version: u64,
}

impl Attributes {
    /// An error if somebody else owns one of `keys`.
    fn owns<'a>(&self, user: &UserId, keys: impl IntoIterator<Item = &'a AttributeKey>) -> Result<(), Code> {
        let mut held = keys.into_iter().filter_map(|key| self.pairs.get(key));
        if held.all(|held| held.owner == *user) { Ok(()) } else { Err(Code::AttributeNotOwned) }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &AttributeKey> {
        self.pairs.keys()
    }

    pub(super) fn held(&self, key: &AttributeKey) -> Option<&Held> {
        self.pairs.get(key)
    }

    /// Those with whom something goes.
    pub(super) fn owners_who_take_theirs(&self) -> BTreeSet<UserId> {
        self.pairs.values().filter(|held| held.ends_with_owner).map(|held| held.owner.clone()).collect()
    }

    fn remove(&mut self, key: &AttributeKey) -> bool {
        let Some(held) = self.pairs.remove(key) else { return false };
        self.bytes -= key.as_str().len() + held.value.len();
        true
    }

    pub(super) fn insert(&mut self, key: AttributeKey, held: Held) {
        self.remove(&key);
        self.bytes += key.as_str().len() + held.value.len();
        self.pairs.insert(key, held);
    }

    /// An error if there were too many with `set`, or they held too much.
    fn fit(&self, set: &[Attribute], capacity: &Capacity) -> Result<(), Code> {
        let size = |key: &AttributeKey, value: &AttributeValue| key.as_str().len() + value.len();
        let old = |set: &Attribute| self.pairs.get(&set.key).map(|held| size(&set.key, &held.value));
        let new = set.iter().filter(|set| old(set).is_none()).count();
        if new > 0 && self.pairs.len() + new > capacity.attributes {
            return Err(Code::TooManyAttributes);
        }
        let added: usize = set.iter().map(|set| size(&set.key, &set.value)).sum();
        let freed: usize = set.iter().filter_map(old).sum();
        if added > freed && self.bytes - freed + added > capacity.attributes_bytes {
            return Err(Code::AttributesTooLarge);
        }
        Ok(())
    }
}

/// The attributes of one member.
#[derive(Debug, Default)]
pub(super) struct OfOccupant {
    pairs: BTreeMap<MemberAttributeKey, MemberAttribute>,
}

impl OfOccupant {
    pub(super) fn bytes(&self) -> usize {
        self.pairs.values().map(|pair| pair.key.as_str().len() + pair.value.len()).sum()
    }

    /// How they stand behind a change; `None` if it changes nothing.
    fn changed(&self, change: &SetMemberAttributes, capacity: &Capacity) -> Result<Option<Self>, Code> {
        let mut next = Self { pairs: self.pairs.clone() };
        for pair in &*change.set {
            next.pairs.insert(pair.key.clone(), pair.clone());
        }
        for key in &*change.deleted {
            next.pairs.remove(key);
        }
        if next.pairs == self.pairs {
            return Ok(None);
        }
        if next.pairs.len() > capacity.member_attributes.max(self.pairs.len()) {
            return Err(Code::TooManyAttributes);
        }
        if next.bytes() > capacity.member_attributes_bytes.max(self.bytes()) {
            return Err(Code::AttributesTooLarge);
        }
        Ok(Some(next))
    }
}

/// An error if a key is empty or stands there twice.
pub(super) fn check_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<(), Code> {
    let mut seen = BTreeSet::new();
    let fits = keys.into_iter().all(|key| !key.is_empty() && seen.insert(key));
    if fits && !seen.is_empty() { Ok(()) } else { Err(Code::InvalidArgument) }
}

impl Room {
    /// Sets attributes of the room.
    pub fn set_attributes(
        &mut self,
        user: &UserId,
        change: SetAttributes,
    ) -> Change<AttributesChanged, AttributesUpdated> {
        let role = self.role(user).ok_or(Code::NotInRoom)?;
        let SetAttributes { set, force, delete_after_owner_left, take_over, .. } = change;
        check_keys(set.iter().map(|pair| pair.key.as_str()))?;
        if !force && !may(role, Right::Values) {
            self.attributes.owns(user, set.iter().map(|pair| &pair.key))?;
        }
        let held = &self.attributes.pairs;
        let news = set.into_vec().into_iter().map(|pair| {
            let before = held.get(&pair.key).filter(|_| !take_over).map(|held| &held.owner);
            let owner = before.unwrap_or(user).clone();
            Attribute { key: pair.key, value: pair.value, owner, delete_after_owner_left }
        });
        let news: Vec<_> = news.filter(|news| held.get(&news.key) != Some(&as_held(news))).collect();
        self.attributes.fit(&news, &self.bounds.capacity)?;
        for attribute in &news {
            self.attributes.insert(attribute.key.clone(), as_held(attribute));
        }
        Ok(self.attributes_changed(user, role, news, vec![], AttributesCause::Asked))
    }

    /// Deletes attributes of the room.
    pub fn delete_attributes(
        &mut self,
        user: &UserId,
        change: DeleteAttributes,
    ) -> Change<AttributesChanged, AttributesUpdated> {
        let role = self.role(user).ok_or(Code::NotInRoom)?;
        check_keys(change.keys.iter().map(|key| key.as_str()))?;
        if !change.force && !may(role, Right::Values) {
            self.attributes.owns(user, &*change.keys)?;
        }
        let mut deleted = change.keys.into_vec();
        deleted.retain(|key| self.attributes.remove(key));
        Ok(self.attributes_changed(user, role, vec![], deleted, AttributesCause::Asked))
    }

    /// Deletes what goes with an owner who left.
    pub(super) fn orphan_attributes(&mut self, user: &UserId, role: Role) {
        let goes = |(key, held): (&AttributeKey, &Held)| {
            (held.ends_with_owner && held.owner == *user).then(|| key.clone())
        };
        let mut deleted: Vec<_> = self.attributes.pairs.iter().filter_map(goes).collect();
        deleted.retain(|key| self.attributes.remove(key));
        let (_, told) = self.attributes_changed(user, role, vec![], deleted, AttributesCause::OwnerLeft);
        self.orphaned.extend(told);
    }

    /// What went with owners who left, since this was asked last.
    pub fn take_orphaned(&mut self) -> Vec<AttributesUpdated> {
        std::mem::take(&mut self.orphaned)
    }

    fn attributes_changed(
        &mut self,
        user: &UserId,
        role: Role,
        set: Vec<Attribute>,
        deleted: Vec<AttributeKey>,
        cause: AttributesCause,
    ) -> (AttributesChanged, Option<AttributesUpdated>) {
        let changed = !set.is_empty() || !deleted.is_empty();
        self.attributes.version += u64::from(changed);
        let version = self.attributes.version;
        if changed {
            let keys = set.iter().map(|set| &set.key).chain(&deleted);
            self.touched.extend(keys.map(|key| Row::Attribute(key.clone())).chain([Row::AttributesVersion]));
        }
        let event = changed.then(|| AttributesUpdated {
            room: self.id.clone(),
            follows: self.head,
            version,
            // No more than there are, and than were asked for.
            set: List::new(set).unwrap_or_default(),
            deleted: List::new(deleted).unwrap_or_default(),
            operator: user.clone(),
            role,
            cause,
        });
        (AttributesChanged { version }, event)
    }

    /// All attributes of the room.
    pub fn attributes(&self) -> AttributesPage {
        let attributes = self.attributes.pairs.iter().map(|(key, held)| Attribute {
            key: key.clone(),
            value: held.value.clone(),
            owner: held.owner.clone(),
            delete_after_owner_left: held.ends_with_owner,
        });
        let attributes = List::new(attributes.collect()).unwrap_or_default();
        AttributesPage { version: self.attributes.version, attributes }
    }

    /// Sets and deletes attributes of members.
    pub fn set_member_attributes(
        &mut self,
        user: &UserId,
        change: SetMemberAttributes,
    ) -> Change<MemberAttributesChanged, MemberAttributesUpdated> {
        let role = self.role(user).ok_or(Code::NotInRoom)?;
        let deleted = change.deleted.iter().map(|key| key.as_str());
        check_keys(change.set.iter().map(|pair| pair.key.as_str()).chain(deleted))?;
        check_keys(change.users.iter().map(|user| user.as_str()))?;
        if change.users.iter().any(|whose| whose != user) && !may(role, Right::Values) {
            return Err(Code::RightMissing);
        }
        let capacity = &self.bounds.capacity;
        let (mut missing, mut next, mut bytes) = (vec![], vec![], self.member_attributes_bytes);
        for whose in &*change.users {
            let Some(occupant) = self.members.get(whose) else {
                missing.push(whose.clone());
                continue;
            };
            if let Some(attributes) = occupant.attributes.changed(&change, capacity)? {
                bytes = bytes - occupant.attributes.bytes() + attributes.bytes();
                next.push((whose.clone(), attributes));
            }
        }
        if bytes > capacity.all_members_bytes.max(self.member_attributes_bytes) {
            return Err(Code::AttributesTooLarge);
        }
        self.member_attributes_bytes = bytes;
        self.member_attributes_version += u64::from(!next.is_empty());
        let version = self.member_attributes_version;
        let users: Vec<_> = next.iter().map(|(whose, _)| whose.clone()).collect();
        for (whose, attributes) in next {
            if let Some(occupant) = self.members.get_mut(&whose) {
                occupant.attributes = attributes;
            }
        }
        let event = (!users.is_empty()).then(|| MemberAttributesUpdated {
            room: self.id.clone(),
            follows: self.head,
            version,
            users: List::new(users).unwrap_or_default(),
            set: change.set,
            deleted: change.deleted,
            operator: user.clone(),
            role,
        });
        let missing = List::new(missing).unwrap_or_default();
        Ok((MemberAttributesChanged { version, missing }, event))
    }

    /// The attributes of those of `users` who are in the room, as many as a reply holds.
    pub fn member_attributes(&self, users: &[UserId]) -> MemberAttributesPage {
        let (mut members, mut answered, mut bytes) = (vec![], 0, 0);
        for user in users {
            if let Some(occupant) = self.members.get(user) {
                let attributes: Vec<_> = occupant.attributes.pairs.values().cloned().collect();
                // Beside keys and values: their lengths, the name, and its.
                bytes += occupant.attributes.bytes() + 3 * attributes.len() + user.as_str().len() + 2;
                if bytes > MEMBER_ATTRIBUTES_PAGE_BYTES_MAX {
                    break;
                }
                let attributes = List::new(attributes).unwrap_or_default();
                members.push(OfMember { user: user.clone(), attributes });
            }
            answered += 1;
        }
        let members = List::new(members).unwrap_or_default();
        MemberAttributesPage { version: self.member_attributes_version, answered, members }
    }
}

fn as_held(attribute: &Attribute) -> Held {
    let Attribute { value, owner, delete_after_owner_left, .. } = attribute.clone();
    Held { value, owner, ends_with_owner: delete_after_owner_left }
}
