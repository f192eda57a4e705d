//! Describing a connection and making it.

mod connect;

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use quail_protocol::{limits::STREAMS_PER_LANE_MAX, session::Platform};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    carrier::websocket::Tcp, dialer::Token, error::TokenError, keeper::Slot, reconnect::Reconnect,
    storage::Storage, trust::Trust,
};

/// What transports the lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CarrierKind {
    /// Native QUIC. The default.
    #[default]
    Quic,
    /// WebSocket, for networks that let no UDP through.
    WebSocket {
        /// `wss://host[:port]/ws`, or `ws://` without TLS, where trust is not asked. The builder's address is not used.
        url: String,
    },
}

/// What a connection needs to know: at least an app, a user and a token, or an app and that it is a visitor's.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use quail_client::{Client, Trust, TokenError};
///
/// let (client, events) = Client::builder("127.0.0.1:4433")
///     .app("demo")
///     .user("alice")
///     .token_with(|| async { std::fs::read_to_string("token").map_err(TokenError::new) })
///     .trust(Trust::fingerprint("…")?)
///     .name("Alice")
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder {
    address: String,
    app: Option<String>,
    user: Option<String>,
    token: Option<Token>,
    visitor: bool,
    name: Option<String>,
    avatar: Option<String>,
    device: Option<String>,
    platform: Platform,
    trust: Trust,
    carrier: CarrierKind,
    endpoint: Option<quinn::Endpoint>,
    streams_per_lane: u8,
    tcp: Tcp,
    seed: Option<[u8; 32]>,
    call_timeout: Duration,
    connect_timeout: Duration,
    event_capacity: usize,
    reconnect: Reconnect,
    reenter_rooms: bool,
    storage: Option<Slot>,
}

impl Builder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            app: None,
            user: None,
            token: None,
            visitor: false,
            name: None,
            avatar: None,
            device: None,
            platform: this_platform(),
            trust: Trust::default(),
            carrier: CarrierKind::default(),
            endpoint: None,
            streams_per_lane: 1,
            tcp: Tcp::default(),
            seed: None,
            call_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            event_capacity: 1024,
            reconnect: Reconnect::default(),
            reenter_rooms: true,
            storage: None,
        }
    }

    /// The tenant to log in to.
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = Some(app.into());
        self
    }

    /// Who logs in; must equal the token's `sub`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The token to log in with, a JWT signed with one of the app's keys.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token::Fixed(token.into()));
        self
    }

    /// Where to get a token: called at each connect, the automatic ones included.
    pub fn token_with<F, R>(mut self, callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.token = Some(Token::Callback(Arc::new(move || Box::pin(callback()))));
        self
    }

    /// Comes as a visitor, who is nobody, may join rooms and read in them, and no more. Needs no user and no token; the app has
    /// to let visitors in. [`Client::log_in`] makes a user of them. There is no storage for visitors.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// # use quail_client::Client;
    /// let (visitor, mut events) = Client::builder("chat.example.org:443").app("demo").visitor().connect().await?;
    /// visitor.room("lobby")?.join(10).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Client::log_in`]: crate::Client::log_in
    pub fn visitor(mut self) -> Self {
        self.visitor = true;
        self
    }

    /// Display name, at most 256 bytes. Without it the server keeps the stored one.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Avatar URL, at most 512 bytes. Without it the server keeps the stored one.
    pub fn avatar(mut self, avatar: impl Into<String>) -> Self {
        self.avatar = Some(avatar.into());
        self
    }

    /// Which terminal this is. Apps should keep one id per installation; without it each connect makes a random
    /// one, unless a [storage](Self::storage) keeps that of the first.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// What kind of terminal this is. The default is the operating system's, or `Bot` where there is no kind for it.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Which server certificates to believe, [`Trust::WebRoots`] unless set.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// What transports the lanes, [`CarrierKind::Quic`] unless set.
    pub fn carrier(mut self, carrier: CarrierKind) -> Self {
        self.carrier = carrier;
        self
    }

    /// Uses a QUIC endpoint of the app, which thousands of clients can share. Its socket must reach the address's family,
    /// and the app waits for [`quinn::Endpoint::wait_idle`] before it ends.
    pub fn endpoint(mut self, endpoint: quinn::Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Over how many streams the server spreads the conversations of a lane, 1 to 4; default 1. With more, a lost packet holds
    /// up the messages of fewer other conversations: for clients in many rooms on bad networks. Each costs the server some
    /// memory. Of no effect over a WebSocket and for visitors.
    pub fn streams_per_lane(mut self, streams: u8) -> Self {
        self.streams_per_lane = streams.clamp(1, STREAMS_PER_LANE_MAX as u8);
        self
    }

    /// How to open the TCP connection of a WebSocket: called at each connect with `host:port` of the URL. For proxies,
    /// tunnels and networks of tests. The default asks the operating system.
    pub fn tcp_with<F, R, S>(mut self, callback: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.tcp = Tcp::new(callback);
        self
    }

    /// Makes the client's own random choices repeat themselves: ids of messages, waits before reconnects, the device
    /// id that was not given. For tests and simulation only: two clients of one seed make the same ids, and ids can be
    /// guessed. TLS is not touched.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How long a call waits for its reply, its turn included. 15 seconds unless set.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How long each resolved address may take until the carrier stands. 5 seconds unless set. The answer to the login
    /// has 5 seconds more.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many events wait for the app before the client stops reading. 1024 unless set, at least 1.
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.event_capacity = events;
        self
    }

    /// Whether and when a lost connection is made again, [`Reconnect::default`] unless set.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Whether the client comes into its rooms again by itself after its session was lost, as when the server was started
    /// anew or the connection was gone for longer than the grace. It does unless this is set to false; then the app is told
    /// and comes in by itself. See [`Room`](crate::Room).
    pub fn reenter_rooms(mut self, reenter: bool) -> Self {
        self.reenter_rooms = reenter;
        self
    }

    /// Where the client keeps what it must know after a restart of the app. Without it each start begins anew.
    ///
    /// Then the app sees each message once over restarts: what came while it was not running is told at the next start, in
    /// order, and of conversations that are new from their beginning. An event counts as seen when the app asks for the
    /// next one, calls [`Events::taken`], or has called [`Client::close`] and dropped the [`Events`]. An app that ends in
    /// any other way gets those it had received and not done with again. A message of its own that was answered while earlier
    /// events waited untaken may come as an event as well, with the app's own id. The very first start tells nothing of what is
    /// there already: [`Client::conversations`] lists it.
    ///
    /// Messages whose send has no answer survive as well, see [`Client::unsent`]. So does the device id, if none is given.
    /// The session does not: a start logs in anew, and an older session of the device that lost its connection gives way.
    ///
    /// A storage belongs to one app, user and device; another is refused. It is free for the next client when the
    /// [`Client`] with its clones and the [`Events`] are dropped.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use quail_client::{Client, storage::File};
    ///
    /// let builder = Client::builder("chat.example.org:443").app("demo").user("alice").token("…");
    /// let (client, events) = builder.storage(File::open("alice.quail")?).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Client`]: crate::Client
    /// [`Client::close`]: crate::Client::close
    /// [`Client::conversations`]: crate::Client::conversations
    /// [`Client::unsent`]: crate::Client::unsent
    /// [`Events`]: crate::Events
    /// [`Events::taken`]: crate::Events::taken
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.storage = Some(Slot::new(storage));
        self
    }
}

/// Prints no token.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("address", &self.address)
            .field("app", &self.app)
            .field("user", &self.user)
            .field("carrier", &self.carrier)
            .finish_non_exhaustive()
    }
}

fn this_platform() -> Platform {
    if cfg!(target_os = "ios") {
        Platform::Ios
    } else if cfg!(target_os = "android") {
        Platform::Android
    } else if cfg!(target_os = "macos") {
        Platform::MacOs
    } else if cfg!(windows) {
        Platform::Windows
    } else if cfg!(target_os = "linux") {
        Platform::Linux
    } else {
        Platform::Bot
    }
}

#[cfg(test)]
mod tests;
