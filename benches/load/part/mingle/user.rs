//! One user: what it was told, and what became of what it said.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use quail_client::{Client, Events, Outgoing, Reconnect, State};
use quail_protocol::{
    Conversation, Event, Priority, frame,
    message::{Barrage, Content, Dropped, Gap, Message, MessageKind, Text, Unnumbered},
    room::{RoomHistory, Settings},
};
use quinn::Endpoint;

use super::{Hall, Heard, Seat, Talk};
use crate::{
    body, clients, cpu,
    part::throng::{
        seconds::record,
        session::{number, parts},
        trail::{ByPriority, Placed, Trail},
    },
};

#[derive(Default)]
struct Known {
    trails: BTreeMap<u32, Trail>,
    /// What became of its own messages.
    placed: BTreeMap<u32, ByPriority>,
    left_out: BTreeMap<Talk, u64>,
    behind: u64,
    /// What nobody here says, or nobody says there.
    strange: u64,
}

/// See the module.
pub(super) struct User {
    pub(super) seat: Seat,
    pub(super) client: Client,
    known: Mutex<Known>,
    /// Messages that it sent since the start.
    said: AtomicU64,
}

/// What became of a message.
pub(super) enum Became {
    /// It has its place, under this priority.
    Accepted(Priority),
    /// It was refused and changed nothing.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl User {
    /// Connects, goes into its rooms, and listens from then on.
    pub(super) async fn come(seat: Seat, socket: Endpoint, hall: Arc<Hall>) -> anyhow::Result<Arc<Self>> {
        let number = seat.number;
        let builder = seat.visitor.builder()?.connect_timeout(Duration::from_secs(20));
        let builder = builder.tcp_with(move |address| clients::tcp_apart(number, address));
        let (client, events) = builder.endpoint(socket).reconnect(Reconnect::default()).connect().await?;
        let user = Arc::new(Self { seat, client, known: Mutex::default(), said: AtomicU64::new(0) });
        tokio::spawn(user.clone().listen(events, hall));
        if let Some((group, _)) = &user.seat.group {
            let settings = Settings { history: RoomHistory::Stored, ..Settings::default() };
            user.client.room(group)?.enter(settings, 0).await?;
        }
        if let Some((live, _)) = &user.seat.live {
            user.client.room(live)?.enter(Settings::default(), 0).await?;
        }
        Ok(user)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a message that it sends now.
    pub(super) fn next(&self) -> u64 {
        self.said.fetch_add(1, Ordering::Relaxed)
    }

    /// Its message `nth`, of so many bytes; with the number of its conversation.
    pub(super) fn message(
        &self,
        talk: Talk,
        nth: u64,
        intended: Duration,
        bytes: usize,
    ) -> anyhow::Result<(u32, Outgoing)> {
        let Seat { pair, group, live, .. } = &self.seat;
        let place = match talk {
            Talk::Pair => pair,
            Talk::Group => group,
            Talk::Barrage | Talk::Normal | Talk::High => live,
        };
        let (to, conversation) = place.as_ref().context("it says something to nobody")?;
        let text = body::write(number(self.seat.number, nth), intended, bytes);
        let outgoing = match talk {
            Talk::Pair => self.client.peer(to)?.message(text),
            Talk::Group | Talk::Normal => self.client.room(to)?.message(text),
            Talk::High => self.client.room(to)?.message(text).priority(Priority::High),
            Talk::Barrage => {
                let barrage = Barrage { text: quail_protocol::bounded::Text::new(text)? };
                self.client.room(to)?.compose(&barrage).priority(Priority::Low)
            }
        };
        Ok((*conversation, outgoing))
    }

    /// The answer to one of its messages.
    pub(super) fn answered(&self, conversation: u32, asked: Priority, became: &Became) {
        let mut known = self.known();
        let placed = known.placed.entry(conversation).or_default();
        match became {
            Became::Accepted(priority) => placed[priority.index()].accepted += 1,
            Became::Refused => {}
            Became::Unknown => placed[asked.index()].unknown += 1,
        }
    }

    /// What became of its messages since the start.
    pub(super) fn placed(&self) -> BTreeMap<u32, ByPriority> {
        self.known().placed.clone()
    }

    /// The conversations of which it is to hear everything, and what that is: its own messages it is not told, and
    /// whoever leaves a room misses what is said meanwhile.
    fn expected(&self, all: &[ByPriority]) -> Vec<(u32, Option<ByPriority>)> {
        let Seat { pair, group, live, leaves, .. } = &self.seat;
        let known = self.known();
        let places = [(pair, true), (group, true), (live, *leaves <= 0.0)];
        let places = places.into_iter().filter_map(|(place, stays)| Some((place.as_ref()?.1, stays)));
        let of = |conversation: u32| {
            let mut expected = all.get(conversation as usize).copied().unwrap_or_default();
            let own = known.placed.get(&conversation).copied().unwrap_or_default();
            for (all, Placed { accepted, unknown }) in expected.iter_mut().zip(own) {
                all.accepted = all.accepted.saturating_sub(accepted);
                all.unknown = all.unknown.saturating_sub(unknown);
            }
            expected
        };
        places.map(|(conversation, stays)| (conversation, stays.then(|| of(conversation)))).collect()
    }

    /// True if nothing more is to come.
    pub(super) fn is_settled(&self, all: &[ByPriority]) -> bool {
        let expected = self.expected(all);
        let known = self.known();
        let nothing = Trail::default();
        expected.iter().all(|(conversation, expected)| {
            let trail = known.trails.get(conversation).unwrap_or(&nothing);
            expected.is_none_or(|expected| trail.is_whole(&expected))
        })
    }

    /// Adds what it heard.
    pub(super) fn tell(&self, all: &[ByPriority], heard: &mut Heard) {
        for (conversation, expected) in self.expected(all) {
            let trail = self.known().trails.get(&conversation).cloned().unwrap_or_default();
            heard.counted.add(&match expected {
                Some(expected) => trail.end(&expected),
                None => trail.so_far(),
            });
        }
        let known = self.known();
        for (talk, count) in &known.left_out {
            *heard.left_out.entry(*talk).or_default() += count;
        }
        heard.behind += known.behind;
        heard.counted.unexpected += known.strange;
        heard.gone += u64::from(self.client.states().current() != State::Connected);
    }

    pub(super) async fn close(&self) {
        self.client.close().await;
    }

    async fn listen(self: Arc<Self>, mut events: Events, hall: Arc<Hall>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::MessageSent(Message { conversation, priority, content, .. }) => {
                    self.told(&conversation, priority, &content, &hall);
                }
                // A barrage has no number and is not kept.
                Event::MessagePassed(Unnumbered { conversation, priority, content, .. }) => {
                    self.told(&conversation, priority, &content, &hall);
                }
                Event::MessageGap(gap) => {
                    let Gap { conversation, priority, count, .. } = &gap;
                    self.left_out(conversation, *priority, *count, |trail| trail.gap(&gap));
                }
                // They had no numbers either.
                Event::MessagesDropped(Dropped { conversation, count }) => {
                    self.left_out(&conversation, Priority::Low, count, |trail| trail.excuse(count.into()));
                }
                Event::Behind(_) => self.known().behind += 1,
                _ => {}
            }
        }
    }

    fn left_out(
        &self,
        conversation: &Conversation,
        priority: Priority,
        count: u32,
        how: impl FnOnce(&mut Trail),
    ) {
        let Some((talk, number)) = self.place(conversation, priority) else { return };
        let mut known = self.known();
        *known.left_out.entry(talk).or_default() += u64::from(count);
        how(known.trails.entry(number).or_default());
    }

    fn told(&self, conversation: &Conversation, priority: Priority, content: &Content, hall: &Hall) {
        if self.understood(conversation, priority, content, hall).is_err() {
            self.known().strange += 1;
        }
    }

    fn understood(
        &self,
        conversation: &Conversation,
        priority: Priority,
        content: &Content,
        hall: &Hall,
    ) -> anyhow::Result<()> {
        let text = match content.kind {
            MessageKind::Barrage => frame::decode::<Barrage>(&content.body)?.text.to_string(),
            _ => Text::decode(&content.body)?.text,
        };
        let (number, intended) = body::read(&text).context("a strange text")?;
        let (talk, conversation) = self.place(conversation, priority).context("a message of elsewhere")?;
        let mut known = self.known();
        let is_news = known.trails.entry(conversation).or_default().came(priority, parts(number), None);
        drop(known);
        let mut known = hall.known();
        if !is_news || intended < known.from {
            return Ok(());
        }
        let mut times = known.times.remove(&talk);
        record(&mut times, cpu::since_boot().saturating_sub(intended))?;
        known.times.extend(times.map(|times| (talk, times)));
        Ok(())
    }

    /// What kind of talk it is there, and the number of the conversation.
    fn place(&self, conversation: &Conversation, priority: Priority) -> Option<(Talk, u32)> {
        let Seat { pair, group, live, .. } = &self.seat;
        let number = |place: &Option<(String, u32)>, name: &str| {
            place.as_ref().filter(|(known, _)| known == name).map(|(_, number)| *number)
        };
        match conversation {
            // Nobody but the partner writes to it.
            Conversation::Peer(_) => pair.as_ref().map(|(_, number)| (Talk::Pair, *number)),
            Conversation::Room(room) => {
                if let Some(number) = number(group, room.as_str()) {
                    return Some((Talk::Group, number));
                }
                let talk = match priority {
                    Priority::High => Talk::High,
                    Priority::Normal => Talk::Normal,
                    Priority::Low | Priority::Lowest => Talk::Barrage,
                };
                Some((talk, number(live, room.as_str())?))
            }
            _ => None,
        }
    }
}
