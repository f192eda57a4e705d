//! The processes that send one kind of message each: let in, begun and stopped.

use quail_client::Priority;

use super::door::Server;
use crate::{
    child::{Child, PATIENCE},
    part::{Part, pour},
};

/// Unanswered messages at most, so that nothing grows for ever; never reached by a server that answers.
pub(super) const IN_FLIGHT: usize = 1000;

/// Connects a sender, which begins when it is told to.
pub(super) async fn open(namespace: Option<&str>, order: &pour::Order) -> anyhow::Result<Child> {
    let mut child = Child::start_in(namespace, Part::Pour, order).await?;
    child.hear::<()>(PATIENCE).await?;
    Ok(child)
}

/// Stops a sender.
pub(super) async fn end(child: &mut Child) -> anyhow::Result<pour::Poured> {
    child.tell(&()).await?;
    child.hear(PATIENCE).await
}

/// Two senders in a room that begin when they are told to: of High messages, so many a second, and of Normal ones.
pub(super) async fn pair(
    server: &Server,
    room: &str,
    bytes: u32,
    [high, normal]: [f64; 2],
) -> anyhow::Result<[(Child, Priority); 2]> {
    let order = |user: &str, priority, per_second| pour::Order {
        visitor: server.visitor(user.to_owned(), false),
        to: room.to_owned(),
        in_room: true,
        priority,
        per_second,
        in_flight: IN_FLIGHT,
        bytes: bytes as usize,
    };
    // Whoever comes first owns the room, and may send urgent messages without a bound.
    let high = open(None, &order("carol", Priority::High, high)).await?;
    let normal = open(None, &order("alice", Priority::Normal, normal)).await?;
    Ok([(high, Priority::High), (normal, Priority::Normal)])
}
