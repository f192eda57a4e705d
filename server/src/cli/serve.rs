//! `quail serve`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;

use crate::{
    Server,
    config::{Config, ConfigError, Engine, Overrides},
    data::hex,
    telemetry,
};

/// Flags of `serve` and `check-config`; they hold over environment and file.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Configuration file. Without one the server runs in development mode.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Development mode even with a configuration file.
    #[arg(long)]
    dev: bool,
    /// Where the server keeps its files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// UDP address for QUIC.
    #[arg(long, value_name = "ADDRESS")]
    quic: Option<SocketAddr>,
    /// TCP address for WebSocket.
    #[arg(long, value_name = "ADDRESS")]
    websocket: Option<SocketAddr>,
    /// TCP address for health and metrics.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Start although acknowledged messages are missing; the store as it is will be kept beside it.
    #[arg(long)]
    accept_data_loss: bool,
}

impl Options {
    /// The configuration in force.
    pub fn config(self) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            data_dir: self.data_dir,
            development: self.dev.then_some(true),
            quic: self.quic.map(Into::into),
            websocket: self.websocket.map(Into::into),
            admin: self.admin.map(Into::into),
        };
        let mut config = Config::load(self.config.as_deref(), overrides)?;
        config.store.accept_data_loss = self.accept_data_loss;
        Ok(config)
    }
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    telemetry::log_to_stderr().map_err(anyhow::Error::msg)?;
    let server = Server::bind(options.config()?).await?;
    // Whoever reads the announcement may send a signal at once.
    let stop = stop_signal()?;
    announce(&server);
    server.run(stop).await?;
    Ok(())
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn announce(server: &Server) {
    // A server whose standard output nobody reads serves on.
    _ = super::print(format_args!("{}", announcement(server)));
}

fn announcement(server: &Server) -> String {
    let mut text = format!(
        "quail {version}
  QUIC       {quic}/udp
  WebSocket  {websocket}/tcp
  metrics    http://{admin}/metrics
  data       {data}
  certificate SHA-256 {fingerprint}
",
        version = env!("CARGO_PKG_VERSION"),
        quic = server.quic_address(),
        websocket = server.websocket_address(),
        admin = server.admin_address(),
        data = server.data_directory().display(),
        fingerprint = hex(&server.fingerprint()),
    );
    if server.config().store.engine == Engine::Memory {
        text += "  messages are kept in memory only and are gone when the server stops\n";
    }
    if server.config().development {
        let chat = format!("{} chat{}", program(), data_dir_flag(server));
        text += &format!(
            "
DEVELOPMENT MODE: self-signed certificate, app \"demo\". Not for the internet.
Chat between two terminals:
  {chat} --as alice --to bob
  {chat} --as bob --to alice
"
        );
    }
    text
}

/// How to type this program's name here.
fn program() -> String {
    let Ok(executable) = std::env::current_exe() else { return "quail".into() };
    let here = std::env::current_dir().unwrap_or_default();
    match executable.strip_prefix(&here) {
        // A bare name would be looked for elsewhere.
        Ok(inside) if inside.components().count() == 1 => quoted(&Path::new(".").join(inside)),
        Ok(inside) => quoted(inside),
        Err(_) => quoted(&executable),
    }
}

fn data_dir_flag(server: &Server) -> String {
    if server.config().data_dir == Config::default().data_dir {
        String::new()
    } else {
        format!(" --data-dir {}", quoted(server.data_directory()))
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
