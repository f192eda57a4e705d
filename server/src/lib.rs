//! Quail's server.
//!
//! [`Server::bind`] takes a [`config::Config`] and opens every listener; [`Server::run`] serves until told to stop.
//! `docs/ARCHITECTURE.md` is the map.

pub mod addresses;
pub mod apps;
pub mod assembly;
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
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use quail_protocol::{Epoch, version::WEBSOCKET_PATH};
use tokio::net::TcpListener;

use crate::{
    apps::{Key, KeyAlgorithm},
    assembly::{Assembly, Committing, Parts},
    clock::Clock,
    config::{Config, ConfigError, DEVELOPMENT_APP, DEVELOPMENT_KEY, Engine},
    data::{DataDirectory, DataError, Development, hex},
    entropy::Entropy,
    store::{
        Store, StoreError,
        embedded::{self, Embedded},
        memory::Memory,
    },
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
    assembly: Assembly<TcpListener>,
    fingerprint: [u8; 32],
    data: DataDirectory,
}

impl Server {
    /// Checks the configuration, takes the data directory and opens every listener.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with(config, |store| store).await
    }

    /// As [`Server::bind`], with another store in front of the one that is configured: for tests that look on or fail.
    pub async fn bind_with(
        mut config: Config,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Result<Self, BindError> {
        config.check()?;
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
        let endpoint = carrier::quic::endpoint(&config.quic, identity.quic()?, &secrets)
            .map_err(listen("QUIC over UDP", config.quic.listen))?;
        let websocket = http::bind(config.websocket.listen)
            .await
            .map_err(listen("WebSocket over TCP", config.websocket.listen))?;
        let websocket_tls = config.websocket.tls.then(|| identity.websocket()).transpose()?;
        let admin =
            http::bind(config.admin.listen).await.map_err(listen("admin over TCP", config.admin.listen))?;
        let store = wrap(open_store(&config, &data, &entropy, clock)?);
        let admin = Some(admin);
        let committing = Committing::Thread;
        let assembly = Assembly::new(Parts {
            config,
            clock,
            entropy,
            store,
            endpoint,
            websocket,
            websocket_tls,
            admin,
            committing,
        })?;
        let server = Self { assembly, fingerprint, data };
        if server.config().development {
            server.data.write_development(&server.development())?;
        }
        Ok(server)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.assembly.config
    }

    /// Where QUIC listens.
    pub fn quic_address(&self) -> SocketAddr {
        self.assembly.endpoint.local_addr().unwrap_or(self.config().quic.listen)
    }

    /// Where the WebSocket carrier listens.
    pub fn websocket_address(&self) -> SocketAddr {
        self.assembly.websocket.local_addr().unwrap_or(self.config().websocket.listen)
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        let listening = self.assembly.admin.as_ref().and_then(|listener| listener.local_addr().ok());
        listening.unwrap_or(self.config().admin.listen)
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
        let scheme = if self.config().websocket.tls { "wss" } else { "ws" };
        Development {
            quic: reachable(self.quic_address()).to_string(),
            websocket: format!("{scheme}://{}{WEBSOCKET_PATH}", reachable(self.websocket_address())),
            fingerprint: hex(&self.fingerprint),
        }
    }

    /// Serves until `stop` is ready, then tells every client, gives them a moment, and closes.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { assembly, data, .. } = self;
        let ended = assembly.run(stop).await;
        // The directory is ours until nothing writes to it any more.
        drop(data);
        ended
    }
}

fn open_store(
    config: &Config,
    data: &DataDirectory,
    entropy: &Entropy,
    clock: Clock,
) -> Result<Arc<dyn Store>, BindError> {
    Ok(match config.store.engine {
        // What an earlier run knew is forgotten, so its numbers are no numbers of this one.
        Engine::Memory => Arc::new(Memory::at(Epoch(clock.timestamp().0), entropy.hasher())),
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
