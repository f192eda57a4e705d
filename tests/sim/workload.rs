//! What the app on a device does: it connects, sends, receives, marks, and writes everything down.

use std::{sync::Arc, time::Duration};

use quail_client::{
    CallError, Cause, Client, Events, Outgoing, State, States,
    protocol::{Advice, Close, Code, Conversation, Event},
};
use quail_protocol::{
    Seq,
    conversation::Mark,
    message::{Behind, BehindCause},
};
use quail_tests::history::{Answer, Thread, What};
use quinn::Endpoint;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    network::End,
    plan::{Device, Sending},
    town::{Town, entry, hash},
};

/// The life of a device from its first connection on.
pub(crate) async fn live(town: Arc<Town>, device: Device) {
    let (builder, endpoint) = town.client(&device, 0).await.expect("a socket");
    let mut rng = StdRng::seed_from_u64(town.plan.seed ^ device.number as u64);
    let start = Instant::now();
    sleep_until(start + device.opens).await;
    let (client, events) = loop {
        if let Ok(connected) = builder.clone().connect().await {
            break connected;
        }
        sleep(Duration::from_millis(rng.random_range(100..1000))).await;
    };
    let (moves, moved) = mpsc::unbounded_channel();
    {
        let mut diary = town.diary();
        diary.connected[device.number] = true;
        diary.moves[device.number] = Some(moves);
    }
    town.logged_in(&device.name, client.session(), false);
    let mut tasks = JoinSet::new();
    tasks.spawn(receive(town.clone(), device.clone(), client.clone(), events));
    tasks.spawn(watch(town.clone(), device.clone(), client.clone(), client.states()));
    tasks.spawn(follow_moves(town.clone(), device.number, endpoint, moved));
    tasks.spawn(mark(town.clone(), device.clone(), client.clone(), start));
    let mut sending = JoinSet::new();
    for message in &device.sends {
        sleep_until(start + message.at).await;
        if matches!(client.states().current(), State::Disconnected { .. }) {
            break;
        }
        sending.spawn(send(town.clone(), device.clone(), client.clone(), message.clone()));
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("a send ends without a panic");
    }
    town.diary().answered[device.number] = true;
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task of an app ends without a panic");
    }
}

/// Sends a message, again and again with the same id until there is an answer.
pub(crate) async fn send(town: Arc<Town>, device: Device, client: Client, sending: Sending) {
    let name = device.name.clone();
    let Sending { to, priority, body, .. } = sending;
    let mut message: Outgoing =
        client.peer(to.as_str()).expect("a user id").message(body.clone()).priority(priority);
    let (id, thread) = (message.id(), Thread::of(&name.user, &to));
    let encoded = quail_protocol::message::Text::encode(body).expect("a body");
    let hash = hash(encoded.as_ref());
    loop {
        town.record(Some(&name), What::Send { id, thread: thread.clone(), priority, hash });
        let unsent = match message.send().await {
            Ok(sent) => {
                town.notice(&device, &client);
                let acked = What::Acked { id, thread, position: sent.position, prev: sent.prev };
                return town.record(Some(&name), acked);
            }
            Err(unsent) => *unsent,
        };
        message = unsent.message;
        let pause = match unsent.error {
            CallError::Reject(reject) if reject.code != Code::TimedOut => {
                town.record(Some(&name), What::Refused { id });
                if reject.code.advice() != Advice::Retry {
                    let text = format!("a good message of {} is refused: {reject}", name.user);
                    return town.diary().wrong.push(text);
                }
                Duration::from_millis(reject.retry_after_ms.unwrap_or(500).into())
            }
            error => {
                town.record(Some(&name), What::Unknown { id });
                if matches!(error, CallError::Malformed | CallError::TooLarge(_)) {
                    return town.diary().wrong.push(format!("a send of {} failed: {error}", name.user));
                }
                if matches!(client.states().current(), State::Disconnected { .. }) {
                    return;
                }
                Duration::from_millis(100)
            }
        };
        sleep(pause).await;
    }
}

async fn receive(town: Arc<Town>, device: Device, client: Client, mut events: Events) {
    while let Some(event) = events.recv().await {
        hear(&town, &device, &client, event);
    }
}

/// Writes down what the app is told of the threads of its user.
pub(crate) fn hear(town: &Town, device: &Device, client: &Client, event: Event) {
    match event {
        Event::MessageSent(message) => {
            town.notice(device, client);
            let (thread, entry) = entry(&message);
            let mut diary = town.diary();
            let newest = diary.newest.entry((device.name.clone(), thread.clone())).or_default();
            *newest = entry.position.max(*newest);
            drop(diary);
            town.record(Some(&device.name), What::Received { thread, entry });
        }
        Event::Behind(Behind { conversation: Conversation::Peer(peer), head, cause, .. }) => {
            let thread = Thread::of(&device.name.user, &peer);
            let answer = match cause {
                BehindCause::EpochChanged => Answer::EpochChanged,
                BehindCause::NotMember => Answer::NotMember,
                _ => Answer::Trimmed,
            };
            town.record(Some(&device.name), What::Gap { thread, through: head, answer });
        }
        _ => {}
    }
}

/// Marks what was received of some thread, one call after the other.
async fn mark(town: Arc<Town>, device: Device, client: Client, start: Instant) {
    let mut rng = StdRng::seed_from_u64(town.plan.seed ^ (device.number as u64) << 24);
    for at in &device.marks {
        sleep_until(start + *at).await;
        let newest: Vec<_> = {
            let diary = town.diary();
            let own = diary.newest.iter().filter(|((of, _), _)| *of == device.name);
            own.map(|((_, thread), position)| (thread.clone(), *position)).collect()
        };
        if newest.is_empty() {
            continue;
        }
        let (thread, position) = newest[rng.random_range(0..newest.len())].clone();
        let peer = if thread.0 == device.name.user { &thread.1 } else { &thread.0 };
        let conversation = Conversation::Peer(peer.clone());
        let delivered = Seq(rng.random_range(1..=position.seq.0));
        let read = Seq(rng.random_range(0..=delivered.0));
        // What came of a mark without an answer is seen by the next.
        if let Ok(marked) = client.call(Mark { conversation, epoch: position.epoch, delivered, read }).await {
            town.notice(&device, &client);
            let what = What::Marked {
                thread,
                asked_delivered: delivered,
                asked_read: read,
                delivered: marked.delivered,
                read: marked.read,
            };
            town.record(Some(&device.name), what);
        }
    }
}

pub(crate) async fn watch(town: Arc<Town>, device: Device, client: Client, mut states: States) {
    while let Some(state) = states.changed().await {
        let connected = state == State::Connected;
        let was = std::mem::replace(&mut town.diary().connected[device.number], connected);
        match state {
            State::Connected => {
                let session = client.session();
                let resumed = town.session_of(&device.name) == Some(session);
                // A session that was noticed already.
                if was && resumed {
                    continue;
                }
                if was {
                    town.record(Some(&device.name), What::Disconnected);
                }
                town.logged_in(&device.name, session, resumed);
            }
            State::Disconnected { cause } => {
                town.record(Some(&device.name), What::Disconnected);
                let elsewhere = match cause {
                    Cause::Closed(close) => close == Close::KickedOut,
                    Cause::LoginRefused(reject) => reject.code == Code::LoggedInElsewhere,
                    _ => false,
                };
                if town.plan.one_session && elsewhere {
                    town.record(Some(&device.name), What::KickedOut);
                    town.diary().connected[device.number] = true;
                } else {
                    town.diary().wrong.push(format!("{:?} ended for good: {cause}", device.name));
                }
            }
            _ if was => town.record(Some(&device.name), What::Disconnected),
            _ => {}
        }
    }
}

/// Lets QUIC go on from another address, as after a change of the network.
pub(crate) async fn follow_moves(
    town: Arc<Town>,
    device: usize,
    endpoint: Endpoint,
    mut moves: mpsc::UnboundedReceiver<()>,
) {
    while moves.recv().await.is_some() {
        let socket = town.network.udp(End::Device(device), 0).await.expect("a socket");
        endpoint.rebind_abstract(socket).expect("an endpoint that takes another socket");
    }
}
