//! What owners and admins ask.

use quail_protocol::{
    Code,
    limits::RESTRICTIONS_PER_PAGE_MAX,
    room::{
        Ban, Kick, Kicked, Mute, MuteAll, Restricted, RestrictionKind, Restrictions, RestrictionsPage,
        RoleSet, SetRole, Transfer, Transferred,
    },
};

use crate::{
    context::Context,
    domain::room::Restrict,
    router::{Failure, Router},
    session::Identity,
};

pub(super) fn routes(router: Router) -> Router {
    router.on(set_role).on(transfer).on(kick).on(ban).on(mute).on(mute_all).on(restrictions)
}

async fn set_role(context: Context, set: SetRole) -> Result<RoleSet, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.rooms.set_role(app, user, &context.session, &set)?.kept().await?)
}

async fn transfer(context: Context, transfer: Transfer) -> Result<Transferred, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.rooms.transfer(app, user, &context.session, &transfer)?.kept().await?)
}

async fn kick(context: Context, kick: Kick) -> Result<Kicked, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.rooms.kick(app, user, &kick, context.shared.moment())?)
}

async fn ban(context: Context, ban: Ban) -> Result<Restricted, Failure> {
    let Identity { app, user: by, .. } = context.identity()?;
    let Ban { room, user, until, reason } = ban;
    let restrict = Restrict { kind: RestrictionKind::Ban, user, until, reason };
    let now = context.shared.moment();
    Ok(context.shared.rooms.restrict(app, &room, (by, &context.session), restrict, now)?.kept().await?)
}

async fn mute(context: Context, mute: Mute) -> Result<Restricted, Failure> {
    let Identity { app, user: by, .. } = context.identity()?;
    let Mute { room, user, until, reason } = mute;
    let restrict = Restrict { kind: RestrictionKind::Mute, user, until, reason };
    let now = context.shared.moment();
    Ok(context.shared.rooms.restrict(app, &room, (by, &context.session), restrict, now)?.kept().await?)
}

async fn mute_all(context: Context, mute: MuteAll) -> Result<Restricted, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    let now = context.shared.moment();
    Ok(context.shared.rooms.mute_all(app, (user, &context.session), mute, now)?.kept().await?)
}

async fn restrictions(context: Context, query: Restrictions) -> Result<RestrictionsPage, Failure> {
    if !(1..=RESTRICTIONS_PER_PAGE_MAX).contains(&usize::from(query.limit)) {
        return Err(Code::InvalidArgument.into());
    }
    let Identity { app, user, .. } = context.identity()?;
    Ok(context.shared.rooms.restrictions(app, user, &query)?)
}
