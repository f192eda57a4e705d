//! Domain `user`: who an account is.

use quail_protocol::{
    Code,
    bounded::List,
    user::{Profiles, Query},
};

use crate::{
    context::Context,
    router::{Failure, Router},
};

pub(super) fn routes(router: Router) -> Router {
    router.on(query)
}

async fn query(context: Context, query: Query) -> Result<Profiles, Failure> {
    let app = &context.identity()?.app;
    let found = context.shared.store.profiles(app, &query.users).await?;
    Ok(Profiles { profiles: List::new(found).map_err(|_| Code::InvalidArgument)? })
}
