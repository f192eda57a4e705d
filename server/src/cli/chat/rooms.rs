//! Rooms in a chat: what is said there, and what happens.

use quail_client::{CallError, Outgoing, Peer, Room};
use quail_protocol::{
    Code, Conversation, Event, Position,
    message::{MessageBody, Page, Recalled},
    room::{
        Entered, EntryStatus, LeaveCause, RestrictionKind, RoomStateChanged, Standing, StandingCause,
        StandingDetail,
    },
};

use super::show::printable;

/// How many of the newest messages are shown to who comes in.
const RECENT: u8 = 10;

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// To the other user.
    Peer(Peer),
    /// To everybody in a room.
    Room(Room),
}

impl Place {
    /// Starts a text.
    pub(super) fn message(&self, text: String) -> Outgoing {
        match self {
            Self::Peer(peer) => peer.message(text),
            Self::Room(room) => room.message(text),
        }
    }

    /// Starts a message of any kind.
    pub(super) fn compose(&self, body: &impl MessageBody) -> Outgoing {
        match self {
            Self::Peer(peer) => peer.compose(body),
            Self::Room(room) => room.compose(body),
        }
    }

    /// The newest messages.
    pub(super) async fn newest(&self) -> Result<Page, CallError> {
        match self {
            Self::Peer(peer) => peer.history_backwards(..).await,
            Self::Room(room) => room.history_backwards(..).await,
        }
    }

    /// Takes a message back.
    pub(super) async fn recall(&self, position: Position) -> Result<Recalled, CallError> {
        match self {
            Self::Peer(peer) => peer.recall(position).await,
            Self::Room(room) => room.recall(position).await,
        }
    }

    /// What it is on the wire.
    pub(super) fn conversation(&self) -> Conversation {
        match self {
            Self::Peer(peer) => Conversation::Peer(peer.user_id().clone()),
            Self::Room(room) => Conversation::Room(room.id().clone()),
        }
    }

    /// The room, if it is one.
    pub(super) fn room(&self) -> Option<&Room> {
        match self {
            Self::Peer(_) => None,
            Self::Room(room) => Some(room),
        }
    }
}

/// Comes into a room, out of the one before if there is one. If that does not work, the room of before is returned too,
/// unless this session is out of it.
pub(super) async fn enter(
    room: &Room,
    before: Option<Room>,
) -> Result<Box<Entered>, (CallError, Option<Room>)> {
    let mut stays_in = before;
    if let Some(before) = stays_in.as_ref().filter(|before| before.id() != room.id()) {
        match before.switch_to(room, Some(Default::default()), RECENT).await {
            Ok(switched) => return Ok(Box::new(switched.entered)),
            Err(error) if is_out(&error) => stays_in = None,
            Err(error) => return Err((error, stays_in)),
        }
    }
    match room.enter(Default::default(), RECENT).await {
        Ok(entered) => Ok(Box::new(entered)),
        Err(error) => Err((error, stays_in)),
    }
}

/// Whether what was refused says that this session is in no such room.
pub(super) fn is_out(error: &CallError) -> bool {
    let CallError::Reject(reject) = error else { return false };
    matches!(reject.code, Code::NotInRoom | Code::RoomNotFound)
}

/// What was found there.
pub(super) fn entered(Entered { status, state, .. }: &Entered) -> String {
    let made = if *status == EntryStatus::Created { ", which is new" } else { "" };
    format!("* in room {}{made}: {} are there; lines go to it, /leave leaves it", state.room, state.members)
}

/// What happens in a room, as a line.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::MembersJoined(came) => {
            let users = came.joined.iter().map(|member| member.user.to_string());
            let all = names(users.collect(), came.count);
            format!("* [{}] {all} came in, {} are there", came.room, came.members)
        }
        Event::MembersLeft(gone) => {
            let users = gone.left.iter().map(|gone| format!("{}{}", gone.user, how(gone.cause)));
            let all = names(users.collect(), gone.count);
            format!("* [{}] {all} left, {} are there", gone.room, gone.members)
        }
        Event::RoomInfoUpdated(told) => {
            let (name, notice) = (printable(told.info.name.as_str()), printable(told.info.notice.as_str()));
            format!("* [{}] {} changed it: {name:?}, {notice:?}", told.room, told.operator)
        }
        Event::RoomRoleChanged(told) => {
            format!("* [{}] {} is {:?} now", told.room, told.user, told.role)
        }
        Event::RoomRestrictionChanged(told) => {
            let what = match (told.kind, told.until) {
                (RestrictionKind::Ban, Some(_)) => "is kept out",
                (RestrictionKind::Ban, None) => "may come again",
                (_, Some(_)) => "may not speak",
                (_, None) => "may speak again",
            };
            format!("* [{}] {} {what}", told.room, told.user)
        }
        Event::RoomMuteAllChanged(told) => {
            let what = if told.until.is_some() { "nobody may speak" } else { "everybody may speak again" };
            format!("* [{}] {what}", told.room)
        }
        Event::AttributesUpdated(told) => format!("* [{}] {} changed attributes", told.room, told.operator),
        Event::MemberAttributesUpdated(told) => {
            format!("* [{}] {} changed attributes of members", told.room, told.operator)
        }
        Event::CountersUpdated(told) => format!("* [{}] {} changed counters", told.room, told.operator),
        Event::MessageGap(gap) => {
            format!("* too slow for {}: {} were dropped", gap.conversation, gap.count)
        }
        Event::RoomStateChanged(changed) => return standing(changed),
        _ => return None,
    })
}

/// Where this chat stands, unless that is the answer to what was typed.
fn standing(RoomStateChanged { room, state, cause, detail }: &RoomStateChanged) -> Option<String> {
    let what = match (state, cause) {
        (Standing::Connecting, StandingCause::Interrupted) => "the connection is lost".to_owned(),
        (Standing::Connected, StandingCause::Rejoined) => "in it again".to_owned(),
        (Standing::Connected, _) | (Standing::Connecting, _) => return None,
        (_, StandingCause::Left | StandingCause::Switching) => "left it".to_owned(),
        (_, cause) => format!("out of it: {cause:?}"),
    };
    let why = match detail {
        StandingDetail::PutOut { operator: Some(operator), reason, .. } => {
            format!(" by {operator} {}", printable(reason.as_str()))
        }
        StandingDetail::Refused(reject) => format!(" ({reject})"),
        _ => String::new(),
    };
    Some(format!("* [{room}] {what}{why}"))
}

fn how(cause: LeaveCause) -> &'static str {
    match cause {
        LeaveCause::KickedOut => " (kicked out)",
        LeaveCause::Banned => " (banned)",
        LeaveCause::Offline => " (offline)",
        _ => "",
    }
}

fn names(named: Vec<String>, count: u32) -> String {
    let others = (count as usize).saturating_sub(named.len());
    let names = named.join(", ");
    if others == 0 { names } else { format!("{names} and {others} more") }
}

#[cfg(test)]
mod tests {
    use quail_protocol::{Code, bounded::Text, id::RoomId};

    use super::*;

    fn changed(state: Standing, cause: StandingCause, detail: StandingDetail) -> Option<String> {
        let room = RoomId::new("r").unwrap();
        line(&Event::RoomStateChanged(RoomStateChanged { room, state, cause, detail }))
    }

    #[test]
    fn what_was_asked_for_is_not_told_twice_and_what_was_not_is_told_with_its_reason() {
        use Standing::{Connected, Connecting, Disconnected};
        let none = || StandingDetail::None;
        let reason = Text::new("bell\u{7}").unwrap();
        let operator = Some("alice".parse().unwrap());
        let put_out = StandingDetail::PutOut { cause: LeaveCause::KickedOut, operator, reason };
        let refused = StandingDetail::Refused(Code::RoomFull.into());
        for (state, cause, detail, expected) in [
            (Connecting, StandingCause::Entering, none(), None),
            (Connected, StandingCause::Success, none(), None),
            (Connecting, StandingCause::Interrupted, none(), Some("* [r] the connection is lost")),
            (Connected, StandingCause::Rejoined, none(), Some("* [r] in it again")),
            (Disconnected, StandingCause::Left, none(), Some("* [r] left it")),
            (
                Disconnected,
                StandingCause::KickedOut,
                put_out,
                Some("* [r] out of it: KickedOut by alice bell\u{fffd}"),
            ),
        ] {
            assert_eq!(changed(state, cause, detail).as_deref(), expected, "{cause:?}");
        }
        let line = changed(Disconnected, StandingCause::EnterFailed, refused).unwrap();
        assert!(line.starts_with("* [r] out of it: EnterFailed ("), "{line}");
    }

    #[test]
    fn of_many_who_come_some_are_named() {
        assert_eq!(names(vec!["a".into(), "b".into()], 2), "a, b");
        assert_eq!(names(vec!["a".into(), "b".into()], 7), "a, b and 5 more");
    }
}
