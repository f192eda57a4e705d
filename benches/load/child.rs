//! Processes of this binary, and the lines of JSON they exchange with the scenario.

use std::{
    io::Write,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::part::Part;

/// Parts start, answer a question and end within this, or the scenario fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a process is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub(crate) enum Stop {
    /// It is asked to, with SIGTERM.
    SigTerm,
    /// It ends where it stands, with SIGKILL.
    SigKill,
}

/// A running part, seen from the scenario. Killed when dropped.
pub(crate) struct Child {
    part: Part,
    id: u32,
    process: tokio::process::Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a part and gives it its first order.
    pub(crate) async fn start(part: Part, order: &impl Serialize) -> anyhow::Result<Self> {
        Self::start_in(None, part, order).await
    }

    /// The same in a network namespace.
    pub(crate) async fn start_in(
        namespace: Option<&str>,
        part: Part,
        order: &impl Serialize,
    ) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("where is this binary?")?;
        let mut command = match namespace {
            None => Command::new(binary),
            Some(namespace) => {
                // `ip` becomes the binary, so that it is that which is killed.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary);
                command
            }
        };
        let mut process = command
            .arg("part")
            .arg(part.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", part.name()))?;
        let id = process.id().context("it ended at once")?;
        let orders = process.stdin.take().context("no pipe to it")?;
        let answers = BufReader::new(process.stdout.take().context("no pipe from it")?).lines();
        let mut child = Self { part, id, process, orders, answers };
        child.tell(order).await?;
        Ok(child)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Gives it an order.
    pub(crate) async fn tell(&mut self, order: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await.with_context(|| format!("{} is gone", self.part.name()))
    }

    /// What it says next, within `patience`.
    pub(crate) async fn hear<T: DeserializeOwned>(&mut self, patience: Duration) -> anyhow::Result<T> {
        let name = self.part.name();
        let line = timeout(patience, self.answers.next_line())
            .await
            .with_context(|| format!("{name} said nothing for {} s", patience.as_secs()))?
            .with_context(|| format!("cannot hear {name}"))?;
        let Some(line) = line else {
            bail!("{name} ended early ({})", self.process.wait().await?);
        };
        serde_json::from_str(&line).with_context(|| format!("{name} said {line:?}"))
    }

    /// Ends it with a signal and waits until it is gone.
    pub(crate) async fn stop(mut self, how: Stop) -> anyhow::Result<()> {
        match how {
            Stop::SigKill => Ok(self.process.kill().await?),
            Stop::SigTerm => {
                let id = i32::try_from(self.id).ok().and_then(Pid::from_raw).context("no process")?;
                kill_process(id, Signal::TERM)?;
                self.end().await
            }
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Self { part, mut process, orders, .. } = self;
        drop(orders);
        let status: ExitStatus = timeout(PATIENCE, process.wait())
            .await
            .with_context(|| format!("{} does not end", part.name()))??;
        if status.success() { Ok(()) } else { bail!("{} ended badly ({status})", part.name()) }
    }
}

/// The orders of a part, seen from the part.
pub(crate) struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    /// Listens on standard input.
    pub(crate) fn listen() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The next order, `None` if there is no scenario any more.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let line = self.0.next_line().await?;
        line.map(|line| serde_json::from_str(&line).with_context(|| format!("an order: {line:?}")))
            .transpose()
    }

    /// The first order.
    pub(crate) async fn first<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        self.next().await?.context("no order")
    }
}

/// Says something to the scenario.
pub(crate) fn say(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}
