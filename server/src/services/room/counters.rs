//! Counters of rooms.

use quail_protocol::room::{Counters, CountersChanged, CountersPage, IncreaseCounters, SetCounters};

use crate::{
    context::Context,
    router::{Failure, Router},
    session::Identity,
};

pub(super) fn routes(router: Router) -> Router {
    router.on(set).on(increase).on(counters)
}

async fn set(context: Context, change: SetCounters) -> Result<CountersChanged, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    let (rooms, room) = (&context.shared.rooms, change.room.clone());
    Ok(rooms.change(app, &room, &context.session, |rules| rules.set_counters(user, change))?.kept().await?)
}

async fn increase(context: Context, change: IncreaseCounters) -> Result<CountersChanged, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    let (rooms, room, now) = (&context.shared.rooms, change.room.clone(), context.shared.clock.timestamp());
    Ok(rooms
        .change(app, &room, &context.session, |rules| rules.increase_counters(user, change, now))?
        .kept()
        .await?)
}

async fn counters(context: Context, Counters { room }: Counters) -> Result<CountersPage, Failure> {
    let (app, asker) = context.asker()?;
    Ok(context.shared.rooms.ask(&app, &room, &asker, |rules| rules.counters())?)
}
