//! Who is in a room, and what is told of them.

use quail_protocol::{id::UserId, room::Member};

use super::Room;

impl Room {
    /// A member as the others are told of them.
    pub(super) fn told(&self, member: Member) -> Member {
        if self.settings.omit_notes {
            Member { name: Default::default(), avatar: Default::default(), ..member }
        } else {
            member
        }
    }

    /// Users in the room behind the arrival `after`, in the order of their arrival or the other way round, and where to
    /// go on if there are more.
    pub fn members(&self, after: u64, limit: usize, newest_first: bool) -> (Vec<Member>, Option<u64>) {
        let member =
            |(arrival, user): (&u64, &UserId)| Some((*arrival, self.members.get(user)?.member.clone()));
        let mut page: Vec<_> = match (newest_first, after) {
            (false, after) => {
                self.by_arrival.range(after.saturating_add(1)..).filter_map(member).take(limit + 1).collect()
            }
            (true, 0) => self.by_arrival.iter().rev().filter_map(member).take(limit + 1).collect(),
            (true, after) => {
                self.by_arrival.range(..after).rev().filter_map(member).take(limit + 1).collect()
            }
        };
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().map(|(arrival, _)| *arrival).filter(|_| more);
        (page.into_iter().map(|(_, member)| member).collect(), next)
    }

    /// Those of `users` who are in the room.
    pub fn members_of(&self, users: &[UserId]) -> Vec<Member> {
        users.iter().filter_map(|user| Some(self.members.get(user)?.member.clone())).collect()
    }

    /// How many users are in it.
    pub fn count(&self) -> u64 {
        self.members.len() as u64
    }
}
