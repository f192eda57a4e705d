//! What all terminals of a world share: the plan, the way to the server, and the diary.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quail_client::{Builder, CarrierKind, Client, Reconnect, Trust, protocol::Conversation};
use quail_protocol::{Position, id::SessionId, message::Message, session::Platform};
use quail_server::{
    apps::{self, Secret},
    domain::token::Claims,
    telemetry::Metrics,
};
use quail_tests::{
    Carrier, FAST, KID, SECRET,
    history::{self, Entry, Record, Thread, What},
};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;

use crate::{
    network::{End, Network},
    plan::{Device, Plan},
};

/// When the simulated worlds begin, in milliseconds since 1970.
pub(crate) const BEGINNING_MS: u64 = 1_800_000_000_000;

/// Ports of the server.
pub(crate) const QUIC_PORT: u16 = 4433;
pub(crate) const WEBSOCKET_PORT: u16 = 8080;

/// See the module.
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
    /// By terminal: every send was answered.
    pub(crate) answered: Vec<bool>,
    /// By terminal: it is connected, or has no reason to be any more. A watcher has also looked for what is new.
    pub(crate) connected: Vec<bool>,
    /// What must not happen, in words.
    pub(crate) wrong: Vec<String>,
    /// A server serves and was not told to stop.
    pub(crate) serving: bool,
    /// Where to tell devices that their address changes.
    pub(crate) moves: Vec<Option<mpsc::UnboundedSender<()>>>,
    /// The newest that each device was handed of a thread.
    pub(crate) newest: BTreeMap<(history::Device, Thread), Position>,
    /// What each life of the server counts.
    pub(crate) metrics: Vec<Arc<Metrics>>,
    /// The last session of each device.
    sessions: BTreeMap<history::Device, SessionId>,
}

impl Diary {
    fn note(&mut self, device: &history::Device, what: What) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.history.push(Record { at, device: Some(device.clone()), what });
    }
}

impl Town {
    pub(crate) fn new(plan: Plan, network: Network, fingerprint: [u8; 32]) -> Self {
        let (devices, terminals) = (plan.devices.len(), plan.terminals());
        let diary = Diary {
            answered: (0..terminals).map(|number| number >= devices).collect(),
            connected: vec![false; terminals],
            moves: vec![None; terminals],
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

    /// Writes down that a device is logged in.
    ///
    /// Where users have one session, this one ends those that began before: from here on they get nothing done, even if
    /// their devices do not know it yet. Sessions are told apart by the server's time in their names.
    pub(crate) fn logged_in(&self, device: &history::Device, session: SessionId, resumed: bool) {
        let mut diary = self.diary();
        diary.note(device, What::LoggedIn { session, resumed });
        let fresh = diary.sessions.insert(device.clone(), session) != Some(session);
        // Watchers are bots, whom the policy leaves alone.
        let counts = |name: &history::Device| self.plan.devices.iter().any(|one| one.name == *name);
        if !self.plan.one_session || !fresh || !counts(device) {
            return;
        }
        let others = diary.sessions.iter().filter(|(other, _)| other.user == device.user && *other != device);
        let rivals: Vec<_> = others
            .filter(|(other, _)| counts(other))
            .map(|(other, session)| (other.clone(), *session))
            .collect();
        for (other, rival) in rivals {
            if rival.unix_ms() < session.unix_ms() {
                diary.note(&other, What::KickedOut);
            } else if rival.unix_ms() > session.unix_ms() {
                diary.note(device, What::KickedOut);
            }
        }
    }

    /// Writes down a new session that shows itself by what it does, before anyone says that it is there.
    pub(crate) fn notice(&self, device: &Device, client: &Client) {
        let session = client.session();
        if self.session_of(&device.name) != Some(session) {
            if std::mem::replace(&mut self.diary().connected[device.number], true) {
                self.record(Some(&device.name), What::Disconnected);
            }
            self.logged_in(&device.name, session, false);
        }
    }

    /// The last session of a device that was written down.
    pub(crate) fn session_of(&self, device: &history::Device) -> Option<SessionId> {
        self.diary().sessions.get(device).copied()
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
            .platform(if device.name.name == "judge" { Platform::Bot } else { Platform::Linux })
            .token(token(user))
            .trust(Trust::Fingerprint(self.fingerprint))
            .seed(draw())
            .endpoint(endpoint.clone())
            .streams_per_lane(1 + ((self.plan.seed + device.number as u64) % 4) as u8)
            .tcp_with(move |address| {
                let network = network.clone();
                async move { network.connect(number, address).await }
            })
            .call_timeout(self.plan.call_timeout)
            // The apps come in by themselves: what they asked for is what they are held to.
            .reenter_rooms(false)
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

/// A good token of `user`.
pub(crate) fn token(user: &str) -> String {
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
    (Thread::of(&message.sender, recipient), placed(message))
}

/// A message, as far as rules ask for it.
pub(crate) fn placed(message: &Message) -> Entry {
    Entry {
        id: message.client_id,
        sender: message.sender.clone(),
        position: message.position,
        prev: message.prev,
        priority: message.priority,
        hash: hash(message.content.body.as_ref()),
    }
}
