//! Quail's server.
//!
//! [`Server::bind`] takes a [`config::Config`] and opens every listener; [`Server::run`] serves until told to stop.
//! `docs/ARCHITECTURE.md` is the map.

pub mod apps;
pub mod carrier;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod context;
pub mod data;
pub mod domain;
pub mod entropy;
pub mod http;
pub mod hub;
mod jwt;
pub mod respond;
pub mod router;
pub mod services;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod tls;

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quail_protocol::{Close, Timestamp, id::AppId, limits::DEDUP_WINDOW_MS, version::WEBSOCKET_PATH};
use quinn::{Endpoint, Incoming, VarInt};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    apps::{Key, KeyAlgorithm},
    carrier::quic::Quic,
    clock::Clock,
    config::{Config, ConfigError, DEVELOPMENT_APP, DEVELOPMENT_KEY, Engine},
    connections::Connections,
    context::Shared,
    data::{DataDirectory, DataError, Development, hex},
    entropy::Entropy,
    hub::{Hub, fanout::FanOut},
    store::{
        Store, StoreError,
        commit::Committer,
        embedded::{self, Embedded},
        memory::Memory,
    },
    telemetry::Metrics,
    tls::{Identity, TlsError},
};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is no usable certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({protocol}): {source}")]
    Listen {
        /// What for.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] embedded::OpenError),
    /// The system gives no randomness.
    #[error("no randomness: {0}")]
    Entropy(#[source] io::Error),
    /// Operations of the protocol nobody serves: a fault of this build.
    #[error("operations without a handler: {0:?}")]
    Unserved(Vec<&'static str>),
}

/// Why a server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed: nothing can be acknowledged any more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task that every connection needs ended; the log says how.
    #[error("a task of the server ended")]
    TaskEnded,
}

/// A server whose listeners are open.
pub struct Server {
    shared: Arc<Shared>,
    router: Arc<router::Router>,
    config: Config,
    endpoint: Endpoint,
    websocket: TcpListener,
    admin: TcpListener,
    fingerprint: [u8; 32],
    data: DataDirectory,
}

/// How often the hub forgets users who are gone.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often the store forgets duplicates that are refused as stale anyway.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);

impl Server {
    /// Checks the configuration, takes the data directory and opens every listener.
    pub async fn bind(mut config: Config) -> Result<Self, BindError> {
        config.check()?;
        let router = services::routes();
        let missing = router.missing();
        if !missing.is_empty() {
            return Err(BindError::Unserved(missing));
        }
        let clock = Clock::system();
        let entropy = Entropy::from_system().map_err(BindError::Entropy)?;
        let data = DataDirectory::open(&config.data_dir)?;
        let identity = match &config.tls {
            Some(files) => Identity::from_files(files)?,
            None => Identity::for_development(data.path(), clock.timestamp())?,
        };
        let fingerprint = identity.fingerprint();
        if config.development {
            let secret = data.development_secret(&entropy)?;
            let app = config.apps.entry(DEVELOPMENT_APP.into()).or_default();
            let key = Key { algorithm: KeyAlgorithm::HS256, secret };
            app.keys.entry(DEVELOPMENT_KEY.into()).or_insert(key);
        }
        let secrets = data.endpoint_secrets(&entropy)?;
        let endpoint = carrier::quic::endpoint(&config.quic, identity.server_config()?, &secrets)
            .map_err(listen("QUIC over UDP", config.quic.listen))?;
        let websocket = http::bind(config.websocket.listen)
            .await
            .map_err(listen("WebSocket over TCP", config.websocket.listen))?;
        let admin =
            http::bind(config.admin.listen).await.map_err(listen("admin over TCP", config.admin.listen))?;
        let mut apps = BTreeMap::new();
        for (id, app) in &config.apps {
            let id =
                AppId::new(id).map_err(|error| ConfigError::Inconsistent(format!("apps.{id}: {error}")))?;
            apps.insert(id, app.clone());
        }
        let shared = Shared {
            apps,
            clock,
            hub: Arc::new(Hub::new(entropy.hasher())),
            store: open_store(&config, &data, &entropy, clock)?,
            entropy,
            committer: Committer::default(),
            metrics: Metrics::new(),
            session: config.session.clone(),
        };
        let server = Self {
            shared: Arc::new(shared),
            router: Arc::new(router),
            config,
            endpoint,
            websocket,
            admin,
            fingerprint,
            data,
        };
        if server.config.development {
            server.data.write_development(&server.development())?;
        }
        Ok(server)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where QUIC listens.
    pub fn quic_address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap_or(self.config.quic.listen)
    }

    /// Where the WebSocket carrier listens.
    pub fn websocket_address(&self) -> SocketAddr {
        self.websocket.local_addr().unwrap_or(self.config.websocket.listen)
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr().unwrap_or(self.config.admin.listen)
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Where the server's files are.
    pub fn data_directory(&self) -> &std::path::Path {
        self.data.path()
    }

    /// How a client on this machine reaches the server.
    fn development(&self) -> Development {
        Development {
            quic: reachable(self.quic_address()).to_string(),
            websocket: format!("ws://{}{WEBSOCKET_PATH}", reachable(self.websocket_address())),
            fingerprint: hex(&self.fingerprint),
        }
    }

    /// Serves until `stop` is ready, then tells every client, gives them a moment, and closes.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let (drain, draining) = watch::channel(false);
        let (alive, mut all_gone) = mpsc::channel(1);
        let connections =
            Connections::new(self.shared.clone(), self.router.clone(), draining.clone(), &alive);
        let door = http::public::Door {
            config: Arc::new(self.config.websocket.clone()),
            development: self.config.development,
            request_timeout: self.config.session.greeting_timeout,
            connections: connections.clone(),
        };
        let admin = http::admin::routes(self.shared.metrics.clone());
        let stage = FanOut {
            hub: self.shared.hub.clone(),
            store: self.shared.store.clone(),
            metrics: self.shared.metrics.clone(),
        };

        let mut tasks = JoinSet::new();
        tasks.spawn(sweep(self.shared.clone()));
        let metrics = self.shared.metrics.clone();
        tasks.spawn(accept(self.endpoint.clone(), self.config.quic.clone(), connections, metrics));
        tasks.spawn(http::public::serve(self.websocket, door, draining.clone()));
        tasks.spawn(http::serve(self.admin, admin, draining));

        let mut committing = commit_on_thread(self.shared.clone(), stage);
        let mut committed = None;
        let mut task_ended = false;
        tokio::select! {
            () = stop => {}
            ended = &mut committing => committed = Some(ended),
            // A task that every connection needs has ended: better to end loudly than to live on half dead.
            ended = tasks.join_next() => {
                tracing::error!(?ended, "a task of the server ended; stopping");
                task_ended = true;
            }
        }
        tracing::info!("draining");
        _ = drain.send(true);
        drop(alive);
        // The receiver ends when the last connection gave its sender back.
        _ = all_gone.recv().await;
        self.endpoint.close(VarInt::from_u32(Close::Draining.number().into()), b"");
        tasks.abort_all();
        self.endpoint.wait_idle().await;
        self.shared.committer.close();
        let committed = match committed {
            Some(ended) => ended,
            None => committing.await,
        };
        tracing::info!("stopped");
        // Without an answer the committer's thread panicked.
        committed.map_err(|_| RunError::TaskEnded)??;
        if task_ended { Err(RunError::TaskEnded) } else { Ok(()) }
    }
}

/// Runs the committer where blocking is allowed, and tells when it ended.
fn commit_on_thread(shared: Arc<Shared>, stage: FanOut) -> oneshot::Receiver<Result<(), StoreError>> {
    let (ended, wait) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        let committed =
            runtime.block_on(shared.committer.clone().run(shared.store.clone(), stage, shared.clock));
        // Nobody listens when the server was dropped.
        _ = ended.send(committed);
    };
    // Without a thread the sender is dropped, which ends the server.
    _ = std::thread::Builder::new().name("quail-committer".into()).spawn(run);
    wait
}

fn open_store(
    config: &Config,
    data: &DataDirectory,
    entropy: &Entropy,
    clock: Clock,
) -> Result<Arc<dyn Store>, BindError> {
    Ok(match config.store.engine {
        Engine::Memory => Arc::new(Memory::new(entropy.hasher())),
        Engine::Embedded => {
            let directory = data.path().join("store");
            let accept_data_loss = config.store.accept_data_loss;
            Arc::new(Embedded::open(&directory, &config.store.embedded, accept_data_loss, clock)?)
        }
    })
}

fn listen(protocol: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Listen { protocol, address, source }
}

/// The address at which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut often = tokio::time::interval(SWEEP_INTERVAL);
    let mut seldom = tokio::time::interval(FORGET_INTERVAL);
    loop {
        tokio::select! {
            _ = often.tick() => shared.hub.sweep(shared.clock.now()),
            _ = seldom.tick() => {
                let older_than = Timestamp(shared.clock.timestamp().0.saturating_sub(DEDUP_WINDOW_MS));
                match shared.store.forget_duplicates(older_than).await {
                    Ok(forgotten) => tracing::debug!(forgotten, "forgot rows against duplicates"),
                    Err(error) => tracing::error!(%error, "rows against duplicates could not be removed"),
                }
            }
        }
    }
}

/// Takes QUIC connections in until the endpoint closes.
async fn accept(
    endpoint: Endpoint,
    config: carrier::quic::Config,
    connections: Connections,
    metrics: Arc<Metrics>,
) {
    let mut driving = JoinSet::new();
    let handshaking = Arc::new(Semaphore::new(config.handshakes_max));
    while let Some(incoming) = endpoint.accept().await {
        while driving.try_join_next().is_some() {}
        let in_flight = config.handshakes_max - handshaking.available_permits();
        if in_flight >= config.retry_above && incoming.may_retry() && !incoming.remote_address_validated() {
            metrics.address_asked();
            // Refused only where a retry is not allowed, which was asked.
            _ = incoming.retry();
            continue;
        }
        let place = connections.place("quic", config.connections_max);
        match (place, handshaking.clone().try_acquire_owned()) {
            (Some(place), Ok(handshake)) => {
                driving.spawn(greet(incoming, place, handshake, config.handshake_timeout));
            }
            _ => incoming.refuse(),
        }
    }
}

async fn greet(
    incoming: Incoming,
    place: connections::Place,
    handshake: OwnedSemaphorePermit,
    timeout: Duration,
) {
    let Ok(connecting) = incoming.accept() else { return };
    match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(connection)) => {
            drop(handshake);
            place.drive(Quic::new(connection)).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
        Err(_elapsed) => tracing::debug!("handshake timed out"),
    }
}
