//! A Quail whose batches are counted.

mod recorded;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use quail_protocol::version::WEBSOCKET_PATH;
use quail_server::{
    apps::{self, Budget, Key, KeyAlgorithm, MultiLogin, Rates, Secret},
    assembly::{Assembly, Committing, Parts},
    carrier::quic,
    clock::Clock,
    config::Config,
    data::DataDirectory,
    entropy::Entropy,
    http,
    store::embedded::Embedded,
    tls::Identity,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use self::recorded::Recorded;
use crate::{
    child::{Orders, say},
    clients::{APP, KEY, SECRET, Target},
};

/// How to serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// A directory of its own, or of a server that has ended, whose place this one takes.
    pub(crate) data: PathBuf,
    /// Whether rates, budgets and caps stay as they are.
    pub(crate) default_limits: bool,
    /// Whether the bounds of what a session still has to be told stay as they are even so.
    pub(crate) default_outbox: bool,
    /// Whether packets may fill the queue before a client's link.
    pub(crate) deep_queue: bool,
    /// Whether its WebSocket speaks TLS.
    pub(crate) websocket_tls: bool,
    /// After how many seconds of silence a client is lost, if not after as many as by default.
    pub(crate) idle: Option<u32>,
    /// For how many seconds a session without a connection is kept, if not for as many as by default.
    pub(crate) grace: Option<u32>,
    /// Where to listen.
    pub(crate) listen: IpAddr,
    /// On which ports: QUIC, WebSocket, metrics. 0: on any.
    pub(crate) ports: [u16; 3],
}

impl Order {
    /// A server as it is by default on this machine; its outbox has default limits if all else has.
    pub(crate) fn here(data: PathBuf, default_limits: bool) -> Self {
        Self {
            data,
            default_limits,
            default_outbox: default_limits,
            deep_queue: false,
            websocket_tls: false,
            idle: None,
            grace: None,
            listen: Ipv4Addr::LOCALHOST.into(),
            ports: [0; 3],
        }
    }
}

/// The server listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Serving {
    /// How clients reach it.
    pub(crate) target: Target,
    /// SHA-256 of its certificate.
    pub(crate) fingerprint: [u8; 32],
    /// The URL of its WebSocket.
    pub(crate) websocket: String,
    /// Its TCP address.
    pub(crate) websocket_address: SocketAddr,
    /// Where its metrics are.
    pub(crate) admin: SocketAddr,
    /// Its configuration, secrets hidden.
    pub(crate) config: Value,
}

/// What is asked of it while it serves. Without a scenario it stops.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Say how large the batches were since the last time: a list of numbers.
    Batches,
    /// Say goodbye to everyone and end.
    Stop,
}

/// Serves until told to stop.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut orders = Orders::listen();
    let order: Order = orders.first().await?;
    let (config, data) = (configuration(&order), &order.data);
    let mut terminated = signal(SignalKind::terminate())?;
    let (clock, entropy) = (Clock::system(), Entropy::from_system()?);
    let directory = DataDirectory::open(data)?;
    let identity = Identity::for_development(data, clock.timestamp())?;
    let fingerprint = identity.fingerprint();
    // Whoever takes the place of this server knows its connections and address tokens, as with the `quail` command.
    let secrets = directory.endpoint_secrets(&entropy)?;
    let endpoint = quic::endpoint(&config.quic, identity.quic()?, &secrets)?;
    let store = Embedded::open(&data.join("store"), &config.store.embedded, false, clock)?;
    let store = Arc::new(Recorded::new(store));
    let websocket = http::bind(config.websocket.listen).await?;
    let websocket_tls = order.websocket_tls.then(|| identity.websocket()).transpose()?;
    let scheme = if order.websocket_tls { "wss" } else { "ws" };
    let admin = http::bind(config.admin.listen).await?;
    let serving = Serving {
        target: Target { quic: endpoint.local_addr()?, certificate: data.join("certificate.der") },
        fingerprint,
        websocket: format!("{scheme}://{}{WEBSOCKET_PATH}", websocket.local_addr()?),
        websocket_address: websocket.local_addr()?,
        admin: admin.local_addr()?,
        config: serde_json::to_value(&config)?,
    };
    let assembly = Assembly::new(Parts {
        config,
        clock,
        entropy,
        store: store.clone(),
        endpoint,
        websocket,
        websocket_tls,
        admin: Some(admin),
        committing: Committing::Thread,
    })?;
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(assembly.run(async {
        // A dropped sender stops the server too.
        _ = stopped.await;
    }));
    say(&serving)?;
    loop {
        tokio::select! {
            ask = orders.next() => match ask? {
                Some(Ask::Batches) => say(&store.take())?,
                Some(Ask::Stop) | None => break,
            },
            _ = terminated.recv() => break,
        }
    }
    drop(stop);
    served.await??;
    // The directory is ours until nothing writes to it any more.
    drop(directory);
    Ok(())
}

/// The configuration of every server under load.
fn configuration(order: &Order) -> Config {
    let mut config = Config { data_dir: order.data.clone(), ..Config::default() };
    let [quic, websocket, admin] = order.ports.map(|port| SocketAddr::from((order.listen, port)));
    (config.quic.listen, config.websocket.listen, config.admin.listen) = (quic, websocket, admin);
    let mut app = apps::Config {
        keys: [(KEY.into(), Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new(SECRET) })].into(),
        multi_login: MultiLogin::Many,
        ..apps::Config::default()
    };
    config.websocket.tls = order.websocket_tls;
    if order.deep_queue {
        config.quic.queue_target = Duration::ZERO;
    }
    if let Some(idle) = order.idle {
        let idle = Duration::from_secs(idle.into());
        config.session.idle_timeout = idle;
        config.session.write_timeout = idle.min(config.session.write_timeout);
    }
    if let Some(grace) = order.grace {
        config.session.grace = Duration::from_secs(grace.into());
    }
    if !order.default_limits && !order.default_outbox {
        config.session.outbox.lane_items = 64 * 1024;
        config.session.outbox.lane_bytes = ByteSize::mib(16);
    }
    if !order.default_limits {
        app.rates = Rates::all(1_000_000);
        let all = 1_000_000;
        app.rooms.budget = Budget { high: all, normal: all, low: all, lowest: all, ..app.rooms.budget };
        config.quic.connections_max = 1_000_000;
        config.quic.handshakes_max = 100_000;
        config.quic.retry_above = 100_000;
        config.addresses.connections_max = 1_000_000;
        config.addresses.connections_per_second = 1_000_000;
        config.session.free_requests_per_second = 1_000_000;
    }
    config.apps.insert(APP.into(), app);
    config
}
