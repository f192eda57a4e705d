//! All a handler may touch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quail_protocol::{Code, Reject, id::AppId};
use tokio::sync::oneshot;

use crate::{
    addresses::Addresses,
    apps::{self, Seats},
    clock::Clock,
    domain::room::Asker,
    entropy::Entropy,
    hub::{
        Draw, Hub,
        fanout::{Reply, Ticket},
        rooms::{Now, Rooms},
    },
    session::{self, Identity, Session},
    store::{
        Store, Write,
        commit::{Committer, Submission},
    },
    telemetry::Metrics,
};

/// How long those who write are told to wait when the commit queue is full.
const COMMIT_QUEUE_RETRY: Duration = Duration::from_secs(1);

/// What all connections of a server share.
pub struct Shared {
    /// The apps by id.
    pub apps: BTreeMap<AppId, apps::Config>,
    /// Sessions of each app.
    pub seats: Seats,
    /// Visitors of each app.
    pub visitor_seats: Seats,
    /// What each client address takes.
    pub addresses: Arc<Addresses>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Who is online.
    pub hub: Arc<Hub>,
    /// The rooms that are live.
    pub rooms: Arc<Rooms>,
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// Where messages get their order.
    pub committer: Committer<Ticket>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Deadlines and bounds of sessions.
    pub session: session::Config,
}

impl Shared {
    /// The app of this id.
    pub fn app(&self, app: &AppId) -> Result<&apps::Config, Reject> {
        self.apps.get(app).ok_or(Code::AppUnknown.into())
    }

    /// This moment.
    pub fn moment(&self) -> Now {
        Now { time: self.clock.timestamp(), instant: self.clock.now() }
    }

    /// Queues a write for the committer, which answers; refuses it at once when too many wait.
    pub fn submit(&self, write: Write, ticket: Ticket) {
        if let Err(refused) = self.committer.submit(Submission { write, ticket }) {
            refused.ticket.refuse(self.with_wait(Code::Unavailable.into()));
        }
    }

    /// A refusal as it goes out: if too much waits, with the time to wait.
    pub fn with_wait(&self, reject: Reject) -> Reject {
        if reject.code != Code::Unavailable || reject.retry_after_ms.is_some() {
            return reject;
        }
        let wait = self.entropy.jittered(COMMIT_QUEUE_RETRY);
        Reject { retry_after_ms: Some(wait.as_millis() as u32), ..reject }
    }

    /// Queues a write of `sender`, a session that need not be logged in yet, and returns when it is kept.
    pub async fn write(&self, sender: &Arc<Session>, app: &AppId, write: Write) -> Result<(), Reject> {
        let (reply, written) = oneshot::channel();
        let ticket =
            Ticket::Session { app: app.clone(), sender: sender.clone(), reply: Reply::Handler(reply) };
        self.submit(write, ticket);
        // Without an answer the committer is gone.
        written.await.unwrap_or(Err(Code::Unavailable.into()))
    }
}

#[cfg(test)]
impl Shared {
    /// A server of `time` with nothing in it, whose committer has not begun.
    pub(crate) fn empty(time: quail_protocol::Timestamp) -> Self {
        let entropy = Entropy::seeded(1);
        let metrics = Metrics::new();
        let config = crate::addresses::Config::default();
        let committer = Committer::default();
        Self {
            apps: BTreeMap::new(),
            seats: Seats::default(),
            visitor_seats: Seats::default(),
            addresses: Arc::new(Addresses::new(config, false, entropy.hasher(), metrics.clone())),
            clock: Clock::simulated(time),
            hub: Arc::new(Hub::new(entropy.hasher())),
            rooms: Arc::new(Rooms::new(entropy.hasher(), committer.clone(), metrics.clone())),
            store: Arc::new(crate::store::memory::Memory::new(entropy.hasher())),
            entropy,
            committer,
            metrics,
            session: session::Config::default(),
        }
    }
}

/// One request's surroundings.
#[derive(Clone)]
pub struct Context {
    /// The connection that asks.
    pub session: Arc<Session>,
    /// The server.
    pub shared: Arc<Shared>,
}

impl Context {
    /// Who asks. The router has refused the request already where this is needed and missing.
    pub fn identity(&self) -> Result<&Identity, Reject> {
        self.session.identity().ok_or(Code::NotLoggedIn.into())
    }

    /// The app of whoever asks, and who they are: a user or a visitor.
    pub fn asker(&self) -> Result<(AppId, Asker), Reject> {
        if let Some(visitor) = self.session.visitor() {
            return Ok((visitor.app.clone(), Asker::Visitor(visitor.session)));
        }
        let Identity { app, user, .. } = self.identity()?;
        Ok((app.clone(), Asker::User(user.clone())))
    }

    /// Draws from a bucket of the user, or the visitor, who asks.
    pub fn draw(&self, draw: Draw) -> Result<(), Reject> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let drawn = match self.session.visitor() {
            Some(visitor) => visitor.draw(draw, &shared.app(&visitor.app)?.rates, now),
            None => {
                let Identity { app, user, .. } = self.identity()?;
                shared.hub.draw(app, user, draw, &shared.app(app)?.rates, now)
            }
        };
        drawn.map_err(|wait| Reject {
            retry_after_ms: Some(shared.entropy.jittered(wait).as_millis() as u32 + 1),
            ..Code::RateLimited.into()
        })
    }
}
