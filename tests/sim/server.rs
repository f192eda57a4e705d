//! The server of a simulation: the real one, of parts that are not.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quail_protocol::Timestamp;
use quail_server::{
    apps::{self, History, Key, KeyAlgorithm, MultiLogin, Rates, Secret},
    assembly::{Assembly, Committing, Parts},
    carrier::quic::{Secrets, settings},
    clock::Clock,
    config::Config,
    entropy::Entropy,
    store::Store,
    tls::Identity,
};
use quail_tests::{FAST, KID, SECRET, history::What};
use quinn::{Endpoint, TokioRuntime};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::{sync::oneshot, time::sleep};

use crate::{
    disk::{Disk, Lie},
    network::{Door, End, Udp},
    town::{BEGINNING_MS, QUIC_PORT, Town, WEBSOCKET_PORT},
    world::Failure,
};

/// What is wrong with the parts that a server is handed.
#[derive(Clone, Copy)]
pub(crate) struct Flaw {
    /// What its disk does.
    pub(crate) lie: Lie,
    /// What stands around the store of each of its lives.
    pub(crate) wrap: fn(Arc<dyn Store>) -> Arc<dyn Store>,
    /// What becomes of its configuration.
    pub(crate) configure: fn(&mut Config),
}

impl Flaw {
    /// Nothing.
    pub(crate) const NONE: Self = Self { lie: Lie::None, wrap: |store| store, configure: |_| () };
}

/// Tells the server that runs to stop, and for how long to be away.
pub(crate) type Stop = Arc<Mutex<Option<oneshot::Sender<Duration>>>>;

/// A server that is told to stop takes no longer, whatever becomes of its clients: those who just came have five seconds.
const STOPS_WITHIN: Duration = Duration::from_secs(8);

/// The server's machine: one server after the other on the same disk.
pub(crate) async fn serve(
    town: Arc<Town>,
    disk: Disk,
    flaw: Flaw,
    stop: Stop,
    lives: Arc<AtomicU64>,
) -> Result<(), Failure> {
    loop {
        let life = lives.fetch_add(1, Ordering::Relaxed);
        let socket = town.network.udp(End::Server, QUIC_PORT).await?;
        let assembly = assemble(&town, &disk, flaw, socket.clone(), life).await?;
        town.diary().metrics.push(assembly.metrics());
        let (sender, stopped) = oneshot::channel();
        *stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        town.record(None, What::ServerStarted { epoch_stepped: disk.take_older() });
        town.diary().serving = true;
        let (mut down, mut told) = (Duration::ZERO, None);
        let stopped = async {
            down = stopped.await.unwrap_or_default();
            told = turmoil::sim_elapsed();
        };
        assembly.run(stopped).await?;
        socket.close();
        town.record(None, What::ServerEnded);
        let took = turmoil::sim_elapsed().zip(told).map(|(ended, told)| ended - told);
        if took.is_some_and(|took| took > STOPS_WITHIN) {
            town.diary().wrong.push(format!("the server took {took:?} to stop"));
        }
        sleep(down).await;
    }
}

async fn assemble(
    town: &Town,
    disk: &Disk,
    flaw: Flaw,
    socket: Arc<Udp>,
    life: u64,
) -> Result<Assembly<Door>, Failure> {
    let now = turmoil::sim_elapsed().unwrap_or_default();
    let entropy = Entropy::seeded(town.plan.seed ^ life << 32);
    let mut config = config(town);
    (flaw.configure)(&mut config);
    let certificate = certificate();
    let secrets = Secrets { reset: [1; 32], token: [2; 32] };
    let (mut endpoint, server) = settings(&config.quic, certificate.identity().quic()?, &secrets)?;
    endpoint.rng_seed(Some(entropy.bytes()));
    let endpoint =
        Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, Arc::new(TokioRuntime))?;
    let parts = Parts {
        config,
        clock: Clock::simulated(Timestamp(BEGINNING_MS + now.as_millis() as u64)),
        store: (flaw.wrap)(Arc::new(disk.open(entropy.hasher()))),
        entropy,
        endpoint,
        websocket: town.network.listen(WEBSOCKET_PORT).await?,
        websocket_tls: None,
        admin: None,
        committing: Committing::Task,
    };
    Ok(Assembly::new(parts)?)
}

fn config(town: &Town) -> Config {
    let mut config = Config::default();
    config.session.idle_timeout = town.plan.idle_timeout;
    config.session.write_timeout = town.plan.idle_timeout;
    config.session.grace = town.plan.grace;
    if let Some(items) = town.plan.lane_items {
        config.session.outbox.lane_items = items;
    }
    let app = apps::Config {
        keys: [(KID.into(), Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new(SECRET) })].into(),
        rates: Rates { text: 1_000_000, query: 1000, change: 1000, ..Rates::all(1000) },
        multi_login: if town.plan.one_session { MultiLogin::OnePerClass } else { MultiLogin::Many },
        history: History { entries_max: town.plan.entries_max },
        rooms: town.plan.rooms.clone(),
        ..apps::Config::default()
    };
    config.apps.insert(FAST.into(), app);
    config
}

/// The certificate of all simulated servers.
pub(crate) struct Certificate {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pub(crate) fingerprint: [u8; 32],
}

impl Certificate {
    fn identity(&self) -> Identity {
        Identity::new(vec![self.certificate.clone()], PrivatePkcs8KeyDer::from(self.key.clone()).into())
    }
}

/// Ed25519, whose signatures are all of one length, so that handshakes are too.
pub(crate) fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new(["server".to_owned()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(7));
        let certificate = params.self_signed(&pair).expect("a certificate").der().clone();
        let key = pair.serialize_der();
        let mut made = Certificate { certificate, key, fingerprint: [0; 32] };
        made.fingerprint = made.identity().fingerprint();
        made
    })
}
