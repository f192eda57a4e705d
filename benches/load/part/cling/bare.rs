//! A bare connection that clings, with the waits of a client of Quail.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use quail_server::session;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{Order, Passage};
use crate::{cpu, weather::uniform};

/// How long a try may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest waits before tries, in seconds, as the client has them by default. The last one holds for all that follow.
const LONGEST_WAITS: [f64; 6] = [1.0, 2.0, 6.0, 12.0, 20.0, 36.0];

/// See the module.
pub(super) struct Bare {
    socket: Endpoint,
    config: ClientConfig,
    order: Order,
    number: u32,
    /// How long those wait at most who were told that the server goes.
    spread: Duration,
    hurry: Notify,
    passage: Mutex<Passage>,
}

impl Bare {
    /// Makes the connection at `index` of `all`.
    pub(super) async fn come(
        order: &Order,
        index: u32,
        all: u32,
        config: &ClientConfig,
        sockets: &[Endpoint],
    ) -> anyhow::Result<Arc<Self>> {
        let socket = sockets.get((index / order.crowd.per_socket) as usize).context("a socket")?.clone();
        let bare = Arc::new(Self {
            socket,
            config: config.clone(),
            order: order.clone(),
            number: order.crowd.first + index,
            spread: session::Config::default().spread_of_return(all as usize),
            hurry: Notify::new(),
            passage: Mutex::new(Passage::new(false)),
        });
        let connection = bare.connect().await?;
        tokio::spawn(bare.clone().cling(connection));
        Ok(bare)
    }

    pub(super) fn passage(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does not wait any longer.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let target = self.order.crowd.target.quic;
        let connecting = self.socket.connect_with(self.config.clone(), target, "127.0.0.1")?;
        Ok(timeout(CONNECT_TIMEOUT, connecting).await??)
    }

    async fn cling(self: Arc<Self>, mut connection: Connection) {
        let mut random = u64::from(self.number) << 32;
        let mut part_of = |longest: f64| {
            random += 1;
            Duration::from_secs_f64(longest * uniform(random))
        };
        loop {
            let why = connection.closed().await;
            self.passage().trouble(cpu::since_boot());
            let mut wait = Duration::ZERO;
            if matches!(why, ConnectionError::ApplicationClosed(_)) {
                wait = part_of(self.spread.as_secs_f64());
            }
            let waits = LONGEST_WAITS.into_iter().chain(std::iter::repeat(LONGEST_WAITS[5]));
            for longest in waits {
                tokio::select! {
                    () = sleep(wait + part_of(longest)) => {}
                    () = self.hurry.notified() => {}
                }
                wait = Duration::ZERO;
                match self.connect().await {
                    Ok(again) => {
                        connection = again;
                        break;
                    }
                    Err(_) => self.passage().trouble(cpu::since_boot()),
                }
            }
            self.passage().connected(cpu::since_boot());
        }
    }
}
