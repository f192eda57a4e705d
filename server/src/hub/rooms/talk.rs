//! What is said in rooms.

use std::sync::Arc;

use quail_protocol::{
    Code, Reject,
    id::{AppId, RoomId},
    message::{Changed, Recalled, Sent},
};

use super::{Now, Rooms};
use crate::{
    domain::room::{Change, Room as Rules, Sending},
    session::Session,
};

impl Rooms {
    /// Gives a message its place, or none if it is to have none, and tells everybody in the room. `answer` tells the
    /// sender, in the same order. In a room whose messages are kept it is for those that get none.
    pub fn send(
        &self,
        app: &AppId,
        room: &RoomId,
        session: &Arc<Session>,
        sending: Sending,
        now: Now,
        answer: impl FnOnce(Result<Sent, Reject>) + Send + 'static,
    ) {
        let Some(found) = self.find(app, room) else { return answer(Err(Code::NotInRoom.into())) };
        let mut live = found.lock();
        let is_for_the_store = found.stored.is_some() && sending.content.options.persist;
        // Nobody is in a room that has ended. One whose messages are kept was made since the sender looked.
        if !live.has(session) || is_for_the_store {
            return answer(Err(Code::NotInRoom.into()));
        }
        if sending.content.options.persist {
            live.place(session, sending, now, &self.metrics, answer);
        } else {
            live.pass(session, sending, now, &self.metrics, answer);
        }
    }

    /// The first result of a message that was placed before.
    pub fn placed_before(
        &self,
        app: &AppId,
        room: &RoomId,
        sending: &Sending,
    ) -> Option<Result<Sent, Reject>> {
        let found = self.find(app, room)?;
        let live = found.lock();
        live.placed_before(sending)
    }

    /// Changes a message of a room, and tells everybody in it but `session`, which did it, on the lane of the message.
    /// Nothing of it is kept.
    pub fn change_message(
        &self,
        app: &AppId,
        room: &RoomId,
        session: &Arc<Session>,
        change: impl FnOnce(&mut Rules) -> Change<Recalled, Changed>,
    ) -> Result<Recalled, Code> {
        self.within(app, room, Code::NotInRoom, |live| {
            let (answer, event) = change(&mut live.rules)?;
            if let Some(event) = event {
                live.tell_passing(&event, event.message.priority, Some(session));
            }
            Ok(answer)
        })
    }
}
