//! One who heeds.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures_util::FutureExt;
use quail_protocol::{
    Event, Operation,
    frame::{self, Frame, Head},
    message::Text,
    session::Ping,
};
use quinn::{Connection, SendStream};
use tokio::time::{MissedTickBehavior, interval};

use super::{Hall, Reading};
use crate::{
    body,
    chain::{Chain, Ends},
    cpu,
    part::attend::{
        Counted, QUIET,
        raw::{FIRST_REQUEST_ID, Frames, Raw, reason},
    },
};

/// How often somebody slow reads.
const SLOW_TURN: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Known {
    chain: Chain,
    gaps: u64,
    closed: Option<(Duration, String)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Member(Mutex<Known>);

impl Member {
    /// Comes into the room, and reads from then on.
    pub(super) async fn come(
        connection: Connection,
        user: u32,
        stream_window_bytes: u32,
        hall: &Arc<Hall>,
    ) -> anyhow::Result<Arc<Self>> {
        let mut raw = Raw::member(connection, user, 0, stream_window_bytes).await?;
        let control = raw.control.take().context("a stream for control")?;
        let known = Known { chain: Chain::from_the_start(), ..Known::default() };
        let member = Arc::new(Self(Mutex::new(known)));
        tokio::spawn(keep(control));
        tokio::spawn(member.clone().stay(raw, hall.clone()));
        Ok(member)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if nothing more is to come.
    pub(super) fn is_done(&self, ends: &Ends) -> bool {
        let known = self.known();
        known.closed.is_some() || known.chain.has_come_to(ends)
    }

    pub(super) fn end(&self, ends: &Ends) -> Counted {
        self.known().chain.end(ends)
    }

    pub(super) fn counted(&self) -> Counted {
        self.known().chain.counted()
    }

    pub(super) fn gaps(&self) -> u64 {
        self.known().gaps
    }

    pub(super) fn closed(&self) -> Option<(Duration, String)> {
        self.known().closed.clone()
    }

    /// Reads to the end of the connection.
    async fn stay(self: Arc<Self>, mut raw: Raw, hall: Arc<Hall>) -> anyhow::Result<()> {
        let connection = raw.connection.clone();
        let why = tokio::select! {
            biased;
            error = connection.closed() => reason(&error),
            read = self.read(&mut raw, &hall) => match read {
                // The stream broke because the connection did.
                Err(_) if connection.close_reason().is_some() => reason(&connection.closed().await),
                Err(error) => format!("{error:#}"),
                Ok(()) => "the server ended a stream".to_owned(),
            },
        };
        self.known().closed = Some((cpu::since_boot(), why));
        Ok(())
    }

    async fn read(&self, raw: &mut Raw, hall: &Hall) -> anyhow::Result<()> {
        let (_send, high) = raw.take_high()?;
        let mut lanes = (high, &mut raw.frames);
        match hall.reading {
            Reading::Well => {}
            Reading::Slowly(bytes_per_second) => {
                let bytes = (f64::from(bytes_per_second) * SLOW_TURN.as_secs_f64()) as usize;
                tokio::select! {
                    read = self.read_slowly((&mut lanes.0, &mut *lanes.1), hall, bytes.max(1)) => return read,
                    () = hall.is_to_catch_up() => {}
                }
            }
            Reading::NotAtAll => std::future::pending().await,
        }
        self.read_well((&mut lanes.0, lanes.1), hall).await
    }

    async fn read_well(&self, (high, normal): (&mut Frames, &mut Frames), hall: &Hall) -> anyhow::Result<()> {
        loop {
            let more = tokio::select! {
                more = high.more() => more?,
                more = normal.more() => more?,
            };
            if !more {
                return Ok(());
            }
            self.hear_all(high, hall)?;
            self.hear_all(normal, hall)?;
        }
    }

    async fn read_slowly(
        &self,
        (high, normal): (&mut Frames, &mut Frames),
        hall: &Hall,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let mut turns = interval(SLOW_TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            for frames in [&mut *high, &mut *normal] {
                if !frames.more_of(bytes).now_or_never().transpose()?.unwrap_or(true) {
                    return Ok(());
                }
                self.hear_all(frames, hall)?;
            }
        }
    }

    fn hear_all(&self, frames: &mut Frames, hall: &Hall) -> anyhow::Result<()> {
        while let Some(frame) = frames.ready()? {
            self.hear(frame, hall)?;
        }
        Ok(())
    }

    fn hear(&self, frame: Frame, hall: &Hall) -> anyhow::Result<()> {
        let Head::Event { kind } = frame.head else { return Ok(()) };
        match Event::decode(kind, frame.body)? {
            Event::MessageSent(message) => {
                let text = Text::decode(&message.content.body)?;
                let (nth, intended) = body::read(&text.text).context("a strange text")?;
                let mut times = hall.times();
                if intended >= times.from {
                    times.latencies.record(cpu::since_boot().saturating_sub(intended));
                }
                drop(times);
                self.known().chain.message(&message, nth);
            }
            Event::MessageGap(gap) => {
                let mut known = self.known();
                known.gaps += 1;
                known.chain.gap(&gap);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Says that somebody is there, as a client does that only listens.
async fn keep(mut control: SendStream) -> anyhow::Result<()> {
    let mut turns = interval(QUIET);
    for request_id in FIRST_REQUEST_ID.. {
        turns.tick().await;
        let ping = frame::encode(&Head::Request { request_id, opcode: Ping::INFO.opcode }, &Ping {});
        control.write_chunk(ping).await?;
    }
    Ok(())
}
