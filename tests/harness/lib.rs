//! What tests need: a server of their own on free ports, clients of it, and connections that do not keep the rules.

#![allow(clippy::expect_used, reason = "a harness that cannot go on fails its test")]

pub mod check;
pub mod fuzz;
pub mod history;
pub mod power;
pub mod process;
pub mod raw;
pub mod store;
pub mod terminal;
pub mod token;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use quail_client::{Builder, CarrierKind, Client, Events, Trust};
use quail_protocol::{Event, message::Message};
use quail_server::{
    RunError, Server,
    apps::{self, Key, KeyAlgorithm, MultiLogin, Rates, Secret},
    config::Config,
    store::Store,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// App whose rates are out of the way.
pub const FAST: &str = "fast";
/// App with the rates of a default configuration.
pub const STRICT: &str = "strict";
/// Key id of both apps.
pub const KID: &str = "main";
/// Secret of both apps.
pub const SECRET: &str = "a secret of thirty-two bytes or so";

/// Nothing in a test takes longer, or it failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Town {
    /// Where QUIC listens.
    pub quic: SocketAddr,
    /// URL of the WebSocket.
    pub websocket: String,
    /// Where health and metrics are.
    pub admin: SocketAddr,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<Result<(), RunError>>>,
    _data: TempDir,
}

impl Town {
    /// A server with the usual configuration.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose configuration was changed.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::over(change, |store| store).await
    }

    /// A server whose configuration was changed, and whose store stands behind another.
    pub async fn over(
        change: impl FnOnce(&mut Config),
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config { data_dir: data.path().into(), development: true, ..Config::default() };
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        (config.quic.listen, config.websocket.listen, config.admin.listen) = (anywhere, anywhere, anywhere);
        let app = |rates| apps::Config {
            keys: [(KID.into(), Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new(SECRET) })].into(),
            rates,
            multi_login: MultiLogin::Many,
            visitors_max: 1_000_000,
            ..apps::Config::default()
        };
        let fast = Rates::all(1_000_000);
        config.apps.insert(FAST.into(), app(fast));
        config.apps.insert(STRICT.into(), app(Rates::default()));
        // Everybody comes from one address.
        config.addresses.connections_max = 1_000_000;
        config.addresses.connections_per_second = 1_000_000;
        config.addresses.refused_logins_per_second = 1_000_000;
        config.addresses.visitors_max = 1_000_000;
        change(&mut config);

        let server = Server::bind_with(config, wrap).await.expect("a server on free ports");
        let scheme = if server.config().websocket.tls { "wss" } else { "ws" };
        let (stop, stopped) = oneshot::channel();
        Self {
            quic: server.quic_address(),
            websocket: format!("{scheme}://{}/ws", server.websocket_address()),
            admin: server.admin_address(),
            fingerprint: server.fingerprint(),
            certificate: CertificateDer::from(
                std::fs::read(data.path().join("certificate.der")).expect("a development certificate"),
            ),
            stop: Some(stop),
            server: Some(tokio::spawn(server.run(async {
                // A dropped sender stops the server too.
                _ = stopped.await;
            }))),
            _data: data,
        }
    }

    /// A client of `user` in the fast app that is not connected yet.
    pub fn client(&self, carrier: Carrier, user: &str) -> Builder {
        self.client_of(carrier, FAST, user)
    }

    /// A client of `user` in `app` that is not connected yet.
    pub fn client_of(&self, carrier: Carrier, app: &str, user: &str) -> Builder {
        Client::builder(self.quic.to_string())
            .app(app)
            .user(user)
            .token(token::Token::new(app, user).sign())
            .trust(Trust::Fingerprint(self.fingerprint))
            .carrier(match carrier {
                Carrier::Quic => CarrierKind::Quic,
                Carrier::WebSocket => CarrierKind::WebSocket { url: self.websocket.clone() },
            })
    }

    /// A visitor of the fast app who is not connected yet.
    pub fn visitor(&self, carrier: Carrier) -> Builder {
        self.client(carrier, "nobody").visitor()
    }

    /// A connected client of `user` in the fast app.
    pub async fn connect(&self, carrier: Carrier, user: &str) -> (Client, Events) {
        within(self.client(carrier, user).connect()).await.expect("a client connects")
    }

    /// Where WebSocket listens.
    pub fn websocket_address(&self) -> SocketAddr {
        let (_, behind) = self.websocket.split_once("://").expect("a URL");
        behind.trim_end_matches("/ws").parse().expect("an address")
    }

    /// How many connections and sessions there are and are to be, as `/metrics` says it.
    pub async fn population(&self) -> Vec<String> {
        let text = self.metrics().await;
        let counts = ["quail_connections{", "quail_connections_arriving{", "quail_sessions "];
        let is_meant =
            |line: &&str| counts.iter().any(|count| line.starts_with(count)) && !line.ends_with(" 0");
        let mut lines: Vec<_> = text.lines().filter(is_meant).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Waits until there are as many connections and sessions as there were.
    pub async fn settles(&self, before: &[String]) {
        let back = async { while self.population().await != before {} };
        if tokio::time::timeout(PATIENCE, back).await.is_err() {
            panic!("there were {before:?} and now {:?}", self.population().await);
        }
    }

    /// Waits until `/metrics` has a line that begins so, and returns what stands behind.
    pub async fn counted(&self, line: &str) -> String {
        let counted = async {
            loop {
                let text = self.metrics().await;
                if let Some(rest) = text.lines().find_map(|found| found.strip_prefix(line)) {
                    break rest.trim().to_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("no {line}"))
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> String {
        let mut tcp = TcpStream::connect(self.admin).await.expect("the admin listener");
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        tcp.write_all(request).await.expect("a request");
        let mut text = String::new();
        within(tcp.read_to_string(&mut text)).await.expect("an answer");
        text
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> u64 {
        self.try_metric(name).await.expect("a metric of this name")
    }

    /// The value of a metric, which is not there before it counts; its labels belong to its name.
    pub async fn try_metric(&self, name: &str) -> Option<u64> {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value?.parse().ok()
    }

    /// Asks the server to stop, and waits until it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let ended = within(server).await.expect("the server ends without a panic");
            ended.expect("the store is well to the end");
        }
    }
}

/// What carries the frames of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC.
    Quic,
    /// WebSocket.
    WebSocket,
}

impl Carrier {
    /// Every carrier.
    pub const ALL: [Self; 2] = [Self::Quic, Self::WebSocket];
}

/// Waits for `future`, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it happened in time")
}

/// The next message a client is told of.
pub async fn next_message(events: &mut Events) -> Message {
    match within(events.recv()).await {
        Some(Event::MessageSent(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}
