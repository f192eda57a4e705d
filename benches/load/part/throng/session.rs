//! One session: what it said, what it was answered, and what it was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use quail_client::{CallError, Client, Reconnect};
use quail_protocol::{
    Code, Event, Lane, Operation, Priority,
    frame::{self, Frame, Head, Outcome},
    message::{Message, Sent, Text},
    session::Ping,
};
use quinn::{Connection, SendStream};
use tokio::time::{Instant, interval_at, sleep};

use super::{
    Hall, Heard, Seat,
    seconds::record,
    trail::{ByPriority, Trail},
    voice::Voiced,
    wire::{Out, Socket},
};
use crate::{
    body,
    clients::{self, APP, Target},
    cpu,
    part::attend::{
        QUIET,
        raw::{FIRST_REQUEST_ID, Frames, Raw, reason},
    },
};

/// Whose a message is and which of theirs, as one number.
pub(crate) fn number(user: u32, nth: u64) -> u64 {
    (u64::from(user) << 28) | nth
}

/// Whose a message is, and which of theirs.
pub(crate) fn parts(number: u64) -> (u32, u64) {
    ((number >> 28) as u32, number & ((1 << 28) - 1))
}

#[derive(Debug, Default)]
struct Known {
    trail: Trail,
    /// Unanswered messages by their request.
    flight: BTreeMap<u32, Priority>,
    placed: ByPriority,
    /// Messages that came, while there is a history that others could be fetched from.
    came: BTreeSet<u64>,
    behind: u64,
    closed: Option<String>,
}

/// See the module.
pub(super) struct Session {
    pub(super) seat: Seat,
    bare: bool,
    known: Mutex<Known>,
    next_request: AtomicU32,
}

impl Session {
    fn new(seat: Seat, bare: bool) -> Arc<Self> {
        // Whoever goes into a room asks for it.
        let next = AtomicU32::new(FIRST_REQUEST_ID - u32::from(seat.partner.is_some()));
        Arc::new(Self { seat, bare, known: Mutex::default(), next_request: next })
    }

    /// Listens from then on; with what it speaks with, if it does.
    pub(super) fn begin(raw: Raw, seat: Seat, hall: &Arc<Hall>) -> (Arc<Self>, Option<Voiced>) {
        let session = Self::new(seat, hall.order.bare);
        let speaks_on =
            seat.voice.map(|voice| if session.bare { Lane::Normal } else { voice.priority.lane() });
        let connection = raw.connection.clone();
        let mut voiced = None;
        for (lane, send, frames) in raw.into_lanes() {
            tokio::spawn(session.clone().listen(frames, connection.clone(), hall.clone()));
            if lane == Lane::Control {
                tokio::spawn(session.clone().keep(Out::Quic(send)));
            } else if speaks_on == Some(lane) {
                voiced = Some(Voiced::new(session.clone(), Out::Quic(send), hall.clone()));
            } else {
                // The stream stays open as long as the connection.
                tokio::spawn(hold(send, connection.clone()));
            }
        }
        (session, voiced)
    }

    /// The same over a WebSocket.
    pub(super) fn begin_over(socket: Socket, seat: Seat, hall: &Arc<Hall>) -> (Arc<Self>, Option<Voiced>) {
        let session = Self::new(seat, false);
        tokio::spawn(session.clone().keep(socket.out(Lane::Control)));
        let out = seat.voice.map(|voice| socket.out(voice.priority.lane()));
        let voiced = out.map(|out| Voiced::new(session.clone(), out, hall.clone()));
        tokio::spawn(session.clone().listen_over(socket, hall.clone()));
        (session, voiced)
    }

    /// Reads a WebSocket to its end.
    async fn listen_over(self: Arc<Self>, mut socket: Socket, hall: Arc<Hall>) {
        let heard = async {
            while let Some(frames) = socket.next().await? {
                frames.into_iter().try_for_each(|frame| self.hear(frame, &hall))?;
            }
            anyhow::Ok(())
        };
        let why = heard.await.err().map_or_else(|| "hung up".to_owned(), |error| format!("{error:#}"));
        self.known().closed.get_or_insert(why);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a request that is made now.
    fn request(&self) -> u32 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a message among those that wait for an answer, and says which request it is to be. `None` if there are
    /// `most` already, or will be no answer.
    pub(super) fn hand_over(&self, priority: Priority, most: u32) -> Option<u32> {
        let mut known = self.known();
        if known.closed.is_some() || known.flight.len() >= most as usize {
            return None;
        }
        let id = self.request();
        known.flight.insert(id, priority);
        Some(id)
    }

    pub(super) fn is_answered(&self) -> bool {
        let known = self.known();
        known.flight.is_empty() || known.closed.is_some()
    }

    /// What became of its messages since the start.
    pub(super) fn placed(&self) -> ByPriority {
        let mut known = self.known();
        for priority in std::mem::take(&mut known.flight).into_values() {
            known.placed[priority.index()].unknown += 1;
        }
        known.placed
    }

    /// What it is to hear of all that was placed in its conversation: its own messages it is not told.
    fn expected(&self, mut all: ByPriority) -> ByPriority {
        if self.bare && self.seat.voice.is_some() {
            return ByPriority::default();
        }
        for (all, own) in all.iter_mut().zip(self.known().placed) {
            all.accepted -= own.accepted.min(all.accepted);
            all.unknown -= own.unknown.min(all.unknown);
        }
        all
    }

    /// True if nothing more is to come.
    pub(super) fn is_settled(&self, all: &ByPriority) -> bool {
        let expected = self.expected(*all);
        let known = self.known();
        known.closed.is_some() || known.behind > 0 || known.trail.is_whole(&expected)
    }

    /// Adds what it heard.
    pub(super) fn tell(&self, all: &ByPriority, heard: &mut Heard) {
        let expected = self.expected(*all);
        let known = self.known();
        heard.behind += known.behind;
        heard.counted.add(&match &known.closed {
            // Nobody tells it the rest, unless it is kept.
            Some(_) if self.seat.partner.is_none() => known.trail.so_far(),
            _ => known.trail.end(&expected),
        });
        if let Some(reason) = &known.closed {
            *heard.closed.entry(reason.clone()).or_default() += 1;
        }
    }

    /// Reads the history of its pair if it was told to, or cannot be told the rest; says how much news was there.
    pub(super) async fn fetch(&self, target: &Target, all: &ByPriority) -> anyhow::Result<u64> {
        let Some(partner) = self.seat.partner.filter(|_| !self.bare) else { return Ok(0) };
        let expected = self.expected(*all);
        if self.known().trail.is_whole(&expected) {
            return Ok(0);
        }
        let user = clients::user(self.seat.user);
        let builder = Client::builder(target.quic.to_string())
            .app(APP)
            .token(clients::token(&user)?)
            .user(user)
            .device("load-reader")
            .trust(target.trust()?)
            .reconnect(Reconnect::off());
        let (client, events) = builder.connect().await?;
        drop(events);
        let partner = clients::user(partner);
        let peer = client.peer(&partner)?;
        let (mut from, mut news) = (Some(1), 0);
        while let Some(first) = from {
            let page = match peer.history(first..).await {
                Err(CallError::Reject(reject)) if reject.code == Code::RateLimited => {
                    sleep(Duration::from_millis(reject.retry_after_ms.unwrap_or(100).into())).await;
                    continue;
                }
                page => page?,
            };
            let mut known = self.known();
            for message in page.messages.iter().filter(|message| message.sender.as_str() == partner) {
                news += u64::from(known.came.insert(read(message)?.0));
            }
            from = page.next.map(|next| next.0);
        }
        client.close().await;
        self.known().trail.excuse(news);
        Ok(news)
    }

    /// Reads one lane to its end.
    async fn listen(self: Arc<Self>, mut frames: Frames, connection: Connection, hall: Arc<Hall>) {
        let why = match self.hear_all(&mut frames, &hall).await {
            Err(error) if connection.close_reason().is_none() => format!("{error:#}"),
            _ => reason(&connection.closed().await),
        };
        self.known().closed.get_or_insert(why);
    }

    async fn hear_all(&self, frames: &mut Frames, hall: &Hall) -> anyhow::Result<()> {
        while frames.more().await? {
            while let Some(frame) = frames.ready()? {
                self.hear(frame, hall)?;
            }
        }
        Ok(())
    }

    fn hear(&self, frame: Frame, hall: &Hall) -> anyhow::Result<()> {
        match frame.head {
            Head::Event { kind } => self.told(Event::decode(kind, frame.body)?, hall),
            Head::Reply { request_id, outcome } => self.answered(request_id, &outcome, &frame.body, hall),
            _ => Ok(()),
        }
    }

    fn told(&self, event: Event, hall: &Hall) -> anyhow::Result<()> {
        match event {
            Event::MessageSent(message) => {
                let (number, intended) = read(&message)?;
                let took = cpu::since_boot().saturating_sub(intended);
                let mut known = self.known();
                let place = (!self.bare).then_some((message.position.seq, message.prev));
                if !known.trail.came(message.priority, parts(number), place) {
                    return Ok(());
                }
                if self.seat.partner.is_some() {
                    known.came.insert(number);
                }
                drop(known);
                hall.note(|second| {
                    second.delivered += 1;
                    let urgent = message.priority == Priority::High;
                    record(if urgent { &mut second.urgent } else { &mut second.others }, took)
                })
            }
            Event::MessageGap(gap) => {
                self.known().trail.gap(&gap);
                Ok(())
            }
            Event::Behind(_) => {
                let mut known = self.known();
                known.behind += 1;
                known.trail.loosen();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn answered(&self, request_id: u32, outcome: &Outcome, body: &Bytes, hall: &Hall) -> anyhow::Result<()> {
        let mut known = self.known();
        // The bare loop answers in order and does not say what.
        let asked = if self.bare {
            known.flight.pop_first().map(|(_, priority)| priority)
        } else {
            known.flight.remove(&request_id)
        };
        let Some(asked) = asked else { return Ok(()) };
        match outcome {
            Outcome::Ok => {
                let mut got = asked;
                if !self.bare {
                    let sent: Sent = frame::decode(body)?;
                    got = sent.priority;
                    known.trail.placed(got, sent.position.seq, sent.prev);
                }
                known.placed[got.index()].accepted += 1;
                drop(known);
                hall.note(|second| second.accepted += 1);
            }
            Outcome::Reject(reject) => {
                // Given up by the server, which may do it all the same.
                let unknown = matches!(reject.code, Code::TimedOut | Code::Internal);
                known.placed[asked.index()].unknown += u64::from(unknown);
                drop(known);
                hall.note(|second| *second.refused.entry(format!("{:?}", reject.code)).or_default() += 1);
            }
        }
        Ok(())
    }

    /// Says that it is there, as a client does that only listens.
    async fn keep(self: Arc<Self>, mut control: Out) -> anyhow::Result<()> {
        let mut turns = interval_at(Instant::now() + QUIET, QUIET);
        loop {
            turns.tick().await;
            let head = Head::Request { request_id: self.request(), opcode: Ping::INFO.opcode };
            control.write(frame::encode(&head, &Ping {})).await?;
        }
    }
}

async fn hold(_stream: SendStream, connection: Connection) {
    connection.closed().await;
}

fn read(message: &Message) -> anyhow::Result<(u64, Duration)> {
    let text = Text::decode(&message.content.body)?;
    body::read(&text.text).context("a strange text")
}
