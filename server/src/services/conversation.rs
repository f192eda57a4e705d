//! Domain `conversation`: how far a user has come.

use quail_protocol::{Reject, conversation::Mark};

use crate::{
    context::Context,
    domain::conversation::Marks,
    hub::fanout::{Reply, Ticket},
    respond::Responder,
    router::Router,
    store::{ConversationKey, MarkChange, Write},
};

pub(super) fn routes(router: Router) -> Router {
    router.on_deferred(mark)
}

/// Queues marks for the committer, which answers.
async fn mark(context: Context, mark: Mark, responder: Responder<Mark>) {
    let change = match prepare(&context, mark) {
        Ok(change) => change,
        Err(reject) => return responder.reply(Err(reject)),
    };
    let app = change.app.clone();
    let ticket = Ticket { app, sender: context.session.clone(), reply: Reply::Mark(responder) };
    context.shared.submit(Write::Mark(change), ticket);
}

fn prepare(context: &Context, mark: Mark) -> Result<MarkChange, Reject> {
    let identity = context.identity()?;
    let (app, user) = (identity.app.clone(), identity.user.clone());
    let key = ConversationKey::of(&app, &user, &mark.conversation)?;
    Ok(MarkChange {
        app,
        user,
        key,
        conversation: mark.conversation,
        epoch: mark.epoch,
        marks: Marks { delivered: mark.delivered, read: mark.read },
    })
}
