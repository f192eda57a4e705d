//! Roles, and those who are kept out or may not speak.

use std::collections::BTreeMap;

use quail_protocol::{
    Code, Timestamp,
    bounded::List,
    id::{RoomId, UserId},
    position::Position,
    room::{
        MuteAll, MuteAllChanged, Operator, Reason, Restriction, RestrictionChanged, RestrictionKind, Role,
        RoleChanged,
    },
};

use serde::{Deserialize, Serialize};

use super::{
    Room, Row,
    rights::{Right, may, outranks},
};

/// So many ends of bans, and of mutes, are told at once; the others wait for the next time.
const EXPIRED_AT_ONCE_MAX: usize = 100;

/// Who may not something, and until when.
#[derive(Debug, Default)]
pub(super) struct Restricted {
    users: BTreeMap<UserId, Restriction>,
}

/// True if a time is over; 0 never is.
fn is_over(until: Timestamp, now: Timestamp) -> bool {
    until.0 != 0 && until <= now
}

impl Restricted {
    fn holds(&self, user: &UserId, now: Timestamp) -> bool {
        self.users.get(user).is_some_and(|restriction| !is_over(restriction.until, now))
    }

    fn set(&mut self, restriction: Restriction, max: usize, now: Timestamp) -> Result<(), Code> {
        let others =
            self.users.values().filter(|one| one.user != restriction.user && !is_over(one.until, now));
        if others.count() >= max {
            return Err(Code::TooManyRestrictions);
        }
        self.users.insert(restriction.user.clone(), restriction);
        Ok(())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Restriction> {
        self.users.values()
    }

    pub(super) fn of(&self, user: &UserId) -> Option<&Restriction> {
        self.users.get(user)
    }

    pub(super) fn put_back(&mut self, restriction: Restriction) {
        self.users.insert(restriction.user.clone(), restriction);
    }

    /// Takes out some of those whose time is over.
    fn expire(&mut self, now: Timestamp) -> Vec<UserId> {
        let over: Vec<_> = self
            .users
            .values()
            .filter(|one| is_over(one.until, now))
            .take(EXPIRED_AT_ONCE_MAX)
            .map(|one| one.user.clone())
            .collect();
        for user in &over {
            self.users.remove(user);
        }
        over
    }
}

/// That everybody may not speak.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AllMuted {
    until: Timestamp,
    exempt: Vec<Role>,
}

/// What somebody wants of another.
#[derive(Clone, Debug)]
pub struct Restrict {
    /// Which of the two.
    pub kind: RestrictionKind,
    /// Whom.
    pub user: UserId,
    /// Until when, 0 for as long as the room lives; `None` lifts it.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Reason,
}

/// Something that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Of one user.
    Restriction(RestrictionChanged),
    /// Of everybody.
    MuteAll(MuteAllChanged),
}

impl Room {
    /// What `user` is, in the room or not.
    pub(super) fn standing(&self, user: &UserId) -> Role {
        if *user == self.owner {
            Role::Owner
        } else if self.admins.contains(user) {
            Role::Admin
        } else {
            Role::Member
        }
    }

    /// Somebody in the room who has a right.
    pub(super) fn operator(&self, user: &UserId, right: Right) -> Result<Operator, Code> {
        let role = self.role(user).ok_or(Code::NotInRoom)?;
        if may(role, right) { Ok(Operator { user: user.clone(), role }) } else { Err(Code::RightMissing) }
    }

    /// Makes an admin of a member, or a member of an admin.
    pub fn set_role(
        &mut self,
        by: &UserId,
        user: &UserId,
        role: Role,
        reason: Reason,
    ) -> Result<RoleChanged, Code> {
        let operator = self.operator(by, Right::SetRole)?;
        let occupant = self.members.get_mut(user).ok_or(Code::MemberNotFound)?;
        if !matches!(role, Role::Admin | Role::Member) || *user == self.owner {
            return Err(Code::InvalidArgument);
        }
        let is_more = role == Role::Admin && !self.admins.contains(user);
        if is_more && self.admins.len() >= self.bounds.admins_max {
            return Err(Code::TooManyAdmins);
        }
        occupant.member.role = role;
        if role == Role::Admin {
            self.admins.insert(user.clone());
        } else {
            self.admins.remove(user);
        }
        self.touch(Row::Admin(user.clone()));
        Ok(self.role_changed(user, role, operator, reason))
    }

    /// Gives the room to somebody in it.
    pub fn transfer(&mut self, by: &UserId, user: &UserId, reason: Reason) -> Result<RoleChanged, Code> {
        let operator = self.operator(by, Right::Transfer)?;
        if !self.members.contains_key(user) {
            return Err(Code::MemberNotFound);
        }
        let before = std::mem::replace(&mut self.owner, user.clone());
        self.admins.remove(user);
        self.touch(Row::Whole);
        self.touch(Row::Admin(user.clone()));
        for changed in [&before, user] {
            let role = self.standing(changed);
            if let Some(occupant) = self.members.get_mut(changed) {
                occupant.member.role = role;
            }
        }
        Ok(self.role_changed(user, Role::Owner, operator, reason))
    }

    fn role_changed(&self, user: &UserId, role: Role, operator: Operator, reason: Reason) -> RoleChanged {
        let (room, follows, user) = (self.id.clone(), self.head, user.clone());
        RoleChanged { room, follows, user, role, operator, reason }
    }

    /// Whether `by` may put `user` out.
    pub fn may_kick(&self, by: &UserId, user: &UserId) -> Result<(), Code> {
        self.over(by, user)?;
        if self.members.contains_key(user) { Ok(()) } else { Err(Code::MemberNotFound) }
    }

    /// Somebody who may moderate `user`.
    fn over(&self, by: &UserId, user: &UserId) -> Result<Operator, Code> {
        let operator = self.operator(by, Right::Moderate)?;
        if outranks(operator.role, self.standing(user)) { Ok(operator) } else { Err(Code::RightMissing) }
    }

    /// Forbids somebody something, or allows it again.
    pub fn restrict(
        &mut self,
        by: &UserId,
        restrict: Restrict,
        now: Timestamp,
    ) -> Result<RestrictionChanged, Code> {
        let operator = self.over(by, &restrict.user)?;
        let Restrict { kind, user, until, reason } = restrict;
        if until.is_some_and(|until| is_over(until, now)) {
            return Err(Code::InvalidArgument);
        }
        let max = self.bounds.restrictions_max;
        let restricted = self.restricted(kind)?;
        match until {
            Some(until) => {
                let (operator, user) = (operator.user.clone(), user.clone());
                restricted.set(Restriction { user, until, operator, reason: reason.clone() }, max, now)?;
            }
            None => _ = restricted.users.remove(&user),
        }
        self.touch_restricted(kind, user.clone());
        let (room, follows) = (self.id.clone(), self.head);
        Ok(RestrictionChanged { room, follows, kind, user, until, operator: Some(operator), reason })
    }

    fn touch_restricted(&mut self, kind: RestrictionKind, user: UserId) {
        match kind {
            RestrictionKind::Ban => self.touch(Row::Ban(user)),
            RestrictionKind::Mute => self.touch(Row::Mute(user)),
            RestrictionKind::Unknown(_) => {}
        }
    }

    pub(super) fn restricted(&mut self, kind: RestrictionKind) -> Result<&mut Restricted, Code> {
        match kind {
            RestrictionKind::Ban => Ok(&mut self.banned),
            RestrictionKind::Mute => Ok(&mut self.muted),
            RestrictionKind::Unknown(_) => Err(Code::InvalidArgument),
        }
    }

    /// Those who are kept out or muted, behind `after`, and if there are more.
    pub fn restrictions(
        &self,
        by: &UserId,
        kind: RestrictionKind,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<(Vec<Restriction>, bool), Code> {
        self.operator(by, Right::Moderate)?;
        let restricted = match kind {
            RestrictionKind::Ban => &self.banned,
            RestrictionKind::Mute => &self.muted,
            RestrictionKind::Unknown(_) => return Err(Code::InvalidArgument),
        };
        let mut behind = restricted.users.values().filter(|one| after.is_none_or(|after| one.user > *after));
        let page = behind.by_ref().take(limit).cloned().collect();
        Ok((page, behind.next().is_some()))
    }

    /// Forbids everybody to speak but some, or allows it again.
    pub fn mute_all(&mut self, by: &UserId, mute: MuteAll, now: Timestamp) -> Result<MuteAllChanged, Code> {
        let operator = self.operator(by, Right::MuteAll)?;
        let MuteAll { room, until, exempt, reason } = mute;
        if until.is_some_and(|until| is_over(until, now)) {
            return Err(Code::InvalidArgument);
        }
        self.all_muted = until.map(|until| AllMuted { until, exempt: exempt.to_vec() });
        self.touch(Row::Whole);
        Ok(MuteAllChanged { room, follows: self.head, until, exempt, operator: Some(operator), reason })
    }

    /// Whether `user`, who is a `role`, may speak.
    pub(super) fn may_speak(&self, user: &UserId, role: Role, now: Timestamp) -> Result<(), Code> {
        // Nobody could lift a mute from before they were the owner.
        if role == Role::Owner {
            return Ok(());
        }
        let all = self.all_muted.as_ref().filter(|all| !is_over(all.until, now));
        let silenced = all.is_some_and(|all| !all.exempt.contains(&role));
        if silenced || self.muted.holds(user, now) { Err(Code::MutedInRoom) } else { Ok(()) }
    }

    /// Whether `user` may come in.
    pub(super) fn may_enter(&self, user: &UserId, now: Timestamp) -> Result<(), Code> {
        if self.banned.holds(user, now) { Err(Code::BannedFromRoom) } else { Ok(()) }
    }

    /// What ended by itself since it was asked last.
    pub fn expired(&mut self, now: Timestamp) -> Vec<Expired> {
        let (room, follows) = (self.id.clone(), self.head);
        let mut expired = vec![];
        for kind in [RestrictionKind::Ban, RestrictionKind::Mute] {
            let Ok(restricted) = self.restricted(kind) else { continue };
            for user in restricted.expire(now) {
                self.touch_restricted(kind, user.clone());
                expired.push(Expired::Restriction(lifted(room.clone(), follows, kind, user)));
            }
        }
        if self.all_muted.take_if(|all| is_over(all.until, now)).is_some() {
            self.touch(Row::Whole);
            let (until, exempt, operator, reason) = (None, List::default(), None, Reason::default());
            expired.push(Expired::MuteAll(MuteAllChanged { room, follows, until, exempt, operator, reason }));
        }
        expired
    }
}

fn lifted(room: RoomId, follows: Position, kind: RestrictionKind, user: UserId) -> RestrictionChanged {
    RestrictionChanged { room, follows, kind, user, until: None, operator: None, reason: Reason::default() }
}

#[cfg(test)]
mod tests;
