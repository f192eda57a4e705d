//! What was received of each stream and is no whole frame yet.

use quail_protocol::{
    Lane,
    frame::Decoder,
    limits::{GREETING_FRAME_BYTES_MAX, STREAMS_PER_LANE_MAX},
};

/// A decoder for each stream that was heard, most urgent lane first. Most clients use few of the streams that they may,
/// and a session costs memory for as long as it is there.
pub(super) struct Decoders {
    frame_bytes_max: usize,
    by_stream: Vec<(usize, Decoder)>,
}

impl Decoders {
    /// Of a connection that has not logged in.
    pub(super) fn new() -> Self {
        Self { frame_bytes_max: GREETING_FRAME_BYTES_MAX, by_stream: Vec::new() }
    }

    /// That of a stream.
    pub(super) fn of(&mut self, lane: Lane, slot: usize) -> &mut Decoder {
        let stream = lane.index() * STREAMS_PER_LANE_MAX + slot;
        let at = match self.by_stream.binary_search_by_key(&stream, |(stream, _)| *stream) {
            Ok(at) => at,
            Err(at) => {
                self.by_stream.reserve_exact(1);
                self.by_stream.insert(at, (stream, Decoder::new(self.frame_bytes_max)));
                at
            }
        };
        &mut self.by_stream[at].1
    }

    /// True if a frame of a stream was begun and is not whole. Streams on which nothing is said need no decoder.
    pub(super) fn has_begun(&self, lane: Lane, slot: usize) -> bool {
        let stream = lane.index() * STREAMS_PER_LANE_MAX + slot;
        self.by_stream.iter().any(|(it, decoder)| *it == stream && !decoder.is_between_frames())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_stream.len()
    }

    /// Bytes of frames that were begun and are not whole.
    pub(super) fn buffered(&self) -> usize {
        self.by_stream.iter().map(|(_, decoder)| decoder.buffered()).sum()
    }

    /// That in this place; the first is of the most urgent lane.
    pub(super) fn at(&mut self, place: usize) -> &mut Decoder {
        &mut self.by_stream[place].1
    }

    /// Changes the limit for frames whose length has not been read yet, and gives the room back that a login took.
    pub(super) fn set_limit(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
        for (_, decoder) in &mut self.by_stream {
            if decoder.is_between_frames() {
                *decoder = Decoder::new(frame_bytes_max);
            } else {
                decoder.set_limit(frame_bytes_max);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_lane_is_first_whichever_was_heard_first() {
        let mut decoders = Decoders::new();
        for (lane, slot, byte) in [(Lane::Low, 0, 3), (Lane::Control, 1, 1), (Lane::High, 3, 2)] {
            decoders.of(lane, slot).extend(&[byte]);
        }
        assert!(!decoders.of(Lane::Low, 0).is_between_frames());
        assert_eq!(decoders.count(), 3);
        // A frame of one byte has no head.
        decoders.at(0).extend(&[0]);
        assert!(decoders.at(0).next_frame().is_err());
        assert_eq!(decoders.at(1).next_frame(), Ok(None));
    }

    #[test]
    fn what_was_received_survives_a_change_of_the_limit() {
        let mut decoders = Decoders::new();
        decoders.of(Lane::Control, 0);
        decoders.of(Lane::Low, 0).extend(&[3]);
        decoders.set_limit(2);
        assert!(decoders.at(0).is_between_frames() && !decoders.at(1).is_between_frames());
        for place in 0..2 {
            decoders.at(place).extend(&[3, 1, 1]);
            assert!(decoders.at(place).next_frame().is_err(), "three bytes are too many now");
        }
    }
}
