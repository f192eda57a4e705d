//! Attributes of rooms and of their members.

use quail_protocol::room::{
    Attributes, AttributesChanged, AttributesPage, DeleteAttributes, MemberAttributes,
    MemberAttributesChanged, MemberAttributesPage, SetAttributes, SetMemberAttributes,
};

use crate::{
    context::Context,
    router::{Failure, Router},
    session::Identity,
};

pub(super) fn routes(router: Router) -> Router {
    router.on(set).on(delete).on(attributes).on(set_of_members).on(of_members)
}

async fn set(context: Context, change: SetAttributes) -> Result<AttributesChanged, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    let (rooms, room) = (&context.shared.rooms, change.room.clone());
    Ok(rooms.change(app, &room, &context.session, |rules| rules.set_attributes(user, change))?.kept().await?)
}

async fn delete(context: Context, change: DeleteAttributes) -> Result<AttributesChanged, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    let (rooms, room) = (&context.shared.rooms, change.room.clone());
    Ok(rooms
        .change(app, &room, &context.session, |rules| rules.delete_attributes(user, change))?
        .kept()
        .await?)
}

async fn attributes(context: Context, Attributes { room }: Attributes) -> Result<AttributesPage, Failure> {
    let (app, asker) = context.asker()?;
    Ok(context.shared.rooms.ask(&app, &room, &asker, |rules| rules.attributes())?)
}

async fn set_of_members(
    context: Context,
    change: SetMemberAttributes,
) -> Result<MemberAttributesChanged, Failure> {
    let Identity { app, user, .. } = context.identity()?;
    let (rooms, room) = (&context.shared.rooms, change.room.clone());
    Ok(rooms
        .change(app, &room, &context.session, |rules| rules.set_member_attributes(user, change))?
        .kept()
        .await?)
}

async fn of_members(
    context: Context,
    MemberAttributes { room, users }: MemberAttributes,
) -> Result<MemberAttributesPage, Failure> {
    let (app, asker) = context.asker()?;
    Ok(context.shared.rooms.ask(&app, &room, &asker, |rules| rules.member_attributes(&users))?)
}
