//! What a chat does and shows.

use futures_util::{FutureExt, future::BoxFuture, stream::FuturesUnordered};
use quail_client::{CallError, Client, Peer, Room};
use quail_protocol::{
    Conversation, Event, Position, Seq,
    conversation::{Marked, Summary},
    id::{RoomId, UserId},
    message::{Ack, Message, Recalled, Sent, SignalKind},
    room::{Entered, Left, Standing},
};

use super::{
    input::{HELP, Input, Outgoing},
    rooms::{self, Place},
    say, show,
};

/// Messages that one look into the history shows at most.
const HISTORY_MAX: u64 = 100;

/// A chat with one other user, or in a room.
pub(super) struct Chat {
    client: Client,
    me: UserId,
    peer: Peer,
    with: Conversation,
    /// Where lines go.
    place: Place,
    /// The room that is being come into.
    entering: Option<RoomId>,
    /// The last message of one's own and where it was said, which `/recall` takes back there.
    last_own: Option<(Conversation, Position)>,
    /// Up to where the other side's messages were shown and said to be read.
    shown: Option<Position>,
    marked: Option<Position>,
    /// Marks on their way, one at a time.
    pub(super) reading: FuturesUnordered<BoxFuture<'static, Result<Marked, CallError>>>,
}

/// What became of an [`Input`].
pub(super) enum Done {
    Sent(Result<Sent, CallError>, Conversation),
    /// A message without a number.
    Passed(Result<Sent, CallError>),
    /// The room of before, if this session is in one, is where lines go if this one does not let them in.
    Entered(Result<Box<Entered>, (CallError, Option<Room>)>, Room),
    Left(Result<Left, CallError>, Room),
    Recalled(Result<Recalled, CallError>, Seq),
    History(Result<Vec<Message>, CallError>),
    Unread(Result<Vec<Summary>, CallError>),
    Said(String),
}

impl Chat {
    pub(super) fn new(client: Client, peer: Peer) -> Self {
        Self {
            me: client.user_id().clone(),
            with: Conversation::Peer(peer.user_id().clone()),
            client,
            place: Place::Peer(peer.clone()),
            entering: None,
            peer,
            last_own: None,
            shown: None,
            marked: None,
            reading: FuturesUnordered::new(),
        }
    }

    /// Begins what was asked for.
    pub(super) fn act(&mut self, input: Input) -> BoxFuture<'static, Done> {
        let (client, peer, place) = (self.client.clone(), self.peer.clone(), self.place.clone());
        match input {
            Input::Text(priority, text) => sending(&place, place.message(text).priority(priority)),
            Input::Send(outgoing) => match *outgoing {
                Outgoing::Command(body) => {
                    let sending = place.compose(&body).send();
                    async { Done::Passed(sending.await.map_err(Into::into)) }.boxed()
                }
                Outgoing::Custom(body) => sending(&place, place.compose(&body)),
                Outgoing::File(body) => sending(&place, place.compose(&body)),
                Outgoing::Image(body) => sending(&place, place.compose(&body)),
                Outgoing::Location(body) => sending(&place, place.compose(&body)),
            },
            Input::Enter(room) => match client.room(room.as_str()) {
                Ok(room) => {
                    // What is typed before the answer must not reach the other user.
                    self.place = Place::Room(room.clone());
                    self.entering = Some(room.id().clone());
                    async move {
                        let before = place.room().cloned();
                        Done::Entered(rooms::enter(&room, before).await, room)
                    }
                    .boxed()
                }
                Err(error) => answer(format!("! {error}")),
            },
            Input::Leave => match place {
                Place::Room(room) => async move { Done::Left(room.leave().await, room) }.boxed(),
                Place::Peer(_) => answer("! you are in no room"),
            },
            Input::Typing if place.room().is_some() => {
                answer("! that is for the other user: /leave the room before")
            }
            Input::Recall(seq) => {
                let last = self.last_own.clone().filter(|(said, _)| *said == place.conversation());
                async move { recall(&place, seq, last.map(|(_, position)| position)).await }.boxed()
            }
            Input::History(count) => async move {
                let page = place.newest().await;
                let newest = |messages: Vec<Message>| {
                    let wanted = usize::try_from(count.min(HISTORY_MAX)).unwrap_or(messages.len());
                    messages[messages.len().saturating_sub(wanted)..].to_vec()
                };
                Done::History(page.map(|page| newest(page.messages.into_vec())))
            }
            .boxed(),
            Input::Unread => async move { Done::Unread(unread(&client).await) }.boxed(),
            Input::Typing => {
                answer(peer.typing().map_or_else(|error| format!("! {error}"), |()| "  told".to_owned()))
            }
            Input::Help | Input::Nothing | Input::Quit => answer(HELP),
        }
    }

    /// Shows what became of it.
    pub(super) fn done(&mut self, done: Done) -> anyhow::Result<()> {
        match done {
            Done::Sent(Ok(sent), place) => self.sent(&sent, place),
            Done::Entered(Ok(entered), room) => {
                self.entered(&room);
                say(format_args!("{}", rooms::entered(&entered)))?;
                entered
                    .recent
                    .iter()
                    .try_for_each(|message| say(format_args!("{}", show::message(message, &self.me))))
            }
            Done::Entered(Err((error, before)), room) => {
                self.entered(&room);
                self.go_from(&room, before);
                failed(&error)
            }
            // The event says it.
            Done::Left(Ok(_), _) => Ok(()),
            Done::Left(Err(error), room) => {
                if rooms::is_out(&error) && self.entering.as_ref() != Some(room.id()) {
                    self.go_from(&room, None);
                }
                failed(&error)
            }
            Done::Passed(Ok(sent)) if sent.ack == Ack::NotDelivered => self.not_delivered(),
            Done::Passed(Ok(_)) => say(format_args!("  told")),
            Done::Recalled(Ok(_), seq) => say(format_args!("  took back message {}", seq.0)),
            Done::History(Ok(messages)) => self.history(&messages),
            Done::Unread(Ok(summaries)) => unread_lines(&summaries),
            Done::Said(line) => say(format_args!("{line}")),
            Done::Sent(Err(error), _)
            | Done::Passed(Err(error))
            | Done::Recalled(Err(error), _)
            | Done::History(Err(error))
            | Done::Unread(Err(error)) => failed(&error),
        }
    }

    /// The answer is there.
    fn entered(&mut self, room: &Room) {
        _ = self.entering.take_if(|entering| entering == room.id());
    }

    /// From a room that this session is not in, lines go to another, or to the other user.
    fn go_from(&mut self, room: &Room, to: Option<Room>) {
        if self.place.room().is_some_and(|now| now.id() == room.id()) {
            self.place = to.map_or_else(|| Place::Peer(self.peer.clone()), Place::Room);
        }
    }

    fn sent(&mut self, sent: &Sent, place: Conversation) -> anyhow::Result<()> {
        self.last_own = Some((place, sent.position));
        say(format_args!("  sent as {}", sent.position.seq.0))
    }

    fn not_delivered(&self) -> anyhow::Result<()> {
        match &self.place {
            Place::Peer(peer) => say(format_args!("! not delivered: {} is not there", peer.user_id())),
            Place::Room(_) => say(format_args!("! not delivered: nobody else is there")),
        }
    }

    fn history(&self, messages: &[Message]) -> anyhow::Result<()> {
        if messages.is_empty() {
            return say(format_args!("* nothing was said yet"));
        }
        for message in messages {
            let number = message.position.seq.0;
            if message.recall.is_some() {
                say(format_args!("{number:>5}  (taken back) {}", message.sender))?;
            } else {
                say(format_args!("{number:>5}  {}: {}", message.sender, show::content(&message.content)))?;
            }
        }
        Ok(())
    }

    /// Shows an event. What the other side said is read thereby.
    pub(super) fn event(&mut self, event: &Event, waited: bool) -> anyhow::Result<()> {
        match event {
            Event::MessageSent(message) => {
                let note = if waited { " (while you were away)" } else { "" };
                say(format_args!("{}{note}", show::message(message, &self.me)))?;
                let is_of_room = matches!(message.conversation, Conversation::Room(_));
                if message.sender == *self.peer.user_id() && !is_of_room {
                    self.shown = self.shown.max(Some(message.position));
                    self.read();
                }
                Ok(())
            }
            Event::MessageChanged(changed) => {
                say(format_args!("* {}", show::message(&changed.message, &self.me)))
            }
            Event::MessagePassed(passing) => {
                let author = show::author(&passing.sender, &passing.conversation, &self.me);
                let place = show::place(&passing.conversation);
                say(format_args!("{place}{author}: {}", show::content(&passing.content)))
            }
            Event::MessagesDropped(dropped) => {
                say(format_args!("* too slow for {}: {} were dropped", dropped.conversation, dropped.count))
            }
            Event::Signaled(signal) if signal.kind == SignalKind::Typing => {
                say(format_args!("* {} is writing", signal.sender))
            }
            Event::PeerMarked(marked) if marked.conversation == self.with && marked.read > Seq(0) => {
                say(format_args!("  {} has read up to {}", self.peer.user_id(), marked.read.0))
            }
            Event::PeerMarked(marked) if marked.conversation == self.with => {
                say(format_args!("  {} has got up to {}", self.peer.user_id(), marked.delivered.0))
            }
            Event::Behind(behind) => {
                say(format_args!("* too slow for {}: messages were skipped", behind.conversation))
            }
            Event::Draining(_) => say(format_args!("* the server is going away")),
            Event::TokenWillExpire(soon) => say(format_args!("* the token expires in {} s", soon.seconds)),
            Event::RoomStateChanged(changed) => {
                // While it is being come into, the answer decides.
                let asked = self.entering.as_ref() == Some(&changed.room);
                if changed.state == Standing::Disconnected
                    && !asked
                    && let Ok(room) = self.client.room(changed.room.as_str())
                {
                    self.go_from(&room, None);
                }
                happens(event)
            }
            Event::MessageGap(_)
            | Event::MembersJoined(_)
            | Event::MembersLeft(_)
            | Event::RoomInfoUpdated(_)
            | Event::AttributesUpdated(_)
            | Event::MemberAttributesUpdated(_)
            | Event::CountersUpdated(_)
            | Event::RoomRoleChanged(_)
            | Event::RoomRestrictionChanged(_)
            | Event::RoomMuteAllChanged(_) => happens(event),
            // Where it leaves this chat is told by the client.
            Event::RoomLeft(_)
            | Event::Signaled(_)
            | Event::PeerMarked(_)
            | Event::ConversationMarked(_)
            | Event::ProfileUpdated(_)
            | Event::Unknown { .. } => Ok(()),
        }
    }

    /// Says how far this user has read, unless that is being said.
    fn read(&mut self) {
        if let Some(shown) = self.shown
            && self.marked < Some(shown)
            && self.reading.is_empty()
        {
            self.marked = Some(shown);
            let peer = self.peer.clone();
            self.reading.push(async move { peer.mark_read(shown).await }.boxed());
        }
    }

    pub(super) fn was_read(&mut self, read: Result<Marked, CallError>) -> anyhow::Result<()> {
        match read {
            Ok(_) => self.read(),
            Err(error) => failed(&error)?,
        }
        Ok(())
    }
}

fn sending(place: &Place, outgoing: quail_client::Outgoing) -> BoxFuture<'static, Done> {
    let place = place.conversation();
    async move { Done::Sent(outgoing.send().await.map_err(Into::into), place) }.boxed()
}

fn answer(line: impl Into<String>) -> BoxFuture<'static, Done> {
    std::future::ready(Done::Said(line.into())).boxed()
}

/// Shows what happens in a room.
fn happens(event: &Event) -> anyhow::Result<()> {
    rooms::line(event).map_or(Ok(()), |line| say(format_args!("{line}")))
}

async fn recall(place: &Place, seq: Option<Seq>, last_own: Option<Position>) -> Done {
    let position = match (seq, last_own) {
        (Some(seq), Some(last)) => Position { seq, ..last },
        (Some(seq), None) => match place.newest().await {
            Ok(page) => Position { seq, ..page.head },
            Err(error) => return Done::Recalled(Err(error), seq),
        },
        (None, Some(last)) => last,
        (None, None) => return Done::Said("! you have sent nothing here to take back".to_owned()),
    };
    Done::Recalled(place.recall(position).await, position.seq)
}

async fn unread(client: &Client) -> Result<Vec<Summary>, CallError> {
    let (mut unread, mut after) = (vec![], None);
    loop {
        let page = client.conversations(after).await?;
        unread.extend(page.conversations.into_vec().into_iter().filter(|summary| summary.unread > 0));
        after = page.next;
        if after.is_none() {
            return Ok(unread);
        }
    }
}

fn unread_lines(summaries: &[Summary]) -> anyhow::Result<()> {
    for summary in summaries {
        say(format_args!("* {} unread of {}", summary.unread, summary.conversation))?;
    }
    Ok(())
}

fn failed(error: &CallError) -> anyhow::Result<()> {
    match error {
        CallError::Reject(reject) => say(format_args!("! refused: {reject}")),
        error => say(format_args!("! not done: {error}")),
    }
}
