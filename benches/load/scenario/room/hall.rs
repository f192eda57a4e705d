//! A Quail and the bare loop, each with its audience.

use super::Stage;
use crate::{
    flags::Shared,
    part::attend::House,
    scenario::{
        audience::{Audience, Seats},
        door::{Bare, Server},
    },
};

/// See the module.
pub(super) struct Hall {
    server: Server,
    fan: Bare,
    pub(super) quail: Audience,
    pub(super) bare: Audience,
}

impl Hall {
    /// Starts both and lets everybody in.
    pub(super) async fn open(stage: &mut Stage, seats: Seats, shared: &Shared) -> anyhow::Result<Self> {
        let server = Server::start(stage.scratch.path(), shared.default_limits, &mut stage.report).await?;
        stage.report.durability = "acks when the message is in every outbox: rooms are not stored".to_owned();
        let fan = Bare::fan(stage.scratch.path()).await?;
        stage.report.sampler.process("bare loop", fan.id());
        let house = House::Quail(server.target().clone());
        let quail = Audience::open(&house, server.id(), seats, shared).await?;
        let house = House::Bare(fan.target.clone());
        let bare = Audience::open(&house, fan.id(), seats, shared).await?;
        Ok(Self { server, fan, quail, bare })
    }

    /// Sends everybody away.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self { server, fan, quail, bare } = self;
        for audience in [quail, bare] {
            audience.close().await?;
        }
        server.stop().await?;
        fan.stop().await
    }
}
