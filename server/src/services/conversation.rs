//! Domain `conversation`: which there are, and how far a user has come.

use quail_protocol::{
    Code, Reject,
    bounded::List,
    conversation::{Conversations, Mark, Summary, Sync},
    limits::SYNC_CONVERSATIONS_MAX,
};

use crate::{
    apps,
    context::Context,
    domain::conversation::Marks,
    hub::fanout::{Reply, Ticket},
    respond::Responder,
    router::{Failure, Router},
    session::Identity,
    store::{ConversationKey, MarkChange, Write},
};

pub(super) fn routes(router: Router) -> Router {
    router.on_deferred(mark).on(sync)
}

/// Queues marks for the committer, which answers.
async fn mark(context: Context, mark: Mark, responder: Responder<Mark>) {
    let change = match prepare(&context, mark) {
        Ok(change) => change,
        Err(reject) => return responder.reply(Err(reject)),
    };
    let app = change.app.clone();
    let ticket = Ticket::Session { app, sender: context.session.clone(), reply: Reply::Mark(responder) };
    context.shared.submit(Write::Mark(change), ticket);
}

fn prepare(context: &Context, mark: Mark) -> Result<MarkChange, Reject> {
    let identity = context.identity()?;
    let (app, user) = (identity.app.clone(), identity.user.clone());
    let key = ConversationKey::of(&app, &user, &mark.conversation)?;
    let receipt = context.shared.app(&app)?.receipts;
    Ok(MarkChange {
        app,
        user,
        key,
        conversation: mark.conversation,
        epoch: mark.epoch,
        marks: Marks { delivered: mark.delivered, read: mark.read },
        receipt,
    })
}

async fn sync(context: Context, query: Sync) -> Result<Conversations, Failure> {
    let limit = usize::from(query.limit);
    if !(1..=SYNC_CONVERSATIONS_MAX).contains(&limit) {
        return Err(Code::InvalidArgument.into());
    }
    let Identity { app, user, .. } = context.identity()?;
    let store = &context.shared.store;
    let (page, more) = store.conversations(app, user, query.after.as_ref(), limit).await?;
    Ok(self::page(context.shared.app(app)?, page, more)?)
}

/// What a user of this app may know of a page of their conversations.
pub(super) fn page(app: &apps::Config, mut page: Vec<Summary>, more: bool) -> Result<Conversations, Code> {
    if !app.receipts {
        for summary in &mut page {
            (summary.peer_delivered, summary.peer_read) = Default::default();
        }
    }
    let next = page.last().filter(|_| more).map(|last| last.conversation.clone());
    Ok(Conversations { conversations: List::new(page).map_err(|_| Code::Internal)?, next })
}
