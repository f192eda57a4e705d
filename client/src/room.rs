//! Live rooms.

mod attributes;
mod counters;

use std::ops::RangeBounds;

use quail_protocol::{
    Conversation, Position, Timestamp,
    bounded::List,
    id::{RoomId, UserId},
    message::{Direction, MessageBody, Page, Recall, Recalled, Sent},
    room::{
        Ban, Create, Dismiss, Dismissed, Enter, Entered, Info, InfoChanged, Join, Kick, Leave, Left, Member,
        Members, MembersPage, Mute, MuteAll, QueryMembers, Reason, RestrictionKind, Restrictions,
        RestrictionsPage, Role, RoomState, SetRole, Settings, Switch, Switched, Transfer, UpdateInfo,
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
/// A room is live: its messages are in a ring of the newest, and its acks say `Accepted`. One that is made with
/// [`RoomHistory::Stored`](crate::protocol::room::RoomHistory::Stored) keeps them on disk, and its acks say `Durable`: they are
/// there when the server was started anew, and go on under the same positions. What overload drops is told:
/// [`Event::MessageGap`](crate::protocol::Event::MessageGap) to a receiver that is too slow, a refusal with `RoomThrottled`
/// to a sender when the room gets too much.
///
/// Where the client stands with the room, and why, is told by
/// [`Event::RoomStateChanged`](crate::protocol::Event::RoomStateChanged), in the order of the other events. A session that
/// goes on after a lost connection is still in its rooms. After the server was started anew, or this client was away for
/// longer than the grace, it is in none, and comes into those again that it was in, the last used first. What it made, with
/// [`create`](Room::create) or [`enter`](Room::enter), it enters with the same settings, so that it is made again if it is
/// gone. What was there when it came it joins, however it came: it makes no room of its own where it was a guest, and
/// the app is told `NotFound` if the room is gone. The app is told `Rejoined` with how the room stands, or that it is out and
/// what the server answered. Messages
/// that the room still has come as after any reconnect, before what follows;
/// [`Event::Behind`](crate::protocol::Event::Behind) says if some are gone (`Trimmed`), if the room is another
/// (`EpochChanged`), or that the client is out (`NotMember`). Attributes and counters are not repeated: read
/// them anew. A change of a message that was dropped on the way is fetched, as is where the client stands if answers and
/// notices overtook each other, or if the answer to a request to come in says that it may have happened: until then the room
/// is `Connecting`. A room that was left, or that the client was put out of, is not come into again, unless that happened while it
/// was away and the room lets it in. [`Builder::reenter_rooms`](crate::Builder::reenter_rooms) turns all of this off.
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

    /// Leaves this room for another in one step, and makes the other with `settings`, if there are any, should it not exist.
    /// Whoever is not let in stays here.
    pub async fn switch_to(
        &self,
        other: &Room,
        settings: Option<Settings>,
        recent: u8,
    ) -> Result<Switched, CallError> {
        let (from, to) = (self.id.clone(), other.id.clone());
        self.client.call(Switch { from, to, settings, recent }).await
    }

    /// Leaves with this session. The user stays in it with others.
    pub async fn leave(&self) -> Result<Left, CallError> {
        self.client.call(Leave { room: self.id.clone(), all_devices: false }).await
    }

    /// Ends the room for everybody. Only its owner may.
    pub async fn dismiss(&self) -> Result<Dismissed, CallError> {
        self.dismiss_because(Reason::default()).await
    }

    /// The same, and tells everybody why.
    pub async fn dismiss_because(&self, reason: Reason) -> Result<Dismissed, CallError> {
        self.client.call(Dismiss { room: self.id.clone(), reason }).await
    }

    /// Changes what the room says of itself; `update.room` is ignored.
    pub async fn update_info(&self, update: UpdateInfo) -> Result<InfoChanged, CallError> {
        self.client.call(UpdateInfo { room: self.id.clone(), ..update }).await
    }

    /// How the room stands. Somebody who is not in it is answered if the app's `rooms.info_for_outsiders` allows that; the role
    /// is none then.
    pub async fn info(&self) -> Result<RoomState, CallError> {
        self.client.call(Info { room: self.id.clone() }).await
    }

    /// A page of the users in it, in the order in which they came; `after` is [`MembersPage::next`] of the page before, 0
    /// begins.
    pub async fn members(&self, after: u64, limit: u16) -> Result<MembersPage, CallError> {
        self.client.call(Members { room: self.id.clone(), after, limit, newest_first: false }).await
    }

    /// Those of up to 100 users who are in it, in the order in which they are named.
    pub async fn members_of(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Vec<Member>, CallError> {
        let users = List::new(users.into_iter().collect()).map_err(CallError::TooLarge)?;
        let found = self.client.call(QueryMembers { room: self.id.clone(), users }).await?;
        Ok(found.members.into_vec())
    }

    /// Makes somebody in the room an admin, or an admin a member again. Only the owner may.
    pub async fn set_role(&self, user: UserId, role: Role, reason: Reason) -> Result<(), CallError> {
        self.client.call(SetRole { room: self.id.clone(), user, role, reason }).await.map(|_| ())
    }

    /// Gives the room to somebody in it. Only the owner may, and is a member then.
    pub async fn transfer(&self, user: UserId, reason: Reason) -> Result<(), CallError> {
        self.client.call(Transfer { room: self.id.clone(), user, reason }).await.map(|_| ())
    }

    /// Puts somebody out; they may come in again. The owner may, and an admin if it is a member.
    pub async fn kick(&self, user: UserId, reason: Reason) -> Result<(), CallError> {
        self.client.call(Kick { room: self.id.clone(), user, reason }).await.map(|_| ())
    }

    /// Puts somebody out and keeps them out, or whoever is not there yet. Who may is as with [`kick`](Room::kick).
    pub async fn ban(&self, user: UserId, until: Until, reason: Reason) -> Result<(), CallError> {
        let until = until.on_wire();
        self.client.call(Ban { room: self.id.clone(), user, until, reason }).await.map(|_| ())
    }

    /// Forbids somebody to speak, or allows it again. Who may is as with [`kick`](Room::kick).
    pub async fn mute(&self, user: UserId, until: Until, reason: Reason) -> Result<(), CallError> {
        let until = until.on_wire();
        self.client.call(Mute { room: self.id.clone(), user, until, reason }).await.map(|_| ())
    }

    /// Forbids everybody to speak but the owner and those whose role is `exempt`, or allows it again. The owner and admins
    /// may.
    pub async fn mute_all(
        &self,
        until: Until,
        exempt: impl IntoIterator<Item = Role>,
        reason: Reason,
    ) -> Result<(), CallError> {
        let exempt = exempt.into_iter().collect::<Vec<_>>();
        let exempt = List::new(exempt).map_err(CallError::TooLarge)?;
        let (room, until) = (self.id.clone(), until.on_wire());
        self.client.call(MuteAll { room, until, exempt, reason }).await.map(|_| ())
    }

    /// A page of those who are kept out or muted, by their ids; `after` is the last user of the page before. At most 100. The
    /// owner and admins may.
    pub async fn restrictions(
        &self,
        kind: RestrictionKind,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<RestrictionsPage, CallError> {
        self.client.call(Restrictions { room: self.id.clone(), kind, after, limit }).await
    }

    /// Takes a message back: its sender may for a while ([`Limits::recall_window_ms`]), the room's owner and admins at any
    /// time if they may moderate the sender. Nothing is left of it but its place; the others get
    /// [`Event::MessageChanged`](crate::protocol::Event::MessageChanged).
    ///
    /// [`Limits::recall_window_ms`]: crate::protocol::session::Limits::recall_window_ms
    pub async fn recall(&self, position: Position) -> Result<Recalled, CallError> {
        self.client.call(Recall { conversation: self.conversation(), position }).await
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

    /// Reads messages that are kept by their numbers, oldest first, at most 100 at a time.
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

/// How long somebody may not something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As long as the room lives.
    End,
    /// Until a time on the server's clock, see [`Client::server_time`](crate::Client::server_time).
    Time(Timestamp),
    /// No longer: it is lifted.
    Lifted,
}

impl Until {
    fn on_wire(self) -> Option<Timestamp> {
        match self {
            Self::End => Some(Timestamp(0)),
            Self::Time(time) => Some(time),
            Self::Lifted => None,
        }
    }
}
