//! One who speaks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use quail_protocol::{
    Conversation, Priority,
    id::{RoomId, UserId},
    message::{Content, MessageBody, Send, Text},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Hall, Pace, Round,
    line::{self, Line, Word},
    listener::Listener,
    ping,
    raw::FIRST_REQUEST_ID,
    saying, tally,
};
use crate::{body, clients, cpu, latency::Latencies, schedule::Schedule};

/// Unanswered messages of a session at most.
const IN_FLIGHT_MAX: u64 = 64;

/// See the module.
pub(super) struct Speaker {
    line: Line,
    /// Which it is of all.
    pub(super) number: u32,
    /// Where it speaks.
    pub(super) room: u32,
    bare: bool,
    user: UserId,
    conversation: Conversation,
    /// What a broker calls the room.
    topic: String,
    next_request: u32,
    /// Messages of all rounds, which make ids.
    said: u64,
}

/// What it said in a round.
pub(super) struct Said {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) late: Latencies,
}

impl Said {
    fn answered(&self) -> u64 {
        self.accepted + self.refused.values().sum::<u64>()
    }
}

impl Speaker {
    pub(super) fn new(line: Line, number: u32, room: u32, bare: bool) -> anyhow::Result<Self> {
        // A user for each speaker, whose name is as long as in a Quail.
        let user = UserId::new(clients::user(number))?;
        let conversation = Conversation::Room(RoomId::new(format!("room-{room}"))?);
        let (topic, next_request) = (line::topic(room), FIRST_REQUEST_ID);
        Ok(Self { line, number, room, bare, user, conversation, topic, next_request, said: 0 })
    }

    /// Speaks for a round, in its turn of so many, whose pace is that of all of them.
    pub(super) async fn speak(
        mut self,
        round: Round,
        (turn, speakers): (u64, u64),
        listeners: Vec<Arc<Listener>>,
        hall: Arc<Hall>,
    ) -> anyhow::Result<(Self, Said)> {
        let mut said = Said { sent: 0, accepted: 0, refused: BTreeMap::new(), late: Latencies::new()? };
        let (begun, begun_at) = (Instant::now(), cpu::since_boot());
        let per_flush = u64::from(round.per_flush);
        let until = Duration::from_millis(round.milliseconds);
        for flush in 0.. {
            let intended = match round.pace {
                Pace::PerSecond(rate) => {
                    let intended = Schedule::new(turn, speakers, rate).intended(flush);
                    sleep_until(begun + intended).await;
                    intended
                }
                Pace::Ahead(ahead) => {
                    while listeners.iter().any(|listener| listener.has_heard() + ahead < said.sent) {
                        hall.heard.notified().await;
                    }
                    begun.elapsed()
                }
            };
            if intended >= until {
                break;
            }
            while said.sent + per_flush > said.answered() + IN_FLIGHT_MAX {
                self.hear(&mut said, round).await?;
            }
            let flush = self.flush(said.sent, begun_at + intended, round)?;
            said.late.record(begun.elapsed().saturating_sub(intended));
            self.line.send(flush).await?;
            said.sent += per_flush;
            if !self.line.is_acknowledged() {
                said.accepted += per_flush;
            }
        }
        while said.answered() < said.sent {
            self.hear(&mut said, round).await?;
        }
        self.line.settle().await?;
        Ok((self, said))
    }

    /// Says that it is there, if it has to.
    pub(super) async fn stay(&mut self) -> anyhow::Result<()> {
        if let Some(control) = self.line.control() {
            control.write_chunk(ping(self.next_request)).await?;
            self.next_request += 1;
        }
        Ok(())
    }

    /// Hears one thing.
    async fn hear(&mut self, said: &mut Said, round: Round) -> anyhow::Result<()> {
        match self.line.next().await? {
            // The bare loop answers a flush and not each message.
            Word::Taken => said.accepted += if self.bare { u64::from(round.per_flush) } else { 1 },
            Word::Refused(reason) => *said.refused.entry(reason).or_default() += 1,
            _ => {}
        }
        Ok(())
    }

    /// The bytes of the messages from number `first` on.
    fn flush(&mut self, first: u64, intended: Duration, round: Round) -> anyhow::Result<Bytes> {
        let mut flush = BytesMut::new();
        for nth in first..first + u64::from(round.per_flush) {
            let number = tally::number(self.number, nth);
            let text = body::write(number, intended, round.bytes as usize);
            match &mut self.line {
                Line::Broker(client) => client.publish(&mut flush, &self.topic, text.as_bytes()),
                Line::Quic(_) => flush.extend_from_slice(&self.message(Text { text }.to_content()?)?),
            }
        }
        if !self.bare {
            return Ok(flush.freeze());
        }
        Ok(saying::framed(&flush))
    }

    /// The request of a message; for the bare loop the event that a Quail would make of it.
    fn message(&mut self, content: Content) -> anyhow::Result<Bytes> {
        self.said += 1;
        let (id, priority) = (saying::id(self.said)?, Priority::Normal);
        let conversation = self.conversation.clone();
        if self.bare {
            return saying::event(conversation, &self.user, (id, self.said), priority, content);
        }
        let request_id = self.next_request;
        self.next_request += 1;
        Ok(saying::request(request_id, &Send { conversation, id, priority, content }))
    }
}
