//! Live rooms.

mod attributes;
mod counters;

use std::ops::RangeBounds;

use quail_protocol::{
    Conversation,
    id::RoomId,
    message::{Direction, MessageBody, Page, Sent},
    room::{
        Create, Dismiss, Dismissed, Enter, Entered, Info, InfoChanged, Join, Leave, Left, Members,
        MembersPage, RoomState, Settings, UpdateInfo,
    },
};

pub use self::attributes::AttributeOptions;
use crate::{
    client::Client,
    error::CallError,
    outgoing::{Outgoing, Unsent},
    peer::read,
};

/// A room, by its id. Cheap to make and to clone; whether this session is in it is up to [`enter`](Room::enter) and its like.
///
/// A room is live: its messages are in a ring of the newest, and its acks say `Accepted`. What overload drops is told:
/// [`Event::MessageGap`](crate::protocol::Event::MessageGap) to a receiver that is too slow, a refusal with `RoomThrottled`
/// to a sender when the room gets too much. After the server was started anew, or this client was away for longer than the
/// grace, it is in no room; the app is told [`Event::Behind`](crate::protocol::Event::Behind) with the cause `NotMember` and
/// comes in again.
///
/// ```no_run
/// # async fn f(client: quail_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let lobby = client.room("lobby")?;
/// let entered = lobby.enter(Default::default(), 10).await?;
/// println!("{} are here", entered.state.members);
/// for message in &*entered.recent {
///     println!("{} said something before", message.sender);
/// }
/// lobby.send("hello, everybody").await?;
/// lobby.leave().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Room {
    client: Client,
    id: RoomId,
}

impl Room {
    pub(crate) fn new(client: Client, id: RoomId) -> Self {
        Self { client, id }
    }

    /// Its id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Makes the room and comes in, as its owner. Refused with `RoomExists` if there is one.
    pub async fn create(&self, settings: Settings) -> Result<Entered, CallError> {
        self.client.call(Create { room: self.id.clone(), settings }).await
    }

    /// Comes in, and gets up to `recent` of the newest messages, at most 50. Refused with `RoomNotFound` if there is no
    /// such room.
    pub async fn join(&self, recent: u8) -> Result<Entered, CallError> {
        self.client.call(Join { room: self.id.clone(), recent }).await
    }

    /// Comes in, and makes the room with these settings if it does not exist.
    pub async fn enter(&self, settings: Settings, recent: u8) -> Result<Entered, CallError> {
        self.client.call(Enter { room: self.id.clone(), settings, recent }).await
    }

    /// Leaves with this session. The user stays in it with others.
    pub async fn leave(&self) -> Result<Left, CallError> {
        self.client.call(Leave { room: self.id.clone(), all_devices: false }).await
    }

    /// Ends the room for everybody. Only its owner may.
    pub async fn dismiss(&self) -> Result<Dismissed, CallError> {
        self.client.call(Dismiss { room: self.id.clone() }).await
    }

    /// Changes what the room says of itself; `update.room` is ignored.
    pub async fn update_info(&self, update: UpdateInfo) -> Result<InfoChanged, CallError> {
        self.client.call(UpdateInfo { room: self.id.clone(), ..update }).await
    }

    /// How the room stands.
    pub async fn info(&self) -> Result<RoomState, CallError> {
        self.client.call(Info { room: self.id.clone() }).await
    }

    /// A page of the users in it, in the order in which they came; `after` is [`MembersPage::next`] of the page before, 0
    /// begins.
    pub async fn members(&self, after: u64, limit: u16) -> Result<MembersPage, CallError> {
        self.client.call(Members { room: self.id.clone(), after, limit, newest_first: false }).await
    }

    /// Sends a text with normal priority.
    pub async fn send(&self, text: impl Into<String>) -> Result<Sent, Box<Unsent>> {
        self.message(text).send().await
    }

    /// Starts a text message.
    pub fn message(&self, text: impl Into<String>) -> Outgoing {
        Outgoing::text(self.client.clone(), self.conversation(), text.into())
    }

    /// Starts a message of any kind, [`Barrage`](crate::protocol::message::Barrage) among them.
    pub fn compose(&self, body: &impl MessageBody) -> Outgoing {
        Outgoing::of_kind(self.client.clone(), self.conversation(), body)
    }

    /// Reads messages of the ring by their numbers, oldest first, at most 100 at a time.
    pub async fn history(&self, range: impl RangeBounds<u64>) -> Result<Page, CallError> {
        read(&self.client, self.conversation(), range, Direction::Forwards).await
    }

    /// The same from the other end: the newest of the range, oldest first in the page.
    pub async fn history_backwards(&self, range: impl RangeBounds<u64>) -> Result<Page, CallError> {
        read(&self.client, self.conversation(), range, Direction::Backwards).await
    }

    fn conversation(&self) -> Conversation {
        Conversation::Room(self.id.clone())
    }
}
