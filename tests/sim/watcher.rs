//! A terminal that speaks the wire itself, over WebSocket: it comes and goes, asks with cursors of its own what it
//! missed, and reads that in the history. It writes down what it is told of each cursor.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use quail_protocol::{
    Conversation, Epoch, Lane, Operation, Position, Rev, Seq,
    bounded::{List, Text},
    frame::{self, Decoder, Frame, Head, Outcome},
    id::{AppId, DeviceId, RoomId, UserId},
    limits::FRAME_BYTES_MAX,
    message::{Direction, History},
    session::{Cursor, Login, Missed, Platform, Resume, ResumeToken},
    version::{REVISION, WEBSOCKET_SUBPROTOCOL},
};
use quail_tests::{
    FAST,
    history::{Answer, Thread, What},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    network::Tcp,
    plan::Watcher,
    town::{Town, WEBSOCKET_PORT, entry, token},
};

/// How often it looks for what is new.
const LOOK: Duration = Duration::from_millis(1500);

/// Entries of one page.
const PAGE: u16 = 50;

/// A room that nobody is in.
const ROOM: &str = "nowhere";

/// Why a connection is no more.
type Lost = Box<dyn Error + Send + Sync>;

/// What the app keeps from one connection to the next.
struct App {
    town: Arc<Town>,
    watcher: Watcher,
    rng: StdRng,
    key: Option<ResumeToken>,
    logged_in: bool,
    /// The last request id of the session.
    asked: u32,
    /// Up to where it has everything, by the other user.
    cursors: BTreeMap<UserId, Position>,
}

/// The life of a watcher.
pub(crate) async fn watch(town: Arc<Town>, watcher: Watcher) {
    let users = town.plan.devices.iter().map(|device| &device.name.user);
    let start = Position { epoch: Epoch(1), seq: Seq(0) };
    let cursors =
        users.filter(|user| **user != watcher.name.user).map(|user| (user.clone(), start)).collect();
    let rng = StdRng::seed_from_u64(town.plan.seed ^ (watcher.number as u64) << 40);
    sleep(watcher.opens).await;
    let mut app = App { town, watcher, rng, key: None, logged_in: false, asked: 0, cursors };
    loop {
        // However a connection ends, another follows.
        _ = app.visit().await;
        app.town.diary().connected[app.watcher.number] = false;
        if std::mem::take(&mut app.logged_in) {
            app.town.record(Some(&app.watcher.name), What::Disconnected);
        }
        let left = app.town.plan.length.saturating_sub(turmoil::sim_elapsed().unwrap_or_default());
        let away = app.watcher.is_away.min(left + Duration::from_secs(1));
        sleep(away.mul_f64(app.rng.random_range(0.1..1.0))).await;
    }
}

impl App {
    /// Nothing is broken any more: it stays.
    fn is_over(&self) -> bool {
        turmoil::sim_elapsed().unwrap_or_default() >= self.town.plan.length
    }

    /// One connection.
    async fn visit(&mut self) -> Result<(), Lost> {
        let mut wire = self.connect().await?;
        let greeted = timeout(self.town.plan.call_timeout, wire.request(1, &self.login()?)).await?;
        let login = greeted.inspect_err(|_| self.key = None)?;
        if !login.resumed {
            self.asked = 1;
        }
        self.key = Some(login.resume_token);
        self.town.logged_in(&self.watcher.name, login.session, login.resumed);
        self.logged_in = true;
        self.catch_up(&mut wire, true).await?;
        let leaves = Instant::now() + self.watcher.stays.mul_f64(self.rng.random_range(0.2..1.0));
        while self.is_over() || Instant::now() < leaves {
            let next = Instant::now() + LOOK;
            let next = if self.is_over() { next } else { next.min(leaves) };
            // What is told unasked is in the history too.
            while let Ok(said) = timeout_at(next, wire.next()).await {
                said?;
            }
            if self.is_over() || self.watcher.keen && next < leaves {
                let over = self.is_over();
                self.catch_up(&mut wire, false).await?;
                self.town.diary().connected[self.watcher.number] = over;
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Wire, Lost> {
        let address = format!("{}:{WEBSOCKET_PORT}", turmoil::lookup("server"));
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        let subprotocol = HeaderValue::from_static(WEBSOCKET_SUBPROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        let connecting = async {
            let tcp = self.town.network.connect(self.watcher.number, address).await?;
            Ok::<_, Lost>(client_async(request, tcp).await?.0)
        };
        let socket = timeout(self.town.plan.call_timeout, connecting).await??;
        Ok(Wire { socket: Box::new(socket), decoder: Decoder::new(FRAME_BYTES_MAX) })
    }

    fn login(&self) -> Result<Login, Lost> {
        let user = &self.watcher.name.user;
        Ok(Login {
            revision: REVISION,
            app: AppId::new(FAST)?,
            user: user.clone(),
            token: Text::new(token(user.as_str()))?,
            name: None,
            avatar: None,
            device: DeviceId::new(&self.watcher.name.name)?,
            platform: Platform::Bot,
            client: Text::new("watcher")?,
            stream_window_bytes: 0,
            streams_per_lane: 1,
            conversations: 0,
            resume: self.key,
        })
    }

    async fn ask<O: Operation>(&mut self, wire: &mut Wire, operation: &O) -> Result<O::Reply, Lost> {
        self.asked += 1;
        timeout(self.town.plan.call_timeout, wire.request(self.asked, operation)).await?
    }

    /// Asks what was missed, and reads it. Only the answers after a `login` are written down: others are looks.
    async fn catch_up(&mut self, wire: &mut Wire, login: bool) -> Result<(), Lost> {
        let cursors: Vec<_> = self.cursors.iter().map(|(peer, position)| (peer.clone(), *position)).collect();
        let mut asked: Vec<_> = cursors
            .iter()
            .map(|(peer, position)| cursor(Conversation::Peer(peer.clone()), *position))
            .collect();
        let nothing = Position { epoch: Epoch(1), seq: Seq(0) };
        asked.extend(login.then(|| RoomId::new(ROOM)).transpose()?.map(|room| {
            // A room of no one.
            cursor(Conversation::Room(room), nothing)
        }));
        let rooms = login.then(|| UserId::new(ROOM)).transpose()?.map(|room| (room, nothing));
        let answers = self.ask(wire, &Resume { cursors: List::new(asked)? }).await?.answers.into_vec();
        let mut missing = Vec::new();
        for ((peer, cursor), told) in cursors.into_iter().chain(rooms).zip(answers) {
            let thread = Thread::of(&self.watcher.name.user, &peer);
            let answer = match told.missed {
                Missed::CaughtUp => Answer::CaughtUp,
                Missed::Replay => Answer::Replay,
                Missed::Trimmed => Answer::Trimmed,
                Missed::EpochChanged => Answer::EpochChanged,
                Missed::NotMember => Answer::NotMember,
                other => return Err(format!("no answer: {other:?}").into()),
            };
            if login {
                let thread = thread.clone();
                self.record(What::Resumed { thread, cursor, head: told.head, answer });
            }
            match answer {
                Answer::CaughtUp | Answer::NotMember => {}
                Answer::EpochChanged => self.lose(&peer, told.head, answer),
                Answer::Trimmed => {
                    let before = Position { seq: Seq(told.first.0.saturating_sub(1)), ..cursor };
                    self.lose(&peer, before, answer);
                    missing.push(peer);
                }
                Answer::Replay => missing.push(peer),
            }
        }
        for peer in missing {
            self.read(wire, peer).await?;
        }
        Ok(())
    }

    /// What stands up to `through` and was not read is not to be had.
    fn lose(&mut self, peer: &UserId, through: Position, answer: Answer) {
        self.cursors.insert(peer.clone(), through);
        let thread = Thread::of(&self.watcher.name.user, peer);
        self.record(What::Gap { thread, through, answer });
    }

    /// Reads a thread from its cursor on.
    async fn read(&mut self, wire: &mut Wire, peer: UserId) -> Result<(), Lost> {
        loop {
            let Some(cursor) = self.cursors.get(&peer).copied() else { return Ok(()) };
            let conversation = Conversation::Peer(peer.clone());
            let (from, to) = (cursor.seq.next(), Seq((1 << 53) - 1));
            let page = self
                .ask(wire, &History { conversation, from, to, limit: PAGE, direction: Direction::Forwards })
                .await?;
            if page.head.epoch != cursor.epoch {
                self.lose(&peer, page.head, Answer::EpochChanged);
                return Ok(());
            }
            if page.first > from {
                let before = Position { seq: Seq(page.first.0 - 1), ..cursor };
                self.lose(&peer, before, Answer::Trimmed);
            }
            for message in page.messages.into_vec() {
                let (thread, entry) = entry(&message);
                self.cursors.insert(peer.clone(), entry.position);
                self.record(What::Received { thread, entry });
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    fn record(&self, what: What) {
        self.town.record(Some(&self.watcher.name), what);
    }
}

fn cursor(conversation: Conversation, position: Position) -> Cursor {
    Cursor { conversation, position, ahead: List::default(), rev: Rev(0) }
}

/// A connection.
struct Wire {
    socket: Box<WebSocketStream<Tcp>>,
    decoder: Decoder,
}

impl Wire {
    async fn request<O: Operation>(&mut self, request_id: u32, operation: &O) -> Result<O::Reply, Lost> {
        let head = Head::Request { request_id, opcode: O::INFO.opcode };
        let message = [&[Lane::Control.tag()], &*frame::encode(&head, operation)].concat();
        self.socket.send(Message::Binary(message.into())).await?;
        loop {
            let Frame { head, body } = self.next().await?;
            match head {
                Head::Reply { request_id: id, outcome } if id == request_id => match outcome {
                    Outcome::Ok => return Ok(frame::decode(&body)?),
                    Outcome::Reject(reject) => return Err(reject.to_string().into()),
                },
                _ => {}
            }
        }
    }

    /// The next frame of any lane. Cancel safe.
    async fn next(&mut self) -> Result<Frame, Lost> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(frame);
            }
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => self.decoder.extend(&bytes[1..]),
                Some(Ok(Message::Close(_))) | None => return Err("closed".into()),
                Some(message) => _ = message?,
            }
        }
    }
}
