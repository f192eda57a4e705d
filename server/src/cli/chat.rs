//! `quail chat`: lines in a terminal, to another user or in a room. It shows messages of all kinds and what becomes of them,
//! who comes and goes, and what happens to the connection.

mod input;
mod rooms;
mod session;
mod show;

use std::{fmt, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use futures_util::{StreamExt, stream::FuturesOrdered};
use quail_client::{CarrierKind, Client, State, TokenError, Trust};
use quail_protocol::id::{AppId, UserId};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin};

use self::{input::Input, session::Chat};
use super::{DataDir, token};
use crate::{
    config::{DEVELOPMENT_APP, DEVELOPMENT_KEY},
    data,
};

/// Lines on their way; a connection that is being made again must not stop the show.
const SENDS_MAX: usize = 32;

/// Flags of `chat`.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Who you are.
    #[arg(long = "as", value_name = "USER")]
    user: UserId,
    /// Whom you talk to.
    #[arg(long, value_name = "USER")]
    to: UserId,
    /// What carries the frames.
    #[arg(long, value_enum, default_value_t = Carrier::Quic)]
    carrier: Carrier,
    /// The server, if it is not the development server of the data directory: HOST:PORT, or ws://… or wss://… for WebSocket.
    #[arg(long, value_name = "ADDRESS", requires = "token_file")]
    server: Option<String>,
    /// The app on that server.
    #[arg(long, default_value = DEVELOPMENT_APP)]
    app: AppId,
    /// File with the login token, which is read at each connect.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// SHA-256 of that server's certificate in hex; without it the certificate must be signed by a public authority.
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    #[command(flatten)]
    data: DataDir,
}

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Carrier {
    /// QUIC.
    Quic,
    /// WebSocket.
    Websocket,
}

/// Chats until the line `/quit`, the end of input, or the end of a connection that does not come back.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let (me, peer_id) = (options.user.clone(), options.to.clone());
    let (client, mut events) = connect(&options).await?;
    let mut chat = Chat::new(client.clone(), client.peer(peer_id.as_str())?);
    say(format_args!("* connected as {me}; a line goes to {peer_id}, /help lists more, /quit leaves"))?;
    let mut states = client.states();
    let mut lines = BufReader::new(stdin()).lines();
    let mut doing = FuturesOrdered::new();
    doing.push_back(chat.act(Input::Unread));
    loop {
        tokio::select! {
            line = next_line(&mut lines), if doing.len() < SENDS_MAX => match line? {
                None => break,
                Some(line) => match Input::parse(&line) {
                    Ok(Input::Quit) => break,
                    Ok(Input::Nothing) => {}
                    Ok(input) => doing.push_back(chat.act(input)),
                    Err(mistake) => say(format_args!("! {mistake}"))?,
                },
            },
            Some(done) = doing.next() => chat.done(done)?,
            Some(event) = events.recv() => chat.event(&event, events.waited())?,
            Some(read) = chat.reading.next() => chat.was_read(read)?,
            Some(state) = states.changed() => {
                say(format_args!("* {}", describe(&state)))?;
                if let State::Disconnected { .. } = state {
                    bail!("the connection ended");
                }
            }
        }
    }
    while let Some(done) = doing.next().await {
        chat.done(done)?;
    }
    client.close().await;
    say(format_args!("* left"))
}

/// Shows a line.
fn say(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    super::print(format_args!("{line}\n"))
}

async fn next_line(lines: &mut Lines<BufReader<Stdin>>) -> anyhow::Result<Option<String>> {
    lines.next_line().await.context("cannot read standard input")
}

async fn connect(options: &Options) -> anyhow::Result<(Client, quail_client::Events)> {
    let development = match &options.server {
        Some(_) => None,
        None => Some(data::read_development(&options.data.data_dir).with_context(|| {
            let directory = options.data.data_dir.display();
            format!("no development server has run in {directory}; start one, or name --server")
        })?),
    };
    // A token that cannot be had is told before anything is connected.
    token_of(options)?;
    let again = options.clone();
    let (address, websocket, fingerprint) = match (&options.server, development) {
        (Some(server), _) => (server.clone(), server.clone(), options.fingerprint.clone()),
        (None, Some(found)) => (found.quic, found.websocket, Some(found.fingerprint)),
        (None, None) => bail!("no server is named"),
    };
    let trust = match fingerprint {
        Some(hex) => Trust::fingerprint(&hex)?,
        None => Trust::WebRoots,
    };
    let (carrier, shown) = match options.carrier {
        Carrier::Quic => (CarrierKind::Quic, address.clone()),
        Carrier::Websocket => (CarrierKind::WebSocket { url: websocket.clone() }, websocket),
    };
    say(format_args!("* connecting to {shown}"))?;
    Client::builder(address)
        .app(options.app.as_str())
        .user(options.user.as_str())
        .token_with(move || {
            let token = token_of(&again).map_err(TokenError::new);
            async { token }
        })
        .trust(trust)
        .carrier(carrier)
        .device(format!("chat-{}", std::process::id()))
        .connect()
        .await
        .with_context(|| format!("cannot connect to {shown}"))
}

fn token_of(options: &Options) -> anyhow::Result<String> {
    match &options.token_file {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(text.trim().to_owned())
        }
        None => {
            let secret = token::development_secret(&options.data)?;
            token::sign(DEVELOPMENT_KEY, &secret, &options.app, &options.user, token::DAY)
        }
    }
}

fn describe(state: &State) -> String {
    match state {
        State::Disconnected { cause } => format!("disconnected: {cause}"),
        State::Reconnecting { cause } => format!("reconnecting: {cause}"),
        other => format!("{other:?}").to_lowercase(),
    }
}
