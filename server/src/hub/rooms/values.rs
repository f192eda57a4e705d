//! What rooms hold beside messages: changed under the room's lock and told to everybody else in it.

use std::sync::Arc;

use quail_protocol::{
    Code, Priority,
    event::EventBody,
    id::{AppId, RoomId},
};

use super::{Answer, Rooms};
use crate::{
    domain::room::{Change, Room as Rules},
    session::Session,
};

impl Rooms {
    /// Changes a room, and tells everybody in it but `session`, which did it, if something changed. Whoever reads too
    /// slowly is told that they missed something: changes may be large, and must not end anybody else's connection.
    pub fn change<R, E: EventBody>(
        &self,
        app: &AppId,
        room: &RoomId,
        session: &Arc<Session>,
        change: impl FnOnce(&mut Rules) -> Change<R, E>,
    ) -> Result<Answer<R>, Code> {
        self.ready()?;
        self.within(app, room, Code::RoomNotFound, |live| {
            let (answer, event) = change(&mut live.rules)?;
            if let Some(event) = event {
                live.tell_passing(&event, Priority::Normal, Some(session));
            }
            Ok(self.keep(app, room, live, answer))
        })
    }
}
