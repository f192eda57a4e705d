//! What a room is and who may do what in it.

mod attributes;
mod budget;
mod counters;
mod kept;
mod members;
mod moderation;
mod news;
mod place;
mod recall;
mod repeats;
mod rights;
mod ring;
mod settings;
mod stored;
mod visitors;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use quail_protocol::{
    Code, Epoch, Position, Priority, Rev, Seq, Timestamp,
    id::{RoomId, SessionId, UserId},
    message::SenderNote,
    room::{
        AttributesUpdated, Gone, InfoUpdated, LeaveCause, Lifetime, LifetimeKind, Member, Role, RoomHistory,
        RoomInfo, RoomState, Settings, UpdateInfo,
    },
};

use self::{
    attributes::{Attributes, OfOccupant},
    budget::Budget,
    counters::Counters,
    kept::Row,
    moderation::{AllMuted, Restricted},
    news::News,
    repeats::Repeats,
    rights::{Right, may},
    stored::Stored,
};
pub use self::{
    attributes::{Capacity, Change},
    budget::Allowance,
    kept::{Rows, Unreadable},
    moderation::{Expired, Restrict},
    news::Tidings,
    place::{Placed, Refused, Sending},
    repeats::Place,
    ring::{Keep, Ring},
    settings::check_settings,
    visitors::Asker,
};
use super::rate::Bucket;

/// The bounds of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Users that may be banned at a time, and muted.
    pub restrictions_max: usize,
    /// Users that may be admins at a time.
    pub admins_max: usize,
    /// Users at a time; `None` for no bound.
    pub members_max: Option<u64>,
    /// What is kept of its messages.
    pub keep: Keep,
    /// How many messages it passes on.
    pub allowance: Allowance,
    /// What else it may hold.
    pub capacity: Capacity,
}

/// A room.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    settings: Settings,
    owner: UserId,
    /// Who made it, whoever owns it now.
    maker: UserId,
    created: Timestamp,
    bounds: Bounds,
    members: BTreeMap<UserId, Occupant>,
    visitors: BTreeSet<SessionId>,
    /// In the room or not.
    admins: BTreeSet<UserId>,
    banned: Restricted,
    muted: Restricted,
    all_muted: Option<AllMuted>,
    /// In the order in which they came.
    by_arrival: BTreeMap<u64, UserId>,
    arrivals: u64,
    empty_since: Option<Timestamp>,
    head: Position,
    last_by_priority: [Seq; Priority::COUNT],
    /// Steps with every change of a message that has its place.
    rev: Rev,
    ring: Ring,
    /// `None` if its messages are in the ring alone.
    stored: Option<Stored>,
    budget: Budget,
    repeats: Repeats,
    news: News,
    attributes: Attributes,
    /// What is to be told of attributes that went with their owners.
    orphaned: Vec<AttributesUpdated>,
    member_attributes_bytes: usize,
    member_attributes_version: u64,
    counters: Counters,
    /// What changed of what is kept.
    touched: BTreeSet<Row>,
    /// Until when those who were in it before a start of the server may come back as if they had not left.
    returning_until: Option<Timestamp>,
}

#[derive(Debug)]
struct Occupant {
    member: Member,
    arrival: u64,
    sessions: BTreeSet<SessionId>,
    urgent: Bucket,
    attributes: OfOccupant,
}

impl Occupant {
    /// What everybody is to see of them.
    fn note(&self) -> SenderNote {
        let Member { name, avatar, role, .. } = self.member.clone();
        SenderNote { name, avatar, role }
    }
}

/// Somebody who comes in.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Who.
    pub user: UserId,
    /// With which session.
    pub session: SessionId,
    /// Display name and avatar URL, as everybody is to see them.
    pub note: SenderNote,
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The user was not in.
    User,
    /// The user was in with other sessions.
    Session,
    /// The session was in.
    Already,
}

impl Room {
    /// A room that `owner` makes and nobody is in yet.
    pub fn new(
        id: RoomId,
        settings: Settings,
        owner: UserId,
        epoch: Epoch,
        bounds: Bounds,
        now: Timestamp,
    ) -> Self {
        let stored = (settings.history == RoomHistory::Stored).then_some(Stored::new(epoch));
        Self {
            id,
            settings,
            maker: owner.clone(),
            owner,
            created: now,
            bounds,
            members: BTreeMap::new(),
            visitors: BTreeSet::new(),
            admins: BTreeSet::new(),
            banned: Restricted::default(),
            muted: Restricted::default(),
            all_muted: None,
            by_arrival: BTreeMap::new(),
            arrivals: 0,
            empty_since: Some(now),
            head: Position { epoch, seq: Seq(0) },
            last_by_priority: Default::default(),
            rev: Rev(0),
            ring: Ring::new(bounds.keep),
            stored,
            budget: Budget::new(bounds.allowance),
            repeats: Repeats::default(),
            news: News::default(),
            attributes: Attributes::default(),
            orphaned: Vec::new(),
            member_attributes_bytes: 0,
            member_attributes_version: 0,
            counters: Counters::default(),
            touched: BTreeSet::from([Row::Whole]),
            returning_until: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Lets somebody in.
    pub fn enter(&mut self, newcomer: Newcomer, now: Timestamp) -> Result<Came, Code> {
        let Newcomer { user, session, note } = newcomer;
        self.may_enter(&user, now)?;
        if let Some(occupant) = self.members.get_mut(&user) {
            return Ok(if occupant.sessions.insert(session) { Came::Session } else { Came::Already });
        }
        if self.bounds.members_max.is_some_and(|max| self.members.len() as u64 >= max) {
            return Err(Code::RoomFull);
        }
        let role = self.standing(&user);
        let SenderNote { name, avatar, .. } = note;
        let member = Member { user: user.clone(), name, avatar, role, joined: now };
        self.arrivals += 1;
        self.by_arrival.insert(self.arrivals, user.clone());
        self.news.joined(self.told(member.clone()));
        let (arrival, sessions) = (self.arrivals, BTreeSet::from([session]));
        let (urgent, attributes) = (Bucket::default(), OfOccupant::default());
        self.members.insert(user, Occupant { member, arrival, sessions, urgent, attributes });
        self.empty_since = None;
        Ok(Came::User)
    }

    /// Lets one session out, of a user or of a visitor. True if nobody is in with it any more: it was the user's last.
    pub fn leave(
        &mut self,
        user: Option<&UserId>,
        session: SessionId,
        cause: LeaveCause,
        now: Timestamp,
    ) -> Result<bool, Code> {
        if self.depart(session) {
            return Ok(true);
        }
        let user = user.ok_or(Code::NotInRoom)?;
        let occupant = self.members.get_mut(user).ok_or(Code::NotInRoom)?;
        if !occupant.sessions.remove(&session) {
            return Err(Code::NotInRoom);
        }
        if !occupant.sessions.is_empty() {
            return Ok(false);
        }
        self.member_attributes_bytes -= occupant.attributes.bytes();
        let (arrival, member) = (occupant.arrival, occupant.member.clone());
        self.members.remove(user);
        self.by_arrival.remove(&arrival);
        self.orphan_attributes(user, member.role);
        let Member { user, name, avatar, role, .. } = self.told(member);
        self.news.left(Gone { user, name, avatar, role, cause });
        if self.members.is_empty() {
            // Others may still be on their way back.
            self.empty_since = Some(self.returning_until.map_or(now, |until| until.max(now)));
        }
        Ok(true)
    }

    /// True if the room is over.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        let Lifetime { kind, ms } = self.settings.lifetime;
        match kind {
            LifetimeKind::WhenEmpty => self.empty_since.is_some_and(|since| now.0 >= since.0 + ms),
            LifetimeKind::Until => now.0 >= ms,
            LifetimeKind::Kept | LifetimeKind::Unknown(_) => false,
        }
    }

    /// Whether `user` may end the room.
    pub fn may_dismiss(&self, user: &UserId) -> Result<(), Code> {
        if may(self.standing(user), Right::Dismiss) { Ok(()) } else { Err(Code::RightMissing) }
    }

    /// Who made it.
    pub fn maker(&self) -> &UserId {
        &self.maker
    }

    /// What `user` is in the room.
    pub fn role(&self, user: &UserId) -> Option<Role> {
        self.members.get(user).map(|occupant| occupant.member.role)
    }

    /// Changes what the room says of itself.
    pub fn update_info(&mut self, user: &UserId, update: UpdateInfo) -> Result<InfoUpdated, Code> {
        let role = self.operator(user, Right::UpdateInfo)?.role;
        let info = &mut self.settings.info;
        let RoomInfo { name, notice, avatar, extension } = info.clone();
        *info = RoomInfo {
            name: update.name.unwrap_or(name),
            notice: update.notice.unwrap_or(notice),
            avatar: update.avatar.unwrap_or(avatar),
            extension: update.extension.unwrap_or(extension),
        };
        let (info, operator) = (info.clone(), user.clone());
        self.touch(Row::Whole);
        Ok(InfoUpdated { room: self.id.clone(), follows: self.head, info, operator, role })
    }

    /// How the room stands, for whoever asks.
    pub fn state(&self, asker: &Asker) -> RoomState {
        RoomState {
            room: self.id.clone(),
            info: self.settings.info.clone(),
            lifetime: self.settings.lifetime,
            owner: self.owner.clone(),
            members: self.count(),
            visitors: self.visitors.len() as u64,
            head: self.head,
            first: self.first(),
            rev: self.rev,
            created: self.created,
            role: match asker {
                Asker::User(user) => self.role(user),
                Asker::Visitor(_) => None,
            },
            counters_for_members: self.settings.counters_for_members,
            omit_notes: self.settings.omit_notes,
            history: self.settings.history,
            attributes_version: self.attributes.version,
            member_attributes_version: self.member_attributes_version,
            counters_version: self.counters.version,
        }
    }

    /// Its newest position.
    pub fn head(&self) -> Position {
        self.head
    }

    /// The newest number of each priority, 0 where there is none.
    pub fn last_by_priority(&self) -> [Seq; Priority::COUNT] {
        self.last_by_priority
    }

    /// Its messages.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Forgets messages that are too old, repetitions nobody can mean any more, and who was in it before a start.
    pub fn age(&mut self, now: Timestamp) {
        self.settle(now);
        self.age_ring(now);
        let oldest = self.ring.oldest();
        self.repeats.age(oldest, now);
    }

    /// What is to be told of who came and went, if it is time.
    pub fn news(&mut self, now: Instant) -> Vec<Tidings> {
        let members = self.count();
        self.news.take(&self.id, self.head, members, now)
    }

    /// True if somebody came or went and that was not told yet.
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }
}

#[cfg(test)]
mod tests;
