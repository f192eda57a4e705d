//! What rooms are, as simply as it can be said.

use std::collections::{BTreeMap, BTreeSet};

use quail_protocol::{
    Code,
    room::{EntryStatus, Role},
};

/// One terminal of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) user: &'static str,
    pub(super) terminal: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) value: String,
    pub(super) owner: &'static str,
    /// With its owner.
    pub(super) goes: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Room {
    /// It does not end when it is empty, by its lifetime or because the server has just started.
    kept: bool,
    pub(super) owner: &'static str,
    pub(super) name: String,
    admins: BTreeSet<&'static str>,
    inside: BTreeSet<Who>,
    pub(super) banned: BTreeSet<&'static str>,
    pub(super) muted: BTreeSet<&'static str>,
    all_muted: bool,
    pub(super) attributes: BTreeMap<&'static str, Attribute>,
    pub(super) votes: i64,
    /// Its messages.
    pub(super) said: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rooms: BTreeMap<&'static str, Room>,
}

type Done = Result<(), Code>;

impl Room {
    fn has(&self, user: &str) -> bool {
        self.inside.iter().any(|who| who.user == user)
    }

    pub(super) fn role(&self, user: &str) -> Role {
        if user == self.owner {
            Role::Owner
        } else if self.admins.contains(user) {
            Role::Admin
        } else {
            Role::Member
        }
    }

    /// Somebody inside with one of these roles.
    fn trusts(&self, user: &str, roles: &[Role]) -> Done {
        match (self.has(user), roles.contains(&self.role(user))) {
            (false, _) => Err(Code::NotInRoom),
            (true, false) => Err(Code::RightMissing),
            (true, true) => Ok(()),
        }
    }

    /// Somebody inside who may do something to `other`.
    fn is_over(&self, user: &str, other: &str) -> Done {
        self.trusts(user, &[Role::Owner, Role::Admin])?;
        let weaker: &[Role] =
            if self.role(user) == Role::Owner { &[Role::Admin, Role::Member] } else { &[Role::Member] };
        if weaker.contains(&self.role(other)) { Ok(()) } else { Err(Code::RightMissing) }
    }

    fn put_out(&mut self, user: &str) {
        let was_in = self.has(user);
        self.inside.retain(|who| who.user != user);
        if was_in {
            self.attributes.retain(|_, held| !(held.goes && held.owner == user));
        }
    }
}

impl Model {
    /// The server started: everybody is out.
    pub(super) fn start(&mut self) {
        for (id, room) in &mut self.rooms {
            room.inside.clear();
            room.kept = true;
            if *id != "stored" {
                room.said.clear();
            }
        }
    }

    /// Terminals in a room.
    pub(super) fn terminals(&self, id: &str) -> BTreeSet<Who> {
        self.rooms.get(id).map(|room| room.inside.clone()).unwrap_or_default()
    }

    fn make(&mut self, id: &'static str, who: Who) -> Result<EntryStatus, Code> {
        let room = Room {
            kept: id != "lived-in",
            owner: who.user,
            name: String::new(),
            admins: BTreeSet::new(),
            inside: BTreeSet::from([who]),
            banned: BTreeSet::new(),
            muted: BTreeSet::new(),
            all_muted: false,
            attributes: BTreeMap::new(),
            votes: 0,
            said: vec![],
        };
        self.rooms.insert(id, room);
        Ok(EntryStatus::Created)
    }

    pub(super) fn create(&mut self, id: &'static str, who: Who) -> Result<EntryStatus, Code> {
        match self.rooms.get(id) {
            None => self.make(id, who),
            Some(room) if room.inside.contains(&who) => Ok(EntryStatus::AlreadyIn),
            Some(_) => Err(Code::RoomExists),
        }
    }

    pub(super) fn join(&mut self, id: &'static str, who: Who) -> Result<EntryStatus, Code> {
        let room = self.rooms.get_mut(id).ok_or(Code::RoomNotFound)?;
        if room.banned.contains(who.user) {
            return Err(Code::BannedFromRoom);
        }
        Ok(if room.inside.insert(who) { EntryStatus::Joined } else { EntryStatus::AlreadyIn })
    }

    pub(super) fn enter(&mut self, id: &'static str, who: Who) -> Result<EntryStatus, Code> {
        if self.rooms.contains_key(id) { self.join(id, who) } else { self.make(id, who) }
    }

    pub(super) fn leave(&mut self, id: &'static str, who: Who, all: bool) -> Done {
        let room = self.rooms.get_mut(id).ok_or(Code::NotInRoom)?;
        if !room.inside.remove(&who) {
            return Err(Code::NotInRoom);
        }
        // What goes with a user goes with the last terminal.
        room.inside.insert(who);
        if all || room.inside.iter().filter(|other| other.user == who.user).count() == 1 {
            room.put_out(who.user);
        }
        room.inside.remove(&who);
        self.end_if_empty(id);
        Ok(())
    }

    fn end_if_empty(&mut self, id: &str) {
        self.rooms.retain(|other, room| *other != id || room.kept || !room.inside.is_empty());
    }

    pub(super) fn dismiss(&mut self, id: &str, user: &str) -> Done {
        let room = self.rooms.get(id).ok_or(Code::RoomNotFound)?;
        if room.owner != user {
            return Err(Code::RightMissing);
        }
        self.rooms.remove(id);
        Ok(())
    }

    fn room(&mut self, id: &str, absent: Code) -> Result<&mut Room, Code> {
        self.rooms.get_mut(id).ok_or(absent)
    }

    pub(super) fn rename(&mut self, id: &str, user: &str, name: String) -> Done {
        let room = self.room(id, Code::RoomNotFound)?;
        room.trusts(user, &[Role::Owner, Role::Admin])?;
        room.name = name;
        Ok(())
    }

    pub(super) fn set_role(&mut self, id: &str, user: &str, other: &'static str, admin: bool) -> Done {
        let room = self.room(id, Code::NotInRoom)?;
        room.trusts(user, &[Role::Owner])?;
        if !room.has(other) {
            return Err(Code::MemberNotFound);
        }
        if other == room.owner {
            return Err(Code::InvalidArgument);
        }
        if admin {
            room.admins.insert(other)
        } else {
            room.admins.remove(other)
        };
        Ok(())
    }

    pub(super) fn transfer(&mut self, id: &str, user: &str, other: &'static str) -> Done {
        let room = self.room(id, Code::NotInRoom)?;
        room.trusts(user, &[Role::Owner])?;
        if !room.has(other) {
            return Err(Code::MemberNotFound);
        }
        room.owner = other;
        room.admins.remove(other);
        Ok(())
    }

    pub(super) fn kick(&mut self, id: &str, user: &str, other: &str) -> Done {
        let room = self.room(id, Code::NotInRoom)?;
        room.is_over(user, other)?;
        if !room.has(other) {
            return Err(Code::MemberNotFound);
        }
        room.put_out(other);
        Ok(())
    }

    pub(super) fn ban(&mut self, id: &str, user: &str, other: &'static str, on: bool) -> Done {
        let room = self.room(id, Code::NotInRoom)?;
        room.is_over(user, other)?;
        if on {
            room.banned.insert(other);
            room.put_out(other);
        } else {
            room.banned.remove(other);
        }
        Ok(())
    }

    pub(super) fn mute(&mut self, id: &str, user: &str, other: &'static str, on: bool) -> Done {
        let room = self.room(id, Code::NotInRoom)?;
        room.is_over(user, other)?;
        if on {
            room.muted.insert(other)
        } else {
            room.muted.remove(other)
        };
        Ok(())
    }

    pub(super) fn mute_all(&mut self, id: &str, user: &str, on: bool) -> Done {
        let room = self.room(id, Code::NotInRoom)?;
        room.trusts(user, &[Role::Owner, Role::Admin])?;
        room.all_muted = on;
        Ok(())
    }

    pub(super) fn set_attribute(
        &mut self,
        id: &str,
        key: &'static str,
        new: Attribute,
        force: bool,
        take_over: bool,
    ) -> Done {
        let room = self.room(id, Code::RoomNotFound)?;
        room.may_change(new.owner, key, force)?;
        let owner = room.attributes.get(key).filter(|_| !take_over).map_or(new.owner, |held| held.owner);
        room.attributes.insert(key, Attribute { owner, ..new });
        Ok(())
    }

    pub(super) fn delete_attribute(&mut self, id: &str, key: &str, user: &str, force: bool) -> Done {
        let room = self.room(id, Code::RoomNotFound)?;
        room.may_change(user, key, force)?;
        room.attributes.remove(key);
        Ok(())
    }

    pub(super) fn increase(&mut self, id: &str, user: &str) -> Done {
        let room = self.room(id, Code::RoomNotFound)?;
        room.trusts(user, &[Role::Owner, Role::Admin])?;
        room.votes += 1;
        Ok(())
    }

    /// The number that a message gets.
    pub(super) fn say(&mut self, id: &str, who: Who, what: &str) -> Result<usize, Code> {
        let room = self.room(id, Code::NotInRoom)?;
        if !room.inside.contains(&who) {
            return Err(Code::NotInRoom);
        }
        let silenced = room.muted.contains(who.user) || room.all_muted && room.role(who.user) == Role::Member;
        if silenced && room.owner != who.user {
            return Err(Code::MutedInRoom);
        }
        room.said.push(what.to_owned());
        Ok(room.said.len())
    }
}

impl Room {
    fn may_change(&self, user: &str, key: &str, force: bool) -> Done {
        if !self.has(user) {
            return Err(Code::NotInRoom);
        }
        let trusted = force || self.role(user) != Role::Member;
        match self.attributes.get(key) {
            Some(held) if !trusted && held.owner != user => Err(Code::AttributeNotOwned),
            _ => Ok(()),
        }
    }
}
