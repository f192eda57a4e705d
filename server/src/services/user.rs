//! Domain `user`: who an account is.

use std::sync::Arc;

use quail_protocol::{
    Code,
    bounded::List,
    limits::FEED_PAGE_ENTRIES_MAX,
    user::{Feed, FeedPage, Profiles, Query, Update},
};

use crate::{
    context::{Context, Shared},
    hub::fanout::{Reply, Ticket},
    respond::Responder,
    router::{Failure, Router},
    session::{Identity, Session},
    store::{ProfileChange, Write},
};

pub(super) fn routes(router: Router) -> Router {
    router.on(query).on_deferred(update).on(feed)
}

async fn query(context: Context, query: Query) -> Result<Profiles, Failure> {
    let app = &context.identity()?.app;
    let found = context.shared.store.profiles(app, &query.users).await?;
    Ok(Profiles { profiles: List::new(found).map_err(|_| Code::InvalidArgument)? })
}

/// Queues a change of the profile for the committer, which answers.
async fn update(context: Context, update: Update, responder: Responder<Update>) {
    let Identity { app, user, .. } = match context.identity() {
        Ok(identity) => identity.clone(),
        Err(reject) => return responder.reply(Err(reject)),
    };
    let ticket = Ticket::Session {
        app: app.clone(),
        sender: context.session.clone(),
        reply: Reply::Update(responder),
    };
    let Update { name, avatar, extension } = update;
    let time = context.shared.clock.timestamp();
    let change = ProfileChange { app, user, name, avatar, extension, time };
    context.shared.submit(Write::Profile(change), ticket);
}

async fn feed(context: Context, query: Feed) -> Result<FeedPage, Failure> {
    let limit = usize::from(query.limit);
    if !(1..=FEED_PAGE_ENTRIES_MAX).contains(&limit) {
        return Err(Code::InvalidArgument.into());
    }
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.store.feed(app, user, query.after, limit).await?)
}

/// Keeps what a user said of themself at login. Most logins change nothing, and write nothing.
pub(super) async fn keep_profile(
    shared: &Shared,
    session: &Arc<Session>,
    change: ProfileChange,
) -> Result<(), Failure> {
    let stored = shared.store.profiles(&change.app, std::slice::from_ref(&change.user)).await?.pop();
    if stored.as_ref() == Some(&change.clone().apply(stored.clone())) {
        return Ok(());
    }
    Ok(shared.write(session, &change.app.clone(), Write::Profile(change)).await?)
}
