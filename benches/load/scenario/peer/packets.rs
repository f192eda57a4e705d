//! What the network of a message costs by itself: one packet from its sender, one back, one to its receiver, over bare QUIC
//! at the rate that the server had.

use super::super::{
    audience::{Audience, Seats},
    door::Bare,
};
use crate::{
    flags::Shared,
    part::attend::{House, Pace, Round},
    scenario::Stage,
};

/// A bare loop with as many who speak as the server had, each to one who listens.
pub(super) struct Packets {
    fan: Bare,
    audience: Audience,
    round: Round,
}

impl Packets {
    /// Lets them in. The server acknowledged so many messages per second, so many of them together to each sender.
    pub(super) async fn open(
        stage: &mut Stage,
        shared: &Shared,
        senders: u32,
        bytes: u32,
        (acknowledged, together): (f64, u32),
    ) -> anyhow::Result<Self> {
        stage.progress.say(&format!("{senders} pairs of bare connections are coming"));
        let fan = Bare::fan(stage.scratch.path()).await?;
        stage.report.sampler.process("bare loop", fan.id());
        let seats = Seats { listeners: senders, speakers: senders, rooms: senders, together: false };
        let audience = Audience::open(&House::Bare(fan.target.clone()), fan.id(), seats, shared).await?;
        let rate = acknowledged / f64::from(senders) / f64::from(together);
        let round = Round { milliseconds: 4000, per_flush: together, bytes, pace: Pace::PerSecond(rate) };
        let mut packets = Self { fan, audience, round };
        // The first round finds everything cold.
        packets.cpu_us().await?;
        Ok(packets)
    }

    /// Microseconds of the loop's CPU for a message, of one round.
    pub(super) async fn cpu_us(&mut self) -> anyhow::Result<f64> {
        let played = self.audience.round(self.round).await?;
        Ok(played.cpu.seconds() * 1e6 / played.counted.delivered.max(1) as f64)
    }

    /// Sends everybody away.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.audience.close().await?;
        self.fan.stop().await
    }
}

/// How many messages of a batch of this size are acknowledged together to each of so many senders, at least one.
pub(super) fn together(batches: &[u32], senders: u32) -> u32 {
    let messages: u64 = batches.iter().copied().map(u64::from).sum();
    let mean = messages as f64 / batches.len().max(1) as f64;
    ((mean / f64::from(senders.max(1))).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_go_together_when_a_batch_has_several_of_one_sender() {
        for (batches, senders, expected) in
            [(&[80, 80][..], 256, 1), (&[80, 80], 16, 5), (&[1, 3], 1, 2), (&[], 4, 1), (&[5], 0, 5)]
        {
            assert_eq!(together(batches, senders), expected, "{batches:?}, {senders}");
        }
    }
}
