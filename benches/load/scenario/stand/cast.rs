//! Who speaks and who listens.

use clap::ValueEnum;
use quail_protocol::Priority;
use serde::Serialize;

use crate::part::throng::{Seat, Voice};

/// What is said more of than the server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(in crate::scenario) enum Workload {
    /// Rooms, in which each message goes to many.
    Rooms,
    /// Pairs, in which each message is stored before it is answered and told.
    Peers,
}

impl Workload {
    /// As it stands in the report.
    pub(in crate::scenario) fn name(self) -> &'static str {
        match self {
            Self::Rooms => "rooms",
            Self::Peers => "peers",
        }
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) struct Size {
    /// Rooms, or pairs of which one speaks and one listens.
    pub(in crate::scenario) conversations: u32,
    /// Those who listen in each room.
    pub(in crate::scenario) listeners: u32,
    /// Those who speak in each room, beside the one who says urgent things.
    pub(in crate::scenario) speakers: u32,
}

/// See the module.
pub(in crate::scenario) struct Cast {
    /// In the order in which they come: whoever says urgent things in a room owns it.
    pub(in crate::scenario) speakers: Vec<Seat>,
    pub(in crate::scenario) listeners: Vec<Seat>,
    pub(in crate::scenario) conversations: u32,
    /// How many a message reaches.
    pub(in crate::scenario) reached: u32,
}

/// Pairs in which urgent things are said.
const URGENT_PAIRS: u32 = 5;

/// Others speak normally and with low priority in turn.
fn voice(turn: u32, of: u32) -> Voice {
    Voice { priority: if turn.is_multiple_of(2) { Priority::Normal } else { Priority::Low }, turn, of }
}

fn urgent(turn: u32, of: u32) -> Voice {
    Voice { priority: Priority::High, turn, of }
}

impl Cast {
    /// Of a workload. In the bare loop those who speak hear nothing.
    pub(in crate::scenario) fn new(workload: Workload, size: Size, bare: bool) -> Self {
        match workload {
            Workload::Rooms => Self::rooms(size, bare),
            Workload::Peers => Self::peers(size.conversations),
        }
    }

    fn rooms(Size { conversations: rooms, listeners, speakers }: Size, bare: bool) -> Self {
        let others = rooms * speakers;
        let voices =
            (0..rooms).map(|turn| urgent(turn, rooms)).chain((0..others).map(|turn| voice(turn, others)));
        let seat = |user, voice| Seat { user, conversation: user % rooms, partner: None, voice };
        let speaking: Vec<_> = (0..).zip(voices).map(|(user, voice)| seat(user, Some(voice))).collect();
        // The first that listens is in the first room as well.
        let first = rooms + others;
        let listening = (first..first + rooms * listeners).map(|user| seat(user, None)).collect();
        let reached = listeners + if bare { 0 } else { speakers };
        Self { speakers: speaking, listeners: listening, conversations: rooms, reached }
    }

    fn peers(pairs: u32) -> Self {
        let all = URGENT_PAIRS + pairs;
        let says = |pair| {
            if pair < URGENT_PAIRS { urgent(pair, URGENT_PAIRS) } else { voice(pair - URGENT_PAIRS, pairs) }
        };
        let seat = |user: u32, conversation, partner, voice| Seat {
            user,
            conversation,
            partner: Some(partner),
            voice,
        };
        Self {
            speakers: (0..all).map(|pair| seat(pair, pair, all + pair, Some(says(pair)))).collect(),
            listeners: (0..all).map(|pair| seat(all + pair, pair, pair, None)).collect(),
            conversations: all,
            reached: 1,
        }
    }

    /// Those who listen, in so many parts of about the same size.
    pub(in crate::scenario) fn audiences(&self, parts: u32) -> impl Iterator<Item = &[Seat]> {
        let each = self.listeners.len().div_ceil(parts as usize).max(1);
        self.listeners.chunks(each)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_has_a_seat_of_their_own_and_each_voice_its_turn() {
        let size = Size { conversations: 3, listeners: 4, speakers: 2 };
        for (workload, bare, speakers, listeners, reached) in [
            (Workload::Rooms, false, 9, 12, 6),
            (Workload::Rooms, true, 9, 12, 4),
            (Workload::Peers, false, 8, 8, 1),
        ] {
            let cast = Cast::new(workload, size, bare);
            assert_eq!(
                (cast.speakers.len(), cast.listeners.len(), cast.reached),
                (speakers, listeners, reached)
            );
            let all = || cast.speakers.iter().chain(&cast.listeners);
            let users: BTreeSet<_> = all().map(|seat| seat.user).collect();
            assert_eq!(users.len(), speakers + listeners);
            for high in [true, false] {
                let voices = cast.speakers.iter().filter_map(|seat| seat.voice);
                let voices: Vec<_> = voices.filter(|voice| voice.is_urgent() == high).collect();
                let turns: BTreeSet<_> = voices.iter().map(|voice| voice.turn).collect();
                assert!(voices.iter().all(|voice| voice.of as usize == voices.len()));
                assert_eq!(turns.len(), voices.len());
            }
            for conversation in 0..cast.conversations {
                let heard = cast.listeners.iter().filter(|seat| seat.conversation == conversation).count();
                assert_eq!(heard, if workload == Workload::Rooms { 4 } else { 1 });
                let first = cast.speakers.iter().find(|seat| seat.conversation == conversation);
                assert!(
                    workload == Workload::Peers || first.unwrap().voice.unwrap().is_urgent(),
                    "owns the room"
                );
            }
            assert_eq!(cast.audiences(5).map(<[_]>::len).sum::<usize>(), listeners);
            for seat in all() {
                let partner = seat.partner.map(|partner| all().find(|other| other.user == partner).unwrap());
                assert!(partner.is_none_or(|partner| partner.partner == Some(seat.user)), "{seat:?}");
            }
        }
    }
}
