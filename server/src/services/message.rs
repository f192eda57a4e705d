//! Domain `message`: sending and reading back.

use quail_protocol::{
    Code, Reject,
    bounded::List,
    id::{AppId, MessageId},
    limits::{HISTORY_BYTES_MAX, HISTORY_ENTRIES_MAX},
    message::{History, Page, Send, Sent},
};

use crate::{
    context::Context,
    domain,
    hub::{
        Draw,
        fanout::{Reply, Ticket},
    },
    respond::Responder,
    router::{Failure, Router},
    session::Identity,
    store::{Append, Appended, ConversationKey, RangeQuery, Write},
};

pub(super) fn routes(router: Router) -> Router {
    router.on_deferred(send).on(history)
}

/// Checks a message and queues it for the committer, which answers. Nothing is awaited before the queue, so messages
/// of one lane are placed in the order in which they arrived.
async fn send(context: Context, send: Send, responder: Responder<Send>) {
    let (app, append) = match prepare(&context, send) {
        Ok(prepared) => prepared,
        Err(reject) => return responder.reply(Err(reject)),
    };
    if let Err(reject) = context.draw(Draw::Text) {
        let answer = placed_before(&context, &append).await.unwrap_or(Err(reject));
        return responder.reply(answer);
    }
    let ticket = Ticket { app, sender: context.session.clone(), reply: Reply::Send(responder) };
    context.shared.submit(Write::Append(append), ticket);
}

fn prepare(context: &Context, send: Send) -> Result<(AppId, Append), Reject> {
    let Identity { app, user, .. } = context.identity()?.clone();
    domain::message::check_body(send.kind, &send.body)?;
    let key = ConversationKey::of(&app, &user, &send.conversation)?;
    let keep = context.shared.app(&app)?.history.entries_max;
    let time = context.shared.clock.timestamp();
    domain::message::check_id(send.id, time)?;
    let (unix_ms, random) = context.shared.entropy.id_parts(time);
    let append = Append {
        key,
        conversation: send.conversation,
        sender: user,
        id: MessageId::at(unix_ms, random),
        client_id: send.id,
        time,
        priority: send.priority,
        kind: send.kind,
        body: send.body,
        ext: send.ext,
        keep,
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

async fn history(context: Context, query: History) -> Result<Page, Failure> {
    let entries_max = usize::from(query.limit);
    if !(1..=HISTORY_ENTRIES_MAX).contains(&entries_max) {
        return Err(Code::InvalidArgument.into());
    }
    let identity = context.identity()?;
    let key = ConversationKey::of(&identity.app, &identity.user, &query.conversation)?;
    let range = RangeQuery { from: query.from, to: query.to, entries_max, bytes_max: HISTORY_BYTES_MAX };
    let read = context.shared.store.read_range(&key, range).await?;
    let messages = List::new(read.messages).map_err(|_| Code::Internal)?;
    Ok(Page { head: read.head, first: read.first, messages, next: read.next })
}
