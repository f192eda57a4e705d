//! From a description to a session.

use quail_protocol::{
    bounded::{Text, TooLong},
    id::{AppId, DeviceId, InvalidId, UserId},
    limits::LOGIN_CONVERSATIONS_MAX,
    session::{Login, VISITOR_PREFIX, Visit},
    version::REVISION,
};
use rand::{
    Rng, SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::time::Instant;
use tracing::Instrument;

use super::Builder;
use crate::{
    client::{Becoming, Client},
    clock::MessageIds,
    dial::LANE_WINDOW_BYTES,
    dialer::Dialer,
    driver::{Comeback, Driver},
    error::ConnectError,
    events::{self, Events},
    greeting::Greeting,
    keeper::Keeper,
    tracker::Tracker,
};

/// Name and version of this client, for the server's logs.
const CLIENT: &str = concat!("quail-client/", env!("CARGO_PKG_VERSION"));

impl Builder {
    /// Connects and logs in, or visits, in one try. Must run inside a tokio runtime, which then drives the session.
    pub async fn connect(self) -> Result<(Client, Events), ConnectError> {
        let mut random = match self.seed {
            Some(seed) => StdRng::from_seed(seed),
            None => {
                StdRng::try_from_rng(&mut SysRng).map_err(|error| ConnectError::Random(Box::new(error)))?
            }
        };
        if self.visitor && self.storage.is_some() {
            return Err(ConnectError::Missing("user"));
        }
        let app = self.app_id()?;
        let kept = self.storage.as_ref().map(Keeper::open).transpose()?;
        let (keeper, restored) = kept.unzip();
        let device = self.device_id(&mut random, keeper.as_ref().and_then(|keeper| keeper.device()))?;
        // A visitor's is for later, and is made now: what is wrong with it is to show before there is a connection.
        let login = self.login(app, self.user_id()?, device)?;
        if let Some(keeper) = &keeper {
            keeper.admit(&login)?;
        }
        let (ids, jitter) = (MessageIds::new(draw(&mut random)), draw(&mut random));
        let greeting = if self.visitor {
            Greeting::Visit(self.visit(login.app.clone())?)
        } else {
            let token = self.token.clone().ok_or(ConnectError::Missing("token"))?;
            Greeting::Login(Box::new(login.clone()), token)
        };
        let dialer = self.dialer(greeting);
        let (link, mut greeted) = dialer.clone().dial(None).await?;
        if let Some(keeper) = &keeper {
            keeper.belongs_to(&login)?;
        }
        let (user, becoming) = match greeted.visitor.clone() {
            Some(visitor) => (visitor, Some(Becoming { dialer: dialer.clone(), login })),
            None => (login.user, None),
        };
        let comeback = (!self.reconnect.is_off())
            .then(|| Comeback::new(dialer.repeat(), self.reconnect, jitter, greeted.resume_token));
        let (queue, events) = events::queue(self.event_capacity, keeper.clone());
        let mut tracker = Tracker::new(user.clone());
        if self.reenter_rooms {
            tracker.reenter_rooms();
        }
        if let Some(restored) = restored {
            tracker.restore(restored);
        }
        if becoming.is_some() {
            tracker.visiting(greeted.time);
        } else {
            tracker.connected(greeted.time);
        }
        tracker.brought(std::mem::take(&mut greeted.conversations));
        let (driver, controls) = Driver::new(link, &greeted, tracker, queue, comeback, Instant::now());
        let span = tracing::debug_span!("quail", %user, session = %greeted.session);
        tokio::spawn(driver.run().instrument(span));
        let becoming = becoming.map(Into::into);
        Ok((Client::new(user, ids, self.call_timeout, controls, keeper, becoming), events))
    }

    fn dialer(&self, greeting: Greeting) -> Dialer {
        Dialer {
            address: self.address.clone(),
            trust: self.trust.clone(),
            carrier: self.carrier.clone(),
            endpoint: self.endpoint.clone(),
            tcp: self.tcp.clone(),
            connect_timeout: self.connect_timeout,
            greeting,
        }
    }

    fn app_id(&self) -> Result<AppId, ConnectError> {
        id("app", AppId::new(self.app.as_ref().ok_or(ConnectError::Missing("app"))?))
    }

    /// A visitor has none yet, and says so.
    fn user_id(&self) -> Result<UserId, ConnectError> {
        let user = if self.visitor { Some(VISITOR_PREFIX) } else { self.user.as_deref() };
        id("user", UserId::new(user.ok_or(ConnectError::Missing("user"))?))
    }

    /// `kept` is the one of an earlier run.
    pub(super) fn device_id(
        &self,
        random: &mut StdRng,
        kept: Option<DeviceId>,
    ) -> Result<DeviceId, ConnectError> {
        let device = match (&self.device, kept) {
            (Some(device), _) => device.clone(),
            (None, Some(device)) => device.as_str().to_owned(),
            (None, None) => draw::<8>(random).iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        id("device", DeviceId::new(device))
    }

    fn visit(&self, app: AppId) -> Result<Visit, ConnectError> {
        Ok(Visit {
            revision: REVISION,
            app,
            client: text("client", CLIENT.to_owned())?,
            stream_window_bytes: LANE_WINDOW_BYTES,
        })
    }

    /// The login without its token.
    fn login(&self, app: AppId, user: UserId, device: DeviceId) -> Result<Login, ConnectError> {
        Ok(Login {
            revision: REVISION,
            app,
            user,
            token: Text::default(),
            name: self.name.clone().map(|name| text("name", name)).transpose()?,
            avatar: self.avatar.clone().map(|avatar| text("avatar", avatar)).transpose()?,
            device,
            platform: self.platform,
            client: text("client", CLIENT.to_owned())?,
            stream_window_bytes: LANE_WINDOW_BYTES / u32::from(self.streams_per_lane),
            streams_per_lane: self.streams_per_lane,
            conversations: LOGIN_CONVERSATIONS_MAX as u16,
            resume: None,
        })
    }
}

fn id<T>(field: &'static str, id: Result<T, InvalidId>) -> Result<T, ConnectError> {
    id.map_err(|source| ConnectError::InvalidId { field, source })
}

fn text<const MAX: usize>(field: &'static str, text: String) -> Result<Text<MAX>, ConnectError> {
    Text::new(text).map_err(|source: TooLong| ConnectError::TooLong { field, source })
}

fn draw<const BYTES: usize>(random: &mut StdRng) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    random.fill_bytes(&mut bytes);
    bytes
}
