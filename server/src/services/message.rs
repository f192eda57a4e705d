//! Domain `message`: sending, reading back, taking back.

mod stored;

use std::sync::Arc;

use quail_protocol::{
    Code, Conversation, Position, Reject,
    bounded::List,
    event::EventBody,
    frame::{self, Malformed},
    id::{AppId, MessageId, RoomId},
    limits::{HISTORY_BYTES_MAX, HISTORY_ENTRIES_MAX},
    message::{Ack, Changes, ChangesPage, History, Page, Recall, Recalled, Send, Sent, Signal, Signaled},
};

use crate::{
    apps::UnknownRecipients,
    context::Context,
    domain::{
        self,
        room::{Room as Rules, Sending},
    },
    hub::{
        Draw,
        fanout::{Reply, Ticket, answer_on_lane},
    },
    respond::Responder,
    router::{Failure, Router},
    session::{Identity, outbox::Pushed},
    store::{Append, Appended, ConversationKey, Place, RangeQuery, RecallChange, Write, content_hash},
};

pub(super) fn routes(router: Router) -> Router {
    router.on_deferred(send).on(history).on_deferred(recall).on(changes).on_signal(signal)
}

/// Checks a message and queues it for the committer, which answers. Nothing is awaited before the queue, so messages
/// of one lane are placed in the order in which they arrived.
async fn send(context: Context, send: Send, responder: Responder<Send>) {
    if let Conversation::Room(room) = &send.conversation {
        let room = room.clone();
        return match stored::key_of(&context, &room).filter(|_| send.content.options.persist) {
            Some(key) => stored::send(&context, key, send, responder).await,
            None => send_to_room(&context, &room, send, responder),
        };
    }
    let (app, append) = match prepare(&context, send, None) {
        Ok(prepared) => prepared,
        Err(reject) => return responder.reply(Err(reject)),
    };
    if let Err(reject) = context.draw(Draw::of(append.content.kind.rate_class())) {
        let answer = placed_before(&context, &append).await.unwrap_or(Err(reject));
        return responder.reply(answer);
    }
    if append.content.options.online_only && !is_there(&context, &app, &append) {
        // A retry of one that was placed while the other side was there has its place.
        let before =
            if append.content.options.persist { placed_before(&context, &append).await } else { None };
        return responder.reply(before.unwrap_or_else(|| Ok(not_delivered(&append))));
    }
    let ticket = Ticket::Session { app, sender: context.session.clone(), reply: Reply::Send(responder) };
    context.shared.submit(Write::Append(append), ticket);
}

/// Checks a message and gives it to its room, which answers.
fn send_to_room(context: &Context, room: &RoomId, send: Send, responder: Responder<Send>) {
    let (app, sending) = match prepare_for_room(context, send) {
        Ok(prepared) => prepared,
        Err(reject) => return responder.reply(Err(reject)),
    };
    let rooms = &context.shared.rooms;
    if let Err(reject) = context.draw(Draw::of(sending.content.kind.rate_class())) {
        return responder.reply(rooms.placed_before(&app, room, &sending).unwrap_or(Err(reject)));
    }
    let now = context.shared.moment();
    rooms.send(&app, room, &context.session, sending, now, |result| answer_on_lane(responder, result));
}

fn prepare_for_room(context: &Context, send: Send) -> Result<(AppId, Sending), Reject> {
    let Identity { app, user, .. } = context.identity()?.clone();
    let Send { conversation, id: client_id, priority, content } = send;
    let sizes = context.shared.app(&app)?.sizes.in_force();
    domain::message::check_content(&content, &conversation, &sizes)?;
    let time = context.shared.clock.timestamp();
    domain::message::check_id_in_room(client_id, time)?;
    let (unix_ms, random) = context.shared.entropy.id_parts(time);
    let hash = content_hash(priority, &content);
    Ok((app, Sending { user, id: MessageId::at(unix_ms, random), client_id, priority, content, hash }))
}

/// A message that waits for its place: in the conversation that `key` names, or as the sender names it.
fn prepare(context: &Context, send: Send, key: Option<ConversationKey>) -> Result<(AppId, Append), Reject> {
    let Identity { app, user, .. } = context.identity()?.clone();
    let config = context.shared.app(&app)?;
    domain::message::check_content(&send.content, &send.conversation, &config.sizes.in_force())?;
    let key = match key {
        Some(key) => key,
        None => ConversationKey::of(&app, &user, &send.conversation)?,
    };
    let time = context.shared.clock.timestamp();
    domain::message::check_id(send.id, time)?;
    let known = match config.unknown_recipients {
        UnknownRecipients::Accept => None,
        UnknownRecipients::Refuse => key.other(&user).cloned(),
    };
    let (unix_ms, random) = context.shared.entropy.id_parts(time);
    let append = Append {
        key,
        conversation: send.conversation,
        sender: user,
        member: None,
        id: MessageId::at(unix_ms, random),
        client_id: send.id,
        time,
        asked: send.priority,
        priority: send.priority,
        content: send.content,
        known,
        keep: config.history.entries_max,
    };
    Ok((app, append))
}

/// The first result of a message that was placed before: a retry must get it even when the user asks too often.
async fn placed_before(context: &Context, append: &Append) -> Option<Result<Sent, Reject>> {
    let store = &context.shared.store;
    match store.find(append).await.ok()?? {
        Appended::Duplicate(place) => Some(Ok(place.sent(store.ack()))),
        _ => Some(Err(Code::MessageConflict.into())),
    }
}

/// True if the other side has a connection; in a conversation with oneself, another terminal.
fn is_there(context: &Context, app: &AppId, append: &Append) -> bool {
    let Append { key, sender, .. } = append;
    let reader = key.other(sender).unwrap_or(sender);
    let sessions = context.shared.hub.sessions(app, reader);
    sessions.iter().any(|session| !Arc::ptr_eq(session, &context.session) && !session.outbox.is_away())
}

/// The answer to a message that nothing was done with.
fn not_delivered(append: &Append) -> Sent {
    let Append { id, time, priority, .. } = *append;
    let (position, prev, rev) = Default::default();
    Place { id, position, prev, rev, priority, time }.sent(Ack::NotDelivered)
}

async fn history(context: Context, query: History) -> Result<Page, Failure> {
    let entries_max = page_size(query.limit)?;
    let History { from, to, direction, .. } = query;
    let range = RangeQuery { from, to, entries_max, bytes_max: HISTORY_BYTES_MAX, direction };
    let key = match &query.conversation {
        Conversation::Room(room) => match stored::readable(&context, room)? {
            Some(key) => key,
            None => {
                let (app, asker) = context.asker()?;
                return Ok(context.shared.rooms.history(&app, room, &asker, range)?);
            }
        },
        conversation => key(&context, conversation)?,
    };
    let read = context.shared.store.read_range(&key, range).await?;
    let messages = List::new(read.messages).map_err(|_| Code::Internal)?;
    Ok(Page { head: read.head, first: read.first, rev: read.rev, messages, next: read.next })
}

/// Queues a recall for the committer, which answers.
async fn recall(context: Context, recall: Recall, responder: Responder<Recall>) {
    if let Conversation::Room(room) = &recall.conversation {
        if let Some(key) = stored::key_of(&context, room) {
            let room = room.clone();
            return stored::recall(&context, &room, key, recall.position, responder).await;
        }
        return responder.reply(recall_in_room(&context, room, recall.position));
    }
    let (app, change) = match prepare_recall(&context, recall) {
        Ok(prepared) => prepared,
        Err(reject) => return responder.reply(Err(reject)),
    };
    let ticket = Ticket::Session { app, sender: context.session.clone(), reply: Reply::Recall(responder) };
    context.shared.submit(Write::Recall(change), ticket);
}

fn prepare_recall(context: &Context, recall: Recall) -> Result<(AppId, RecallChange), Reject> {
    let key = key(context, &recall.conversation)?;
    let Identity { app, user, .. } = context.identity()?.clone();
    let window = context.shared.app(&app)?.recall_window;
    let time = context.shared.clock.timestamp();
    Ok((app, RecallChange { key, position: recall.position, user, moderates: false, window, time }))
}

fn recall_in_room(context: &Context, room: &RoomId, position: Position) -> Result<Recalled, Reject> {
    let Identity { app, user, .. } = context.identity()?;
    let (window, time) = (context.shared.app(app)?.recall_window, context.shared.clock.timestamp());
    let recall = |rules: &mut Rules| rules.recall(user, position, window, time);
    Ok(context.shared.rooms.change_message(app, room, &context.session, recall)?)
}

async fn changes(context: Context, query: Changes) -> Result<ChangesPage, Failure> {
    let entries_max = page_size(query.limit)?;
    let key = match &query.conversation {
        Conversation::Room(room) => match stored::readable(&context, room)? {
            Some(key) => key,
            None => {
                let (app, asker) = context.asker()?;
                return Ok(context.shared.rooms.changes(&app, room, &asker, query.since, entries_max)?);
            }
        },
        conversation => key(&context, conversation)?,
    };
    let read = context.shared.store.changes(&key, query.since, entries_max, HISTORY_BYTES_MAX).await?;
    let messages = List::new(read.messages).map_err(|_| Code::Internal)?;
    Ok(ChangesPage { head: read.head, rev: read.rev, messages, more: read.more })
}

/// Tells a signal to the other user's connected sessions. One that may not be told is discarded.
fn signal(context: &Context, body: &[u8]) -> Result<(), Malformed> {
    let signal = frame::decode(body)?;
    if let Err(reason) = tell_signal(context, signal) {
        context.session.count_free();
        context.shared.metrics.signal_discarded(reason);
    }
    Ok(())
}

/// The error says why the signal is discarded.
fn tell_signal(context: &Context, signal: Signal) -> Result<(), &'static str> {
    let Identity { app, user, .. } = context.session.identity().ok_or("not logged in")?;
    let Conversation::Peer(recipient) = signal.conversation.clone() else { return Err("refused") };
    let config = context.shared.app(app).map_err(|_| "refused")?;
    if signal.body.len() > config.sizes.in_force().signal {
        return Err("too large");
    }
    context.draw(Draw::Signal).map_err(|_| "rate")?;
    let Signal { conversation, kind, body } = signal;
    let frame = Signaled { conversation, sender: user.clone(), kind, body }.to_frame();
    let others = context.shared.hub.sessions(app, &recipient);
    for session in others.iter().filter(|session| !Arc::ptr_eq(session, &context.session)) {
        if session.outbox.push_signal(frame.clone()) == Pushed::Dropped {
            context.shared.metrics.signal_discarded("no room");
        }
    }
    Ok(())
}

fn key(context: &Context, conversation: &Conversation) -> Result<ConversationKey, Reject> {
    let Identity { app, user, .. } = context.identity()?;
    Ok(ConversationKey::of(app, user, conversation)?)
}

fn page_size(limit: u16) -> Result<usize, Reject> {
    let limit = usize::from(limit);
    if (1..=HISTORY_ENTRIES_MAX).contains(&limit) { Ok(limit) } else { Err(Code::InvalidArgument.into()) }
}
