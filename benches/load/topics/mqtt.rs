//! A client of MQTT that connects again by itself, and sends again what was not acknowledged.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Came, Incoming, Lost};
use crate::{
    broker::{
        Target, Told,
        client::{Client as Connection, Connector},
    },
    cpu,
};

/// Trying to connect takes no longer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits before it tries again, at first and at most. The first time it does not wait.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// See the module. A task has the connection.
pub(crate) struct Client {
    topics: Vec<String>,
    publish: UnboundedSender<Publish>,
    task: JoinHandle<()>,
}

/// A message to publish.
struct Publish {
    topic: String,
    text: String,
    acknowledged: oneshot::Sender<()>,
}

/// The task.
struct Line {
    connector: Connector,
    name: String,
    connection: Connection,
    /// What has no answer yet, as it was sent, by its number.
    unanswered: BTreeMap<u16, (Bytes, oneshot::Sender<()>)>,
    silence: Silence,
}

/// When to ask whether the broker is there, and when to give it up.
#[derive(Clone, Copy, Debug)]
struct Silence {
    ping_after: Duration,
    heard: Instant,
    spoke: Instant,
    asked: Option<Instant>,
}

impl Client {
    /// Connects under a name, asking after so much silence whether the broker is there; hears the topics unless it
    /// `publishes`.
    pub(super) async fn connect(
        broker: &Target,
        (name, ping_after): (String, Duration),
        topics: &[String],
        publishes: bool,
    ) -> anyhow::Result<(Self, Incoming)> {
        let connector = Connector::new(broker.clone())?;
        let mut connection = connector.come_back(&name, ping_after).await?;
        for topic in topics.iter().filter(|_| !publishes) {
            connection.subscribe(topic).await?;
        }
        let silence = Silence::new(ping_after, Instant::now());
        let line = Line { connector, name, connection, unanswered: BTreeMap::new(), silence };
        let (say, incoming) = mpsc::unbounded_channel();
        let (publish, publishes) = mpsc::unbounded_channel();
        let task = tokio::spawn(line.run(publishes, say));
        Ok((Self { topics: topics.to_vec(), publish, task }, incoming))
    }

    /// See [`super::Client::publish`].
    pub(super) fn publish(
        &self,
        topic: usize,
        text: String,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let (acknowledged, answer) = oneshot::channel();
        let topic = self.topics.get(topic).cloned().ok_or("there is no such topic");
        // If it has ended, the answer says so.
        let published = topic.map(|topic| _ = self.publish.send(Publish { topic, text, acknowledged }));
        async move {
            published?;
            answer.await.map_err(|_| "the client has ended".to_owned())
        }
    }

    /// Ends it.
    pub(super) async fn close(self) {
        drop(self.publish);
        // If it fell over, what it did not do is missing in what was heard.
        _ = self.task.await;
    }
}

impl Silence {
    fn new(ping_after: Duration, now: Instant) -> Self {
        Self { ping_after, heard: now, spoke: now, asked: None }
    }

    fn heard(&mut self, now: Instant) {
        (self.heard, self.asked) = (now, None);
    }

    /// When something is to be done.
    fn due(&self) -> Instant {
        self.asked.unwrap_or(self.heard.min(self.spoke)) + self.ping_after
    }
}

impl Line {
    async fn run(mut self, mut publishes: UnboundedReceiver<Publish>, say: UnboundedSender<Came>) {
        while let Err(why) = self.talk(&mut publishes, &say).await {
            if say.send(Came::Lost(Lost { at: cpu::since_boot(), why: format!("{why:#}") })).is_err() {
                return;
            }
            self.come_back().await;
        }
    }

    /// Ends when nobody wants to publish any more, and fails when the connection does.
    async fn talk(
        &mut self,
        publishes: &mut UnboundedReceiver<Publish>,
        say: &UnboundedSender<Came>,
    ) -> anyhow::Result<()> {
        loop {
            while let Some(told) = self.connection.ready()? {
                match told {
                    Told::Message { body, .. } => {
                        let (at, text) = (cpu::since_boot(), String::from_utf8_lossy(&body).into_owned());
                        // Nobody listens to one who only publishes.
                        _ = say.send(Came::Text { at, text });
                        // It is acknowledged below.
                        self.silence.spoke = Instant::now();
                    }
                    Told::Acknowledged(packet) => {
                        if let Some((_, acknowledged)) = self.unanswered.remove(&packet) {
                            _ = acknowledged.send(());
                        }
                    }
                    _ => {}
                }
            }
            self.connection.answer().await?;
            tokio::select! {
                more = self.connection.more() => {
                    ensure!(more?, "the broker ended the connection");
                    self.silence.heard(Instant::now());
                }
                publish = publishes.recv() => match publish {
                    Some(publish) => self.publish(publish).await?,
                    None => return Ok(()),
                },
                () = sleep_until(self.silence.due()) => self.ask().await?,
            }
        }
    }

    async fn publish(&mut self, publish: Publish) -> anyhow::Result<()> {
        let Publish { topic, text, acknowledged } = publish;
        let mut out = BytesMut::new();
        self.connection.publish(&mut out, &topic, text.as_bytes());
        let out = out.freeze();
        self.unanswered.insert(self.connection.last_packet(), (out.clone(), acknowledged));
        self.silence.spoke = Instant::now();
        self.connection.send(out).await
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        if self.silence.asked.is_some() {
            bail!("the broker does not answer");
        }
        let now = Instant::now();
        (self.silence.asked, self.silence.spoke) = (Some(now), now);
        self.connection.ping().await
    }

    /// Tries until it is connected again and has sent again what has no answer.
    async fn come_back(&mut self) {
        let [mut pause, longest] = AGAIN_AFTER;
        while !matches!(timeout(CONNECT_TIMEOUT, self.try_to_come_back()).await, Ok(Ok(()))) {
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn try_to_come_back(&mut self) -> anyhow::Result<()> {
        let mut connection = self.connector.come_back(&self.name, self.silence.ping_after).await?;
        connection.go_on_behind(&self.connection);
        let mut out = BytesMut::new();
        self.unanswered.values().for_each(|(message, _)| connection.repeat(&mut out, message));
        connection.send(out.freeze()).await?;
        (self.connection, self.silence) = (connection, Silence::new(self.silence.ping_after, Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_asked_after_silence_of_either_side_and_given_up_when_it_does_not_answer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::new(Duration::from_secs(10), start);
        assert_eq!(silence.due(), at(10));
        silence.heard(at(4));
        assert_eq!(silence.due(), at(10), "it has to say something");
        silence.spoke = at(6);
        assert_eq!(silence.due(), at(14));
        (silence.asked, silence.spoke) = (Some(at(14)), at(14));
        assert_eq!(silence.due(), at(24));
        silence.spoke = at(20);
        assert_eq!(silence.due(), at(24), "more words do not help");
        silence.heard(at(21));
        assert_eq!(silence.due(), at(30));
    }
}
