//! Where a frame goes.

use quail_protocol::{Conversation, Lane, limits::STREAMS_PER_LANE_MAX};
use xxhash_rust::xxh3::xxh3_64;

/// A lane, and a strand of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The lane.
    pub lane: Lane,
    /// The strand.
    pub strand: Strand,
}

impl From<Lane> for Way {
    fn from(lane: Lane) -> Self {
        Self { lane, strand: Strand::default() }
    }
}

/// What must stay in order on its lane, as a small number. Frames of one strand go on one stream, so all frames of a
/// conversation are of one strand; what is of no conversation is of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strand(u8);

impl Strand {
    /// That of a conversation, as its receiver names it.
    pub fn of(conversation: &Conversation) -> Self {
        let (kind, id) = conversation.parts();
        Self((xxh3_64(id.as_bytes()) as u8).wrapping_add(kind))
    }

    /// Which of a lane's streams it goes on if there are so many.
    pub(super) fn slot(self, streams: u8) -> u8 {
        self.0 % streams.max(1)
    }
}

/// How many streams of a lane are written on if a client says that it opens so many.
pub(super) fn streams(said: u8) -> u8 {
    said.clamp(1, STREAMS_PER_LANE_MAX as u8)
}

#[cfg(test)]
mod tests {
    use quail_protocol::id::RoomId;

    use super::*;

    #[test]
    fn conversations_are_spread_over_the_streams_that_there_are() {
        let strand = |i| Strand::of(&Conversation::Room(RoomId::new(format!("room-{i}")).unwrap()));
        for (said, expected) in [(0, 1), (1, 1), (3, 3), (4, 4), (255, 4)] {
            let streams = streams(said);
            assert_eq!(streams, expected);
            let mut used: Vec<_> = (0..100).map(|i| strand(i).slot(streams)).collect();
            used.sort_unstable();
            used.dedup();
            assert_eq!(used, (0..expected).collect::<Vec<_>>());
        }
        assert_eq!(Strand::default().slot(4), 0);
    }
}
