//! A server's whole configuration: a file, then environment variables, then flags. Unknown keys are errors.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
};
use quail_protocol::{id::AppId, limits::FRAME_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::{
    addresses, apps, carrier::quic, carrier::websocket, http, session, store::embedded, telemetry, tls,
};

/// Composed of each module's own configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the server keeps its files. Default `quail-data`.
    pub data_dir: PathBuf,
    /// The certificate; required outside of development.
    pub tls: Option<tls::Config>,
    /// The QUIC carrier.
    pub quic: quic::Config,
    /// The WebSocket carrier.
    pub websocket: websocket::Config,
    /// What one client address may take.
    pub addresses: addresses::Config,
    /// Health and metrics.
    pub admin: http::admin::Config,
    /// What logs may show.
    pub telemetry: telemetry::Config,
    /// Deadlines and bounds of sessions.
    pub session: session::Config,
    /// What is kept, and how.
    pub store: StoreConfig,
    /// The apps by id.
    pub apps: BTreeMap<String, apps::Config>,
    /// A self-signed certificate, the app `demo` with a secret of its own, pages of this machine let in. Not for the
    /// internet.
    pub development: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "quail-data".into(),
            tls: None,
            quic: quic::Config::default(),
            websocket: websocket::Config::default(),
            addresses: addresses::Config::default(),
            admin: http::admin::Config::default(),
            telemetry: telemetry::Config::default(),
            session: session::Config::default(),
            store: StoreConfig::default(),
            apps: BTreeMap::new(),
            development: false,
        }
    }
}

/// The store and its engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// `embedded` keeps messages in the data directory, `memory` forgets them when the server ends. Default embedded.
    pub engine: Engine,
    /// The embedded engine.
    pub embedded: embedded::Config,
    /// Go on although acknowledged messages are missing. For one start, by flag.
    #[serde(skip)]
    pub accept_data_loss: bool,
}

/// A storage engine by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// On disk, acks after the sync.
    #[default]
    Embedded,
    /// In memory.
    Memory,
}

/// What the command line says over file and environment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overrides {
    /// Data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Development mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub development: Option<bool>,
    /// UDP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quic: Option<Listen>,
    /// TCP address of the WebSocket carrier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub websocket: Option<Listen>,
    /// TCP address of health and metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Listen>,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Listen {
    listen: SocketAddr,
}

impl From<SocketAddr> for Listen {
    fn from(listen: SocketAddr) -> Self {
        Self { listen }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there.
    #[error("configuration file {0} does not exist")]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("configuration file {0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file is not TOML.
    #[error("configuration file {file}, line {line}: {message}")]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key is unknown or a value is of the wrong kind.
    #[error("configuration: {0}")]
    Invalid(String),
    /// Values do not fit together.
    #[error("configuration: {0}")]
    Inconsistent(String),
}

impl Config {
    /// Loads and checks. Without a file the server is in development mode, unless the environment says otherwise.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(ConfigError::Missing(file.to_owned()));
            }
            check_syntax(file)?;
            figment = figment.merge(Toml::file_exact(file));
        } else {
            figment = figment.merge(Serialized::default("development", true));
        }
        // QUAIL_LOG is the log filter, not a key.
        let environment = Env::prefixed(ENVIRONMENT_PREFIX).ignore(&["log"]).split(ENVIRONMENT_SEPARATOR);
        let config: Self = figment
            .merge(environment)
            .merge(Serialized::defaults(overrides))
            .extract()
            .map_err(|error| ConfigError::Invalid(describe(&error)))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what no single value can show.
    pub fn check(&self) -> Result<(), ConfigError> {
        let inconsistent = |text: String| Err(ConfigError::Inconsistent(text));
        if !self.development {
            if self.tls.is_none() {
                return inconsistent(
                    "tls.certificate and tls.key are needed outside of development mode".into(),
                );
            }
            if self.apps.is_empty() {
                return inconsistent("at least one app is needed outside of development mode".into());
            }
        }
        for (id, app) in &self.apps {
            if let Err(error) = AppId::new(id) {
                return inconsistent(format!("apps.{id}: {error}"));
            }
            if app.keys.is_empty() && !(self.development && id == DEVELOPMENT_APP) {
                return inconsistent(format!("apps.{id}.keys: an app without keys lets nobody in"));
            }
            if app.token_lifetime_max > TOKEN_LIFETIME_MAX {
                return inconsistent(format!("apps.{id}.token_lifetime_max must be at most 3660days"));
            }
            for (kid, key) in &app.keys {
                if key.secret.expose().len() < apps::SECRET_BYTES_MIN {
                    let min = apps::SECRET_BYTES_MIN;
                    return inconsistent(format!(
                        "apps.{id}.keys.{kid}.secret: at least {min} bytes are needed"
                    ));
                }
            }
        }
        let session = &self.session;
        for (name, duration) in [
            ("greeting_timeout", session.greeting_timeout),
            ("idle_timeout", session.idle_timeout),
            ("write_timeout", session.write_timeout),
            ("leave_timeout", session.leave_timeout),
            ("request_timeout", session.request_timeout),
        ] {
            if !(Duration::from_millis(1)..=SESSION_TIMEOUT_MAX).contains(&duration) {
                return inconsistent(format!("session.{name} must be between 1ms and 1day"));
            }
        }
        if self.quic.stream_receive_window.as_u64() == 0 {
            return inconsistent("quic.stream_receive_window must be at least 1B".into());
        }
        if self.websocket.message_bytes_max.as_u64() < MESSAGE_BYTES_MIN {
            return inconsistent(format!(
                "websocket.message_bytes_max must be at least {MESSAGE_BYTES_MIN}B"
            ));
        }
        if self.addresses.ipv4_prefix > 32 || self.addresses.ipv6_prefix > 128 {
            return inconsistent(
                "addresses.ipv4_prefix must be at most 32, addresses.ipv6_prefix at most 128".into(),
            );
        }
        if session.idle_timeout < session.write_timeout {
            return inconsistent("session.idle_timeout must not be below session.write_timeout".into());
        }
        if session.free_requests_per_second == 0 {
            return inconsistent("session.free_requests_per_second must be at least 1".into());
        }
        if session.outbox.lane_items == 0 {
            return inconsistent("session.outbox.lane_items must be at least 1".into());
        }
        Ok(())
    }

    /// The effective configuration as TOML, secrets hidden.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

const ENVIRONMENT_PREFIX: &str = "QUAIL_";
const ENVIRONMENT_SEPARATOR: &str = "__";

/// Says where a file is not TOML. What the TOML reader prints shows the line itself, which may hold a secret.
fn check_syntax(file: &Path) -> Result<(), ConfigError> {
    let text = fs::read_to_string(file).map_err(|error| ConfigError::Unreadable(file.to_owned(), error))?;
    let Err(error) = toml::from_str::<toml::Table>(&text) else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message().replace('\n', ", ");
    Err(ConfigError::Syntax { file: file.to_owned(), line, message })
}

/// One sentence with the key as it was written. It quotes no value: one of them could be a secret.
fn describe(error: &figment::Error) -> String {
    let key = match error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
        Some(source) => format!("{source}: {}", error.path.join(".")),
        None => {
            let path = error.path.join(ENVIRONMENT_SEPARATOR).to_uppercase();
            format!("{ENVIRONMENT_PREFIX}{path}")
        }
    };
    let what = match &error.kind {
        Kind::UnknownField(_, known) => format!("unknown key; known here are {}", known.join(", ")),
        Kind::UnknownVariant(_, known) => format!("expected one of {}", known.join(", ")),
        Kind::MissingField(name) => format!("{name} is missing"),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("expected {expected}"),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "the number is out of range".to_owned(),
        Kind::Message(message) => message.clone(),
        _ => "not usable".to_owned(),
    };
    format!("{key}: {what}")
}

/// The longest deadline of a session: what the wire tells in milliseconds fits 32 bits.
const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest life of a token, ten years and a little.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(3660 * 24 * 3600);

/// The smallest bound on a WebSocket message: the lane's byte and one frame of the largest size with its length.
const MESSAGE_BYTES_MIN: u64 = FRAME_BYTES_MAX as u64 + 4;

/// The app of development mode.
pub const DEVELOPMENT_APP: &str = "demo";

/// The key id of the development app's secret.
pub const DEVELOPMENT_KEY: &str = "development";

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    #[test]
    fn values_that_would_stop_or_break_a_server_are_refused_at_start() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 10] = [
            ("session.free_requests_per_second", |c| c.session.free_requests_per_second = 0),
            ("addresses.ipv4_prefix", |c| c.addresses.ipv4_prefix = 33),
            ("session.greeting_timeout", |c| c.session.greeting_timeout = Duration::ZERO),
            ("session.greeting_timeout", |c| c.session.greeting_timeout = Duration::MAX),
            ("session.idle_timeout", |c| c.session.idle_timeout = Duration::from_secs(50 * 24 * 3600)),
            ("session.idle_timeout", |c| c.session.idle_timeout = Duration::from_secs(1)),
            ("session.outbox.lane_items", |c| c.session.outbox.lane_items = 0),
            ("quic.stream_receive_window", |c| c.quic.stream_receive_window = ByteSize(0)),
            ("websocket.message_bytes_max", |c| c.websocket.message_bytes_max = ByteSize::kib(64)),
            ("apps.demo.token_lifetime_max", |c| {
                c.apps.entry("demo".into()).or_default().token_lifetime_max = Duration::MAX;
            }),
        ];
        for (key, change) in cases {
            let mut config = Config { development: true, ..Config::default() };
            assert!(config.check().is_ok());
            change(&mut config);
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(key), "{key}: {refused}");
        }
    }
}
