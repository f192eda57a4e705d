//! Domain `user`: who an account is.

use std::sync::Arc;

use quail_protocol::{
    Code,
    bounded::List,
    user::{Profiles, Query},
};

use crate::{
    context::{Context, Shared},
    router::{Failure, Router},
    session::Session,
    store::{ProfileChange, Write},
};

pub(super) fn routes(router: Router) -> Router {
    router.on(query)
}

async fn query(context: Context, query: Query) -> Result<Profiles, Failure> {
    let app = &context.identity()?.app;
    let found = context.shared.store.profiles(app, &query.users).await?;
    Ok(Profiles { profiles: List::new(found).map_err(|_| Code::InvalidArgument)? })
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
