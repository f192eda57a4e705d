//! A server as the sum of its parts, wherever they come from: [`crate::Server`] opens files and sockets for them, a
//! simulation hands in others.

mod accept;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use quail_protocol::{
    Close, Seq, Timestamp,
    id::AppId,
    limits::{DEDUP_WINDOW_MS, HISTORY_BYTES_MAX, RECENT_MAX},
    message::Direction,
};
use quinn::{Endpoint, VarInt};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    BindError, RunError,
    addresses::Addresses,
    apps::{self, Seats},
    clock::Clock,
    config::{Config, ConfigError},
    connections::Connections,
    context::Shared,
    domain::resume::Head,
    entropy::Entropy,
    http::{self, Listener},
    hub::{Hub, fanout::FanOut, rooms::Rooms},
    router::Router,
    services,
    store::{self, RangeQuery, Store, StoreError, commit::Committer},
    telemetry::Metrics,
};

/// What a server is made of.
pub struct Parts<L> {
    /// The apps, and the bounds of everything. Addresses, files and certificates in it are not looked at.
    pub config: Config,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// Where QUIC connections come from; [`crate::carrier::quic::settings`] has what it is made with.
    pub endpoint: Endpoint,
    /// Where WebSocket connections come from.
    pub websocket: L,
    /// The TLS that they speak, if any; [`crate::tls::Identity::websocket`] makes it.
    pub websocket_tls: Option<Arc<rustls::ServerConfig>>,
    /// Where health and metrics are asked for, if anywhere.
    pub admin: Option<TcpListener>,
    /// Where the committer runs.
    pub committing: Committing,
}

/// Where the committer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committing {
    /// On a thread of its own: for engines that block.
    Thread,
    /// As a task of the runtime, which then decides about every order of events.
    Task,
}

/// A server that can run.
pub struct Assembly<L> {
    pub(crate) config: Config,
    pub(crate) endpoint: Endpoint,
    pub(crate) websocket: L,
    websocket_tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) admin: Option<TcpListener>,
    shared: Arc<Shared>,
    router: Arc<Router>,
    committing: Committing,
}

/// How often users and addresses are forgotten that are gone.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often rooms tell what has waited for its time.
const ROOM_NEWS_INTERVAL: Duration = Duration::from_millis(250);

/// How often rooms end whose time is over.
const ROOM_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often the store forgets duplicates that are refused as stale anyway.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);

impl<L: Listener> Assembly<L> {
    /// Puts the parts together.
    pub fn new(parts: Parts<L>) -> Result<Self, BindError> {
        let Parts { config, clock, entropy, store, endpoint, websocket, websocket_tls, admin, committing } =
            parts;
        let router = services::routes();
        let missing = router.missing();
        if !missing.is_empty() {
            return Err(BindError::Unserved(missing));
        }
        let metrics = Metrics::new();
        let whole = config.telemetry.full_addresses;
        let addresses = Addresses::new(config.addresses.clone(), whole, entropy.hasher(), metrics.clone());
        let committer = Committer::default();
        let shared = Shared {
            apps: apps_by_id(&config)?,
            seats: Seats::default(),
            visitor_seats: Seats::default(),
            addresses: Arc::new(addresses),
            clock,
            hub: Arc::new(Hub::new(entropy.hasher())),
            rooms: Arc::new(Rooms::new(entropy.hasher(), committer.clone(), metrics.clone())),
            store,
            entropy,
            committer,
            metrics,
            session: config.session.clone(),
        };
        let (shared, router) = (Arc::new(shared), Arc::new(router));
        Ok(Self { config, endpoint, websocket, websocket_tls, admin, shared, router, committing })
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.shared.metrics.clone()
    }

    /// Serves until `stop` is ready, then tells every client, gives them a moment, and closes.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let (drain, draining) = watch::channel(false);
        let (alive, mut all_gone) = mpsc::channel(1);
        let connections = Connections::new(self.shared.clone(), self.router.clone(), &alive);
        let door = http::public::Door {
            config: Arc::new(self.config.websocket.clone()),
            tls: self.websocket_tls.map(Into::into),
            development: self.config.development,
            request_timeout: self.config.session.greeting_timeout,
            connections: connections.clone(),
            shared: self.shared.clone(),
        };
        let stage = FanOut {
            hub: self.shared.hub.clone(),
            rooms: self.shared.rooms.clone(),
            store: self.shared.store.clone(),
            metrics: self.shared.metrics.clone(),
        };

        let mut committing = commit(self.shared.clone(), stage, self.committing);
        restore_rooms(&self.shared).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(sweep(self.shared.clone()));
        let quic = self.config.quic.clone();
        tasks.spawn(accept::accept(self.endpoint.clone(), quic, connections.clone(), self.shared.clone()));
        tasks.spawn(http::public::serve(self.websocket, door, draining.clone()));
        if let Some(admin) = self.admin {
            tasks.spawn(http::serve(admin, http::admin::routes(self.shared.metrics.clone()), draining));
        }

        let mut committed = None;
        let mut task_ended = false;
        tokio::select! {
            // In order, so that a simulation repeats itself.
            biased;
            () = stop => {}
            ended = &mut committing => committed = Some(ended),
            // A task that every connection needs has ended: better to end loudly than to live on half dead.
            ended = tasks.join_next() => {
                tracing::error!(?ended, "a task of the server ended; stopping");
                task_ended = true;
            }
        }
        tracing::info!("draining");
        self.shared.rooms.close();
        _ = drain.send(true);
        connections.drain();
        drop(alive);
        // The receiver ends when the last connection gave its sender back.
        _ = all_gone.recv().await;
        self.endpoint.close(VarInt::from_u32(Close::Draining.number().into()), b"");
        tasks.abort_all();
        // QUIC remembers a connection whose way was broken for long, and for its client's sake need not.
        _ = timeout(self.config.session.leave_timeout, self.endpoint.wait_idle()).await;
        self.shared.committer.close();
        let committed = match committed {
            Some(ended) => ended,
            None => committing.await,
        };
        tracing::info!("stopped");
        // Without an answer the committer panicked.
        committed.map_err(|_| RunError::TaskEnded)??;
        if task_ended { Err(RunError::TaskEnded) } else { Ok(()) }
    }
}

fn apps_by_id(config: &Config) -> Result<BTreeMap<AppId, apps::Config>, ConfigError> {
    let by_id = |(id, app): (&String, &apps::Config)| match AppId::new(id) {
        Ok(id) => Ok((id, app.clone())),
        Err(error) => Err(ConfigError::Inconsistent(format!("apps.{id}: {error}"))),
    };
    config.apps.iter().map(by_id).collect()
}

/// Makes the rooms that were there when the server ended.
async fn restore_rooms(shared: &Shared) -> Result<(), RunError> {
    let kept = shared.store.rooms().await?;
    let config = |app: &AppId| shared.apps.get(app).map(|app| app.rooms.clone());
    let restored = shared.rooms.restore(kept, config, shared.moment()).map_err(StoreError::new)?;
    // If it cannot be written, the committer has ended and the server ends with it.
    let stored = restored.kept().await.unwrap_or_default();
    let heads = shared.store.heads(&stored).await?;
    for (key, head) in stored.iter().zip(heads) {
        let store::Head { position, last_by_priority, first, rev, .. } = head;
        let newest = RangeQuery {
            from: Seq(0),
            to: position.seq,
            entries_max: RECENT_MAX,
            bytes_max: HISTORY_BYTES_MAX,
            direction: Direction::Backwards,
        };
        let newest = shared.store.read_range(key, newest).await?.messages;
        shared.rooms.go_on(key, Head { position, last_by_priority, first, rev }, newest);
    }
    Ok(())
}

/// Starts the committer, and tells when it ended.
fn commit(
    shared: Arc<Shared>,
    stage: FanOut,
    committing: Committing,
) -> oneshot::Receiver<Result<(), StoreError>> {
    let (ended, wait) = oneshot::channel();
    let run = async move {
        let committed = shared.committer.clone().run(shared.store.clone(), stage, shared.clock).await;
        // Nobody listens when the server was dropped.
        _ = ended.send(committed);
    };
    match committing {
        Committing::Task => drop(tokio::spawn(run)),
        Committing::Thread => {
            let runtime = tokio::runtime::Handle::current();
            let run = move || runtime.block_on(run);
            // Without a thread the sender is dropped, which ends the server.
            _ = std::thread::Builder::new().name("quail-committer".into()).spawn(run);
        }
    }
    wait
}

async fn sweep(shared: Arc<Shared>) {
    let mut often = tokio::time::interval(SWEEP_INTERVAL);
    let mut seldom = tokio::time::interval(FORGET_INTERVAL);
    let mut news = tokio::time::interval(ROOM_NEWS_INTERVAL);
    let mut rooms = tokio::time::interval(ROOM_SWEEP_INTERVAL);
    loop {
        tokio::select! {
            biased;
            _ = often.tick() => {
                shared.hub.sweep(shared.clock.now());
                shared.addresses.sweep(shared.clock.now());
            }
            _ = news.tick() => shared.rooms.tell_pending(shared.moment()),
            _ = rooms.tick() => shared.rooms.sweep(shared.moment()),
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
