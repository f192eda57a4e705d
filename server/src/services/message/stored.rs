//! Messages of rooms that are kept.

use quail_protocol::{
    Code, Position, Reject,
    id::RoomId,
    message::{Direction, Recall, Send},
};

use super::{placed_before, prepare};
use crate::{
    context::Context,
    domain::room::Asker,
    hub::{
        Draw,
        fanout::{Reply, Ticket, answer_on_lane},
        rooms::Unplaced,
    },
    respond::Responder,
    session::Identity,
    store::{ConversationKey, RangeQuery, RecallChange, Write},
};

/// What the messages of a room are kept under, if they are.
pub(super) fn key_of(context: &Context, room: &RoomId) -> Option<ConversationKey> {
    context.shared.rooms.stored(&context.session.identity()?.app, room)
}

/// The same for who wants to read them, and must be in the room.
pub(super) fn readable(context: &Context, room: &RoomId) -> Result<Option<ConversationKey>, Reject> {
    let (app, asker) = context.asker()?;
    Ok(context.shared.rooms.stored_for(&app, room, &asker)?)
}

/// Checks a message, asks its room and queues it for the committer, which answers. As with peers nothing is awaited before
/// the queue but of one that is refused.
pub(super) async fn send(context: &Context, key: ConversationKey, send: Send, responder: Responder<Send>) {
    let (_, append) = match prepare(context, send, Some(key)) {
        Ok(prepared) => prepared,
        Err(reject) => return responder.reply(Err(reject)),
    };
    let shared = &context.shared;
    if let Err(reject) = context.draw(Draw::of(append.content.kind.rate_class())) {
        let answer = placed_before(context, &append).await.unwrap_or(Err(reject));
        return answer_on_lane(responder, answer);
    }
    let sent = shared.rooms.send_stored(&context.session, append, responder, shared.moment());
    let Err(refused) = sent else { return };
    let Unplaced { append, responder, reject } = *refused;
    let answer = placed_before(context, &append).await.unwrap_or_else(|| {
        shared.metrics.room_refused(append.asked, reject.code);
        Err(shared.with_wait(reject))
    });
    answer_on_lane(responder, answer);
}

/// Asks the room whether the user may take a message back, and queues that for the committer, which answers.
pub(super) async fn recall(
    context: &Context,
    room: &RoomId,
    key: ConversationKey,
    position: Position,
    responder: Responder<Recall>,
) {
    match prepare_recall(context, room, key, position).await {
        Ok(change) => {
            let (app, sender) = (change.key.app().clone(), context.session.clone());
            let ticket = Ticket::Session { app, sender, reply: Reply::Recall(responder) };
            context.shared.submit(Write::Recall(change), ticket);
        }
        Err(reject) => responder.reply(Err(reject)),
    }
}

async fn prepare_recall(
    context: &Context,
    room: &RoomId,
    key: ConversationKey,
    position: Position,
) -> Result<RecallChange, Reject> {
    let Identity { app, user, .. } = context.identity()?.clone();
    let shared = &context.shared;
    // Whoever is not in the room learns nothing of its messages.
    shared.rooms.stored_for(&app, room, &Asker::User(user.clone()))?;
    let Position { seq, .. } = position;
    let one = RangeQuery { from: seq, to: seq, entries_max: 1, bytes_max: 0, direction: Direction::Forwards };
    let read = shared.store.read_range(&key, one).await.map_err(|error| {
        tracing::error!(%error, "a message that is to be recalled cannot be read");
        Code::Internal
    })?;
    if read.head.epoch != position.epoch {
        return Err(Code::EpochMismatch.into());
    }
    let message = read.messages.first().ok_or(Code::MessageNotFound)?;
    let moderates = shared.rooms.moderates(&app, room, &user, &message.sender)?;
    let window = shared.app(&app)?.recall_window;
    let time = shared.clock.timestamp();
    Ok(RecallChange { key, position, user, moderates, window, time })
}
