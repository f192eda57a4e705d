//! Who came and went, gathered for a moment in busy rooms.

use std::time::{Duration, Instant};

use quail_protocol::{
    Position,
    bounded::List,
    id::RoomId,
    limits::MEMBERS_PER_EVENT_MAX,
    room::{Gone, Member, MembersJoined, MembersLeft},
};

/// At most one telling in this time.
const INTERVAL: Duration = Duration::from_millis(250);

/// A few of them, and how many they are.
#[derive(Debug)]
struct Some100<T> {
    first: Vec<T>,
    count: u32,
}

impl<T> Default for Some100<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Some100<T> {
    fn push(&mut self, item: T) {
        if self.first.len() < MEMBERS_PER_EVENT_MAX {
            self.first.push(item);
        }
        self.count += 1;
    }
}

impl<T> Some100<T> {
    fn list(self) -> (List<T, MEMBERS_PER_EVENT_MAX>, u32) {
        // No more were pushed.
        (List::new(self.first).unwrap_or_default(), self.count)
    }
}

/// Who came and went in one moment. Told in this order: nobody in it left first and came back.
#[derive(Debug, Default)]
struct Moment {
    joined: Some100<Member>,
    left: Some100<Gone>,
}

#[derive(Debug, Default)]
pub(super) struct News {
    /// All but the last are over.
    moments: Vec<Moment>,
    told: Option<Instant>,
}

/// What everybody in a room is told of who came and went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tidings {
    /// Users came in.
    Joined(MembersJoined),
    /// Users are out.
    Left(MembersLeft),
}

impl News {
    pub(super) fn joined(&mut self, member: Member) {
        // Of those who left and are not kept by name, anybody may be the one who comes back.
        let came_back = |moment: &Moment| {
            let named = &moment.left.first;
            moment.left.count as usize > named.len() || named.iter().any(|gone| gone.user == member.user)
        };
        if self.moments.last().is_none_or(came_back) {
            self.moments.push(Moment::default());
        }
        self.last().joined.push(member);
    }

    pub(super) fn left(&mut self, gone: Gone) {
        if self.moments.is_empty() {
            self.moments.push(Moment::default());
        }
        self.last().left.push(gone);
    }

    fn last(&mut self) -> &mut Moment {
        let last = self.moments.len() - 1;
        &mut self.moments[last]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// What is to be told in a room with so many members, if it is time.
    pub(super) fn take(
        &mut self,
        room: &RoomId,
        follows: Position,
        members: u64,
        now: Instant,
    ) -> Vec<Tidings> {
        if self.is_empty() || self.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return vec![];
        }
        self.told = Some(now);
        let mut tidings = vec![];
        for Moment { joined, left } in std::mem::take(&mut self.moments) {
            if joined.count > 0 {
                let (joined, count) = joined.list();
                tidings.push(Tidings::Joined(MembersJoined {
                    room: room.clone(),
                    follows,
                    joined,
                    count,
                    members,
                }));
            }
            if left.count > 0 {
                let (left, count) = left.list();
                tidings.push(Tidings::Left(MembersLeft {
                    room: room.clone(),
                    follows,
                    left,
                    count,
                    members,
                }));
            }
        }
        tidings
    }
}
