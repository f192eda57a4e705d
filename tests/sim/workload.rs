//! What the app on a device does: it connects, sends, receives, and writes everything down.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quail_client::{
    Builder, CallError, CarrierKind, Client, Events, Outgoing, Reconnect, State, States, Trust,
    protocol::{Advice, Code, Conversation, Event, message::Message},
};
use quail_server::{
    apps::{self, Secret},
    domain::token::Claims,
};
use quail_tests::{
    Carrier, FAST, KID, SECRET,
    history::{self, Answer, Entry, Record, Thread, What},
};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use crate::{
    network::{End, Network},
    plan::{Device, Plan, Sending},
};

/// When the simulated worlds begin, in milliseconds since 1970.
pub(crate) const BEGINNING_MS: u64 = 1_800_000_000_000;

/// Ports of the server.
pub(crate) const QUIC_PORT: u16 = 4433;
pub(crate) const WEBSOCKET_PORT: u16 = 8080;

/// What all apps of a world share.
pub(crate) struct Town {
    pub(crate) plan: Plan,
    pub(crate) network: Network,
    pub(crate) fingerprint: [u8; 32],
    diary: Mutex<Diary>,
}

/// What is known of a run.
#[derive(Default)]
pub(crate) struct Diary {
    pub(crate) history: Vec<Record>,
    /// By device: every send was answered.
    pub(crate) answered: Vec<bool>,
    /// By device: the client is connected.
    pub(crate) connected: Vec<bool>,
    /// What must not happen, in words.
    pub(crate) wrong: Vec<String>,
    /// Where to tell devices that their address changes.
    pub(crate) moves: Vec<Option<mpsc::UnboundedSender<()>>>,
}

impl Town {
    pub(crate) fn new(plan: Plan, network: Network, fingerprint: [u8; 32]) -> Self {
        let devices = plan.devices.len();
        let diary = Diary {
            answered: vec![false; devices],
            connected: vec![false; devices],
            moves: vec![None; devices],
            ..Diary::default()
        };
        Self { plan, network, fingerprint, diary: Mutex::new(diary) }
    }

    pub(crate) fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happens now. Inside of a simulated host only.
    pub(crate) fn record(&self, device: Option<&history::Device>, what: What) {
        self.record_at(turmoil::sim_elapsed().unwrap_or_default(), device, what);
    }

    /// Writes down what happens at a time.
    pub(crate) fn record_at(&self, at: Duration, device: Option<&history::Device>, what: What) {
        self.diary().history.push(Record { at, device: device.cloned(), what });
    }

    /// A client of a device. `life` tells lives of the same device apart.
    pub(crate) async fn client(&self, device: &Device, life: u64) -> std::io::Result<(Builder, Endpoint)> {
        let mut rng = StdRng::seed_from_u64(self.plan.seed ^ (device.number as u64 + 1) << 32 ^ life << 48);
        let mut draw = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let mut config = EndpointConfig::default();
        config.rng_seed(Some(draw()));
        let socket = self.network.udp(End::Device(device.number), 0).await?;
        let endpoint = Endpoint::new_with_abstract_socket(config, None, socket, Arc::new(TokioRuntime))?;
        let server = turmoil::lookup("server");
        let (network, number) = (self.network.clone(), device.number);
        let user = device.name.user.as_str();
        let builder = Client::builder(format!("{server}:{QUIC_PORT}"))
            .app(FAST)
            .user(user)
            .device(&device.name.name)
            .token(token(user))
            .trust(Trust::Fingerprint(self.fingerprint))
            .seed(draw())
            .endpoint(endpoint.clone())
            .tcp_with(move |address| {
                let network = network.clone();
                async move { network.connect(number, address).await }
            })
            .call_timeout(self.plan.call_timeout)
            .reconnect(Reconnect::within([500, 1000, 2000, 4000].map(Duration::from_millis)))
            .carrier(match device.carrier {
                Carrier::Quic => CarrierKind::Quic,
                Carrier::WebSocket => {
                    CarrierKind::WebSocket { url: format!("ws://{server}:{WEBSOCKET_PORT}/ws") }
                }
            });
        Ok((builder, endpoint))
    }
}

fn token(user: &str) -> String {
    let now = BEGINNING_MS / 1000;
    let claims = Claims {
        sub: Some(user.into()),
        aud: Some(FAST.into()),
        iat: Some(now),
        exp: Some(now + 3600),
        nbf: None,
    };
    apps::sign(KID, &Secret::new(SECRET), &claims).expect("a token can be signed")
}

/// Stands for a body.
pub(crate) fn hash(body: &[u8]) -> u64 {
    body.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where a message stands, and what rules ask of it.
pub(crate) fn entry(message: &Message) -> (Thread, Entry) {
    let recipient = match &message.conversation {
        Conversation::Peer(user) => user,
        other => panic!("a message between two users stands in {other}"),
    };
    let entry = Entry {
        id: message.client_id,
        sender: message.sender.clone(),
        position: message.position,
        prev: message.prev,
        priority: message.priority,
        hash: hash(message.body.as_ref()),
    };
    (Thread::of(&message.sender, recipient), entry)
}

/// The life of a device from its first connection on.
pub(crate) async fn live(town: Arc<Town>, device: Device) {
    let (builder, endpoint) = town.client(&device, 0).await.expect("a socket");
    let mut rng = StdRng::seed_from_u64(town.plan.seed ^ device.number as u64);
    let start = tokio::time::Instant::now();
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
    let name = &device.name;
    town.record(Some(name), What::LoggedIn { session: client.session(), resumed: false });
    let mut tasks = JoinSet::new();
    tasks.spawn(receive(town.clone(), device.clone(), events));
    tasks.spawn(watch(town.clone(), device.clone(), client.clone(), client.states()));
    tasks.spawn(follow_moves(town.clone(), device.number, endpoint, moved));
    let mut sending = JoinSet::new();
    for message in &device.sends {
        sleep_until(start + message.at).await;
        sending.spawn(send(town.clone(), name.clone(), client.clone(), message.clone()));
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
async fn send(town: Arc<Town>, name: history::Device, client: Client, sending: Sending) {
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

async fn receive(town: Arc<Town>, device: Device, mut events: Events) {
    while let Some(event) = events.recv().await {
        match event {
            Event::MessageSent(message) => {
                let (thread, entry) = entry(&message);
                town.record(Some(&device.name), What::Received { thread, entry });
            }
            Event::Behind(behind) => {
                let Conversation::Peer(peer) = &behind.conversation else { continue };
                let thread = Thread::of(&device.name.user, peer);
                let gap = What::Gap { thread, through: behind.head, answer: Answer::Trimmed };
                town.record(Some(&device.name), gap);
            }
            _ => {}
        }
    }
}

async fn watch(town: Arc<Town>, device: Device, client: Client, mut states: States) {
    while let Some(state) = states.changed().await {
        let connected = state == State::Connected;
        let was = std::mem::replace(&mut town.diary().connected[device.number], connected);
        match state {
            // Changes that follow each other at once are seen as one.
            State::Connected => {
                if was {
                    town.record(Some(&device.name), What::Disconnected);
                }
                let session = client.session();
                town.record(Some(&device.name), What::LoggedIn { session, resumed: false });
            }
            State::Disconnected { cause } => {
                town.record(Some(&device.name), What::Disconnected);
                town.diary().wrong.push(format!("{:?} ended for good: {cause}", device.name));
            }
            _ if was => town.record(Some(&device.name), What::Disconnected),
            _ => {}
        }
    }
}

/// Lets QUIC go on from another address, as after a change of the network.
async fn follow_moves(
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
