//! `quail token`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use quail_protocol::id::{AppId, UserId};

use super::DataDir;
use crate::{
    apps::{self, Secret},
    clock::Clock,
    config::{Config, DEVELOPMENT_APP, DEVELOPMENT_KEY, Overrides},
    data,
    domain::token::Claims,
};

/// Flags of `token`.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The user who will log in.
    #[arg(long)]
    user: UserId,
    /// The app.
    #[arg(long, default_value = DEVELOPMENT_APP)]
    app: AppId,
    /// The key that signs, by its id; the app's first if not given.
    #[arg(long)]
    key: Option<String>,
    /// How long the token holds.
    #[arg(long, default_value = "24h", value_parser = parse_duration)]
    lifetime: Duration,
    /// The server's configuration file; without one the development secret of the data directory signs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    data: DataDir,
}

/// How long the tokens hold that `chat` makes for itself.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Prints a token.
pub fn run(options: Options) -> anyhow::Result<()> {
    let (kid, secret) = match &options.config {
        Some(file) => configured_key(&options, file)?,
        None => {
            if options.app.as_str() != DEVELOPMENT_APP {
                bail!("app {} needs --config: only {DEVELOPMENT_APP} has a development secret", options.app);
            }
            (DEVELOPMENT_KEY.to_owned(), development_secret(&options.data)?)
        }
    };
    let token = sign(&kid, &secret, &options.app, &options.user, options.lifetime)?;
    super::print(format_args!("{token}\n"))
}

/// A token of `user` for `app`.
pub(super) fn sign(
    kid: &str,
    secret: &Secret,
    app: &AppId,
    user: &UserId,
    lifetime: Duration,
) -> anyhow::Result<String> {
    let now = Clock::system().timestamp().seconds();
    let claims = Claims {
        sub: Some(user.as_str().into()),
        aud: Some(app.as_str().into()),
        iat: Some(now),
        exp: Some(now.saturating_add(lifetime.as_secs())),
        nbf: None,
    };
    apps::sign(kid, secret, &claims).context("cannot sign the token")
}

/// The development secret, or a sentence that says how to get one.
pub(super) fn development_secret(data: &DataDir) -> anyhow::Result<Secret> {
    data::development_secret(&data.data_dir).with_context(|| {
        let directory = data.data_dir.display();
        format!("no development secret in {directory}; start a development server there first")
    })
}

fn configured_key(options: &Options, file: &std::path::Path) -> anyhow::Result<(String, Secret)> {
    let config = Config::load(Some(file), Overrides::default())?;
    let app = config.apps.get(options.app.as_str()).with_context(|| format!("no app {}", options.app))?;
    let (kid, key) = match &options.key {
        Some(kid) => {
            app.keys.get_key_value(kid).with_context(|| format!("app {} has no key {kid}", options.app))?
        }
        None => app.keys.first_key_value().with_context(|| format!("app {} has no key", options.app))?,
    };
    Ok((kid.clone(), key.secret.clone()))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text).map_err(|error| error.to_string())
}
