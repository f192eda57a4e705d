//! A server in a process of its own, which can be killed.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use quail_client::{Builder, CarrierKind, Client, Trust};
use quail_server::{
    apps,
    config::{DEVELOPMENT_APP, DEVELOPMENT_KEY},
    data,
};

use crate::{Carrier, token::Token};

/// A running server process; killed when dropped.
pub struct Process {
    child: Child,
    data: PathBuf,
    /// Where QUIC listens.
    pub quic: SocketAddr,
    /// Where WebSocket listens.
    pub websocket: SocketAddr,
}

impl Process {
    /// Starts `binary` in development mode on `data`, with rates out of the way.
    pub fn start(binary: &Path, data: &Path) -> Self {
        Self::start_at(binary, data, [SocketAddr::from(([127, 0, 0, 1], 0)); 2], "")
    }

    /// The same with QUIC and WebSocket on these addresses, and with more lines of configuration.
    pub fn start_at(binary: &Path, data: &Path, [quic, websocket]: [SocketAddr; 2], more: &str) -> Self {
        let config = data.with_extension("toml");
        let rates =
            format!("[apps.{DEVELOPMENT_APP}.rates]\ntext = 1000000\nquery = 1000000\nchange = 1000000\n");
        // Everybody comes from one address.
        let addresses = "[addresses]\nconnections_max = 1000000\nconnections_per_second = 1000000\n";
        std::fs::write(&config, rates + addresses + more).expect("a configuration file");
        let mut child = Command::new(binary)
            .args([
                "serve",
                "--dev",
                "--quic",
                &quic.to_string(),
                "--websocket",
                &websocket.to_string(),
                "--admin",
                "127.0.0.1:0",
            ])
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(data)
            .env("QUAIL_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut announced = |label: &str, end: &str| -> SocketAddr {
            lines
                .find_map(|line| line.trim().strip_prefix(label)?.trim().strip_suffix(end)?.parse().ok())
                .expect("the server says where it listens")
        };
        let (quic, websocket) = (announced("QUIC", "/udp"), announced("WebSocket", "/tcp"));
        // The rest of the announcement must be read, or writing it would fail.
        lines.find(|line| line.contains("bob --to alice")).expect("the announcement ends");
        Self { child, data: data.to_owned(), quic, websocket }
    }

    /// A client of `user` that is not connected yet.
    pub fn client(&self, user: &str) -> Builder {
        let development = data::read_development(&self.data).expect("a development server");
        Client::builder(self.quic.to_string())
            .app(DEVELOPMENT_APP)
            .user(user)
            .token(self.token(user))
            .trust(Trust::fingerprint(&development.fingerprint).expect("a fingerprint"))
    }

    /// A client of `user` over this carrier.
    pub fn client_over(&self, carrier: Carrier, user: &str) -> Builder {
        self.client(user).carrier(match carrier {
            Carrier::Quic => CarrierKind::Quic,
            Carrier::WebSocket => CarrierKind::WebSocket { url: format!("ws://{}/ws", self.websocket) },
        })
    }

    /// A token for `user`.
    pub fn token(&self, user: &str) -> String {
        let secret = data::development_secret(&self.data).expect("a development secret");
        let claims = Token::new(DEVELOPMENT_APP, user).claims;
        apps::sign(DEVELOPMENT_KEY, &secret, &claims).expect("a token can be signed")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as an operator does, and waits until it has.
    pub fn stop(mut self) {
        let asked = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill runs").success());
        assert!(self.child.wait().expect("a child").success(), "it ends well");
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("the server was running");
        self.child.wait().expect("a child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
