//! The handle of a session.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use quail_protocol::{
    Conversation, Operation, Timestamp,
    bounded::{List, TooLong},
    conversation::{self, Conversations},
    frame::{self, Head},
    id::{ClientMessageId, InvalidId, RoomId, SessionId, UserId},
    limits::SYNC_CONVERSATIONS_MAX,
    message::{Send, Signal},
    room::LeaveAll,
    session::Limits,
    user::{self, Profile},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::{
    builder::Builder,
    clock::MessageIds,
    driver::{Controls, Current},
    error::{CallError, SignalError},
    keeper::Keeper,
    outbox::{HEAD_BYTES_MAX, Own, Request},
    outgoing::Outgoing,
    peer::Peer,
    pending::Waiting,
    room::Room,
    signal::SignalPace,
    state::{State, States, cause_of},
    window::{Slot, Window},
};

mod becoming;

pub(crate) use becoming::Becoming;

/// A user's way to a server. Clones share it; dropping the last one closes the connection.
///
/// A connection that is lost is made again by itself, see [`Reconnect`](crate::Reconnect); the handle stays valid.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use quail_client::{Client, protocol::session};
///
/// let (client, events) = Client::builder("chat.example.org:443").app("demo").user("alice").token("…").connect().await?;
/// let pong = client.call(session::Ping {}).await?;
/// println!("the server's clock stands at {} ms", pong.time.0);
/// client.close().await;
/// # drop(events);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    user: UserId,
    limits: Limits,
    current: watch::Receiver<Current>,
    ids: Arc<MessageIds>,
    call_timeout: Duration,
    requests: mpsc::Sender<Request>,
    signals: mpsc::Sender<Bytes>,
    signal_pace: SignalPace,
    window: Arc<Window>,
    state: watch::Receiver<State>,
    hurry: watch::Sender<()>,
    closer: Arc<Mutex<Option<oneshot::Sender<()>>>>,
    done: watch::Receiver<()>,
    keeper: Option<Arc<Keeper>>,
    /// How a visitor can become a user.
    becoming: Option<Arc<Becoming>>,
}

impl Client {
    /// Starts to describe a connection to `address`, which is `host:port`; an IPv6 address stands in brackets.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder::new(address.into())
    }

    pub(crate) fn new(
        user: UserId,
        ids: MessageIds,
        call_timeout: Duration,
        controls: Controls,
        keeper: Option<Arc<Keeper>>,
        becoming: Option<Arc<Becoming>>,
    ) -> Self {
        let limits = controls.current.borrow().limits;
        Self(Arc::new(Shared {
            user,
            limits,
            current: controls.current,
            ids: Arc::new(ids),
            call_timeout,
            requests: controls.requests,
            signals: controls.signals,
            signal_pace: SignalPace::new(limits.signals_per_second),
            window: controls.window,
            state: controls.state,
            hurry: controls.hurry,
            closer: Arc::new(Mutex::new(Some(controls.closer))),
            done: controls.done,
            keeper,
            becoming,
        }))
    }

    /// Another handle of the same connection, of a user with these limits.
    fn of(&self, user: UserId, limits: Limits) -> Self {
        let Shared { current, ids, call_timeout, requests, signals, window, .. } = &*self.0;
        let Shared { state, hurry, closer, done, .. } = &*self.0;
        Self(Arc::new(Shared {
            user,
            limits,
            current: current.clone(),
            ids: ids.clone(),
            call_timeout: *call_timeout,
            requests: requests.clone(),
            signals: signals.clone(),
            signal_pace: SignalPace::new(limits.signals_per_second),
            window: window.clone(),
            state: state.clone(),
            hurry: hurry.clone(),
            closer: closer.clone(),
            done: done.clone(),
            keeper: None,
            becoming: None,
        }))
    }

    /// Asks the server anything and waits for the reply, at most for the call timeout.
    ///
    /// At most [`Limits::requests_in_flight`] requests wait for their reply at a time; further calls wait their turn.
    /// Calls whose operation uses the same lane go out in the order in which they were first polled. Dropping the future
    /// of a call that was not written yet withdraws it; later, the request is served all the same.
    ///
    /// While the client reconnects, calls wait for the new connection, within their timeout. One whose reply was lost
    /// with the old connection is asked again, if it is a query or a send: the server answers a repeated send with its
    /// first result. A change is not; it ends with [`CallError::Unknown`].
    ///
    /// ```no_run
    /// # async fn f(client: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use quail_client::protocol::{bounded::List, id::UserId, user};
    ///
    /// let users = List::new(vec![UserId::new("bob")?])?;
    /// let found = client.call(user::Query { users }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<O: Operation>(&self, operation: O) -> Result<O::Reply, CallError> {
        self.ask(operation, |reply, slot| Waiting::Call { reply, slot }).await
    }

    /// The same, with what the driver is to do about the reply.
    async fn ask<O: Operation>(
        &self,
        operation: O,
        waiting: impl FnOnce(oneshot::Sender<Result<Bytes, CallError>>, Slot) -> Waiting,
    ) -> Result<O::Reply, CallError> {
        let body =
            postcard::to_stdvec(&operation).unwrap_or_else(|_| unreachable!("wire types always encode"));
        // The newest: a visitor's frames grow when they log in.
        let frame_bytes = self.0.current.borrow().limits.frame_bytes;
        let max = (frame_bytes as usize).saturating_sub(HEAD_BYTES_MAX);
        if body.len() > max {
            return Err(CallError::TooLarge(TooLong { max }));
        }
        let lane = operation.lane();
        let own = Own::of(&operation);
        let reply = async {
            let turn = self.0.window.turn(lane).await.map_err(|_| self.disconnected())?;
            let (reply, answer) = oneshot::channel();
            let waiting = waiting(reply, turn.slot);
            let request = Request { lane, info: O::INFO, body: body.into(), own, waiting };
            // There is room for as many requests as there are slots, so this fails only after the driver has ended.
            self.0.requests.try_send(request).map_err(|_| self.disconnected())?;
            drop(turn.first);
            answer.await.map_err(|_| self.disconnected())?
        };
        let bytes: Bytes = timeout(self.0.call_timeout, reply).await.map_err(|_| CallError::TimedOut)??;
        frame::decode(&bytes).map_err(|_| CallError::Malformed)
    }

    /// The one-to-one conversation with `user`. Nothing is sent; whether the user exists shows with the first call.
    ///
    /// ```no_run
    /// # async fn f(client: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let sent = client.peer("bob")?.send("hi").await?;
    /// println!("number {} of the conversation", sent.position.seq.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer(&self, user: impl AsRef<str>) -> Result<Peer, InvalidId> {
        Ok(Peer::new(self.clone(), UserId::new(user)?))
    }

    /// Signals something to the other side of a conversation: worth a try and no more. It goes out as a datagram where
    /// there are any, is answered by nothing, and may be lost. While the client reconnects it is discarded.
    ///
    /// ```no_run
    /// # fn f(client: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.peer("bob")?.typing()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn signal(&self, signal: &Signal) -> Result<(), SignalError> {
        let max = self.0.limits.signal_bytes as usize;
        if signal.body.len() > max {
            return Err(SignalError::TooLarge(TooLong { max }));
        }
        if *self.0.state.borrow() != State::Connected {
            return Err(SignalError::Disconnected);
        }
        if !self.0.signal_pace.admits(Instant::now()) {
            return Err(SignalError::TooOften);
        }
        let frame = frame::encode(&Head::Signal, signal);
        self.0.signals.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SignalError::TooOften,
            mpsc::error::TrySendError::Closed(_) => SignalError::Disconnected,
        })
    }

    /// The profiles of up to 100 users; those who never logged in are left out.
    pub async fn profiles(&self, users: impl IntoIterator<Item = UserId>) -> Result<Vec<Profile>, CallError> {
        let users = List::new(users.into_iter().collect()).map_err(CallError::TooLarge)?;
        Ok(self.call(user::Query { users }).await?.profiles.into_vec())
    }

    /// The room of this id. Nothing is sent; see [`Room::enter`].
    ///
    /// ```no_run
    /// # async fn f(client: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.room("lobby")?.enter(Default::default(), 0).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn room(&self, room: impl AsRef<str>) -> Result<Room, InvalidId> {
        Ok(Room::new(self.clone(), RoomId::new(room)?))
    }

    /// Leaves every room with this session, and says how many there were.
    pub async fn leave_rooms(&self) -> Result<u32, CallError> {
        Ok(self.call(LeaveAll { all_devices: false }).await?.rooms)
    }

    /// A page of the user's own conversations, at most 100, in a fixed order that says nothing of their age. The next page
    /// is asked for with [`Conversations::next`]; each counts as a query.
    ///
    /// ```no_run
    /// # async fn f(client: quail_client::Client) -> Result<(), quail_client::CallError> {
    /// let mut after = None;
    /// loop {
    ///     let page = client.conversations(after).await?;
    ///     for summary in &*page.conversations {
    ///         println!("{}: read {} of {}", summary.conversation, summary.read.0, summary.head.seq.0);
    ///     }
    ///     after = page.next;
    ///     if after.is_none() {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn conversations(&self, after: Option<Conversation>) -> Result<Conversations, CallError> {
        let limit = SYNC_CONVERSATIONS_MAX as u16;
        self.call(conversation::Sync { after, limit }).await
    }

    /// The messages of earlier runs of the app whose send began and has no answer, in the order in which they were sent.
    /// Empty without a [storage](Builder::storage).
    ///
    /// The app decides: [`Outgoing::send`] again adds nothing twice, [`Outgoing::forget`] ends it. One that is older than
    /// seven days is refused with `Code::MessageIdStale`: nobody knows any more whether it was sent.
    ///
    /// ```no_run
    /// # async fn f(client: quail_client::Client) {
    /// for message in client.unsent() {
    ///     if let Err(unsent) = message.send().await {
    ///         println!("not sent: {}", unsent.error);
    ///     }
    /// }
    /// # }
    /// ```
    pub fn unsent(&self) -> Vec<Outgoing> {
        let unsent = self.0.keeper.as_ref().map(|keeper| keeper.unsent()).unwrap_or_default();
        unsent.into_iter().map(|send| Outgoing::of(self.clone(), send)).collect()
    }

    /// Who is logged in; for a visitor the server's name for their first session.
    pub fn user_id(&self) -> &UserId {
        &self.0.user
    }

    /// The server's name for the current session, or for the last one while there is none. Each reconnect makes a new
    /// session.
    pub fn session(&self) -> SessionId {
        self.0.current.borrow().session
    }

    /// What the app allows this user, as told at the first login.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The server's clock as of now: its time at the last login and what has passed since.
    pub fn server_time(&self) -> Timestamp {
        self.0.current.borrow().clock.at(Instant::now())
    }

    /// The state now and its changes.
    pub fn states(&self) -> States {
        States::new(self.0.state.clone())
    }

    /// Connects at once if the client waits before its next try, and starts over with short waits. For an app that
    /// learned that the network is back, or whose user asks for it. Without a wait it does nothing.
    pub fn reconnect_now(&self) {
        self.0.hurry.send_replace(());
    }

    /// Logs out and closes the connection; returns when that is done, at the latest after a few seconds.
    ///
    /// Calls that wait for their reply end with [`CallError::Disconnected`]. Events that the app has not received by
    /// then may be lost to it; with a [storage](Builder::storage) they come after the next connect. Every clone is disconnected; calling this again waits for the same end.
    pub async fn close(&self) {
        if let Some(keeper) = &self.0.keeper {
            keeper.closed();
        }
        let closer = self.0.closer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(closer) = closer
            && closer.send(()).is_err()
        {
            tracing::debug!("the session has ended before");
        }
        let mut done = self.0.done.clone();
        while done.changed().await.is_ok() {}
    }

    /// A new client message id, made with server time.
    pub(crate) fn message_id(&self) -> ClientMessageId {
        self.0.ids.make(self.server_time())
    }

    /// A message is sent.
    pub(crate) fn sending(&self, send: &Send) -> Result<(), CallError> {
        let Some(keeper) = &self.0.keeper else { return Ok(()) };
        keeper.sending(send).map_err(|error| CallError::Storage(error.kind()))
    }

    /// A message needs no answer any more.
    pub(crate) fn answered(&self, id: ClientMessageId) {
        if let Some(keeper) = &self.0.keeper {
            keeper.answered(id);
        }
    }

    fn disconnected(&self) -> CallError {
        CallError::Disconnected(cause_of(*self.0.state.borrow()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("user", &self.0.user)
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}
