//! One who publishes and one who listens.

use std::time::Duration;

use crate::{
    child::{Child, PATIENCE},
    part::{
        Part,
        publish::{self, Published},
        subscribe::{self, Subscribed},
    },
    topics::Access,
};

/// A client and the network namespace that it is in.
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    pub(super) access: Access,
}

/// See the module.
pub(super) struct Talk {
    publisher: Child,
    subscriber: Child,
}

/// Whatever is still on its way has so long to arrive.
const SETTLING: Duration = Duration::from_secs(60);

impl Talk {
    /// Connects both, who wait for [`begin`](Self::begin).
    pub(super) async fn open(
        from: Place<'_>,
        to: Place<'_>,
        topics: &[String],
        per_second: f64,
        bytes: usize,
    ) -> anyhow::Result<Self> {
        let topics = topics.to_vec();
        let order = publish::Order { access: from.access, topics: topics.clone(), per_second, bytes };
        let mut publisher = Child::start_in(Some(from.namespace), Part::Publish, &order).await?;
        // It makes the topics.
        publisher.hear::<()>(PATIENCE).await?;
        let order = subscribe::Order { access: to.access, topics };
        let mut subscriber = Child::start_in(Some(to.namespace), Part::Subscribe, &order).await?;
        subscriber.hear::<()>(PATIENCE).await?;
        Ok(Self { publisher, subscriber })
    }

    /// Lets it begin.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        self.publisher.tell(&()).await
    }

    /// Lets nothing more be said, and returns what both saw when all has arrived.
    pub(super) async fn end(mut self) -> anyhow::Result<(Published, Subscribed)> {
        self.publisher.tell(&()).await?;
        let published: Published = self.publisher.hear(SETTLING + PATIENCE).await?;
        let messages = published.acknowledged.len() as u64;
        self.subscriber.tell(&subscribe::End { messages, patience: SETTLING }).await?;
        let subscribed = self.subscriber.hear(SETTLING + PATIENCE).await?;
        for child in [self.publisher, self.subscriber] {
            child.end().await?;
        }
        Ok((published, subscribed))
    }
}
