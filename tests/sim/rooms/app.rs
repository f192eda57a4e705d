//! What the app on a device does in rooms: it comes and goes, speaks, listens, and writes everything down.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quail_client::{
    CallError, Client, Events, State, Until,
    protocol::{Code, Conversation, Event},
};
use quail_protocol::{
    Position,
    bounded::Text as Bounded,
    id::RoomId,
    message::{Barrage, Behind, BehindCause, Dropped, Gap, MessageBody, Text},
    room::{EntryStatus, Reason, RoomHistory, RoomStateChanged, Settings, Standing, StandingCause},
};
use quail_tests::history::{InRoom, What};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    bugs::Tap,
    plan::{Order, Ordered, Person, Saying, Stay},
};
use crate::{
    plan::Device,
    town::{Town, hash, placed},
    workload,
};

/// A device and what belongs to it.
#[derive(Clone)]
struct App {
    town: Arc<Town>,
    device: Device,
    client: Client,
    start: Instant,
    /// Rings when the app learns that it is in a room no longer.
    outs: Arc<BTreeMap<RoomId, Notify>>,
}

/// The life of a device from its first connection on.
pub(super) async fn live(town: Arc<Town>, device: Device, person: Person, tap: Tap) {
    let (builder, endpoint) = town.client(&device, 0).await.expect("a socket");
    // An app that is slow has few events at hand.
    let builder = builder.event_capacity(if person.slow.is_some() { 4 } else { 1024 });
    let start = Instant::now();
    sleep_until(start + device.opens).await;
    let (client, events) = loop {
        if let Ok(connected) = builder.clone().connect().await {
            break connected;
        }
        sleep(Duration::from_millis(300 + device.number as u64)).await;
    };
    let (moves, moved) = tokio::sync::mpsc::unbounded_channel();
    {
        let mut diary = town.diary();
        diary.connected[device.number] = true;
        diary.moves[device.number] = Some(moves);
    }
    town.logged_in(&device.name, client.session(), false);
    let outs = person.stays.iter().map(|stay| (stay.room.clone(), Notify::new())).collect();
    let app = App { town, device, client, start, outs: Arc::new(outs) };
    let mut tasks = JoinSet::new();
    tasks.spawn(app.clone().listen(events, person.slow, tap));
    tasks.spawn(workload::watch(
        app.town.clone(),
        app.device.clone(),
        app.client.clone(),
        app.client.states(),
    ));
    tasks.spawn(workload::follow_moves(app.town.clone(), app.device.number, endpoint, moved));
    for room in app.outs.keys() {
        let stays = person.stays.iter().filter(|stay| stay.room == *room).cloned().collect();
        tasks.spawn(app.clone().come_and_go(stays));
    }
    tasks.spawn(app.clone().rule(person.orders));
    let mut sending = JoinSet::new();
    let mut chat = app.device.sends.clone().into_iter().peekable();
    let mut says = person.says.into_iter().peekable();
    while let Some(at) =
        chat.peek().map(|next| next.at).into_iter().chain(says.peek().map(|next| next.at)).min()
    {
        sleep_until(start + at).await;
        if matches!(app.client.states().current(), State::Disconnected { .. }) {
            break;
        }
        if let Some(message) = chat.next_if(|next| next.at <= at) {
            sending.spawn(workload::send(app.town.clone(), app.device.clone(), app.client.clone(), message));
        }
        if let Some(saying) = says.next_if(|next| next.at <= at) {
            sending.spawn(app.clone().say(saying));
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("a send ends without a panic");
    }
    app.town.diary().answered[app.device.number] = true;
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task of an app ends without a panic");
    }
}

impl App {
    fn record(&self, room: &RoomId, what: InRoom) {
        self.town.record(Some(&self.device.name), What::Room { room: room.clone(), what });
    }

    fn is_over(&self) -> bool {
        matches!(self.client.states().current(), State::Disconnected { .. })
    }

    /// Is in a room for some times, and comes in again if it is put out meanwhile.
    async fn come_and_go(self, stays: Vec<Stay>) {
        for Stay { room, from, until } in stays {
            sleep_until(self.start + from).await;
            // A stay without an end outlasts every world.
            let until = self.start + until.unwrap_or(Duration::from_secs(3600));
            let handle = self.client.room(room.as_str()).expect("a room id");
            while Instant::now() < until && !self.is_over() {
                self.record(&room, InRoom::Entering);
                match handle.enter(settings(&room), 0).await {
                    Ok(entered) => {
                        let anew = entered.status != EntryStatus::AlreadyIn;
                        let entered = InRoom::Entered { head: entered.state.head };
                        self.record(&room, if anew { entered } else { InRoom::NotLetIn });
                        if timeout_at(until, self.outs[&room].notified()).await.is_err() {
                            break;
                        }
                    }
                    Err(CallError::Reject(reject)) if reject.code != Code::TimedOut => {
                        self.record(&room, InRoom::NotLetIn);
                    }
                    Err(_) => {}
                }
                sleep(Duration::from_millis(700)).await;
            }
            match handle.leave().await {
                Ok(left) => self.record(&room, InRoom::Left { last: left.last }),
                Err(CallError::Reject(reject)) if reject.code == Code::NotInRoom => self.lost(&room),
                Err(_) => {}
            }
        }
    }

    fn lost(&self, room: &RoomId) {
        self.record(room, InRoom::Behind { head: Position::default(), cause: BehindCause::NotMember });
    }

    /// Does what the owner of a room may.
    async fn rule(self, orders: Vec<Order>) {
        for Order { at, room, to, what } in orders {
            sleep_until(self.start + at).await;
            let handle = self.client.room(room.as_str()).expect("a room id");
            let user = self.town.plan.devices[to].name.user.clone();
            let on = what == Ordered::Mute;
            match what {
                // Whoever is put out writes it down; one who is not there stays out.
                Ordered::Kick => _ = handle.kick(user, Reason::default()).await,
                Ordered::Mute | Ordered::Unmute => {
                    self.record(&room, InRoom::Muting { user: user.clone(), on });
                    let until = if on { Until::End } else { Until::Lifted };
                    if handle.mute(user.clone(), until, Reason::default()).await.is_ok() {
                        self.record(&room, InRoom::Muted { user, on });
                    }
                }
            }
        }
    }

    /// Says something, again with the same id if nobody knows what became of it.
    async fn say(self, saying: Saying) {
        let Saying { room, priority, text, numbered, .. } = saying;
        let handle = self.client.room(room.as_str()).expect("a room id");
        let content = if numbered {
            Text::encode(text.clone()).expect("a body")
        } else {
            barrage(&text).to_content().expect("a body").body
        };
        let hash = hash(content.as_ref());
        let mut message = if numbered { handle.message(text) } else { handle.compose(&barrage(&text)) };
        message = message.priority(priority);
        let id = message.id();
        for _ in 0..3 {
            self.record(&room, InRoom::Send { id, priority, hash, numbered });
            let unsent = match message.send().await {
                Ok(sent) => {
                    let (position, prev, priority) = (sent.position, sent.prev, sent.priority);
                    return self.record(&room, InRoom::Acked { id, position, prev, priority });
                }
                Err(unsent) => *unsent,
            };
            match unsent.error {
                CallError::Reject(reject) if reject.code != Code::TimedOut => {
                    return self.record(&room, InRoom::Refused { id, code: reject.code });
                }
                _ => self.record(&room, InRoom::Unknown { id }),
            }
            // What has no number is not known again.
            if !numbered || self.is_over() {
                return;
            }
            message = unsent.message;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn listen(self, mut events: Events, slow: Option<Duration>, mut tap: Tap) {
        while let Some(event) = events.recv().await {
            for event in tap.pass(event) {
                self.hear(event);
            }
            let now = turmoil::sim_elapsed().unwrap_or_default();
            if let Some(pause) = slow.filter(|_| now < self.town.plan.length) {
                sleep(pause).await;
            }
        }
    }

    fn hear(&self, event: Event) {
        let room = |conversation: &Conversation| match conversation {
            Conversation::Room(room) => Some(room.clone()),
            _ => None,
        };
        let told = match &event {
            Event::MessageSent(message) => {
                room(&message.conversation).map(|room| (room, InRoom::Received { entry: placed(message) }))
            }
            Event::MessagePassed(passed) => {
                let hash = hash(passed.content.body.as_ref());
                room(&passed.conversation).map(|room| (room, InRoom::Passed { id: passed.client_id, hash }))
            }
            Event::MessageGap(Gap { conversation, priority, through, count }) => {
                let gap = InRoom::Gap { priority: *priority, through: *through, count: *count };
                room(conversation).map(|room| (room, gap))
            }
            Event::MessagesDropped(Dropped { conversation, count }) => {
                room(conversation).map(|room| (room, InRoom::Dropped { count: *count }))
            }
            Event::Behind(Behind { conversation, head, cause, .. }) => {
                room(conversation).map(|room| (room, InRoom::Behind { head: *head, cause: *cause }))
            }
            Event::RoomLeft(left) => Some((left.room.clone(), InRoom::Left { last: left.last })),
            // All that tells of it where a call to leave timed out and the session was lost since.
            Event::RoomStateChanged(RoomStateChanged {
                room,
                state: Standing::Disconnected,
                cause: StandingCause::Left,
                ..
            }) => Some((room.clone(), InRoom::Parted)),
            Event::MembersJoined(joined) => Some((joined.room.clone(), InRoom::Told)),
            Event::MembersLeft(left) => Some((left.room.clone(), InRoom::Told)),
            Event::RoomRestrictionChanged(changed) => Some((changed.room.clone(), InRoom::Told)),
            _ => None,
        };
        let Some((room, what)) = told else {
            return workload::hear(&self.town, &self.device, &self.client, event);
        };
        let is_out =
            matches!(what, InRoom::Left { .. } | InRoom::Behind { cause: BehindCause::NotMember, .. });
        self.record(&room, what);
        if let Some(out) = self.outs.get(&room).filter(|_| is_out) {
            out.notify_one();
        }
    }
}

/// One of the rooms keeps its messages.
fn settings(room: &RoomId) -> Settings {
    let history = if room.as_str() == "room1" { RoomHistory::Stored } else { RoomHistory::Ring };
    Settings { history, ..Settings::default() }
}

fn barrage(text: &str) -> Barrage {
    Barrage { text: Bounded::new(text).expect("a line") }
}
