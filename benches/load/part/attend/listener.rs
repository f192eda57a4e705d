//! One who listens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use quail_protocol::{
    Event,
    frame::{Frame, Head},
    message::Text,
};

use super::{Counted, Hall, raw::Raw, tally::Tally};
use crate::{body, cpu};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listener(Mutex<Tally>);

impl Listener {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what it heard.
    pub(super) fn begin(&self) {
        *self.tally() = Tally::default();
    }

    /// Messages of this round that are accounted for.
    pub(super) fn has_heard(&self) -> u64 {
        self.tally().heard()
    }

    /// Adds it up.
    pub(super) fn counted(&self, expected: u64) -> Counted {
        self.tally().counted(expected)
    }

    /// Listens to the end of the connection, which the scenario finds out by what is missing.
    pub(super) async fn listen(self: Arc<Self>, mut raw: Raw, hall: Arc<Hall>) -> anyhow::Result<()> {
        while raw.frames.more().await? {
            while let Some(frame) = raw.frames.ready()? {
                self.hear(frame, &hall)?;
            }
            hall.heard.notify_waiters();
        }
        Ok(())
    }

    fn hear(&self, frame: Frame, hall: &Hall) -> anyhow::Result<()> {
        let Head::Event { kind } = frame.head else { return Ok(()) };
        match Event::decode(kind, frame.body)? {
            Event::MessageSent(message) => {
                let text = Text::decode(&message.content.body)?;
                let (number, intended) = body::read(&text.text).context("a strange text")?;
                hall.latencies().record(cpu::since_boot().saturating_sub(intended));
                self.tally().arrived(number);
            }
            Event::MessageGap(gap) => self.tally().dropped(gap.count.into()),
            _ => {}
        }
        Ok(())
    }
}
