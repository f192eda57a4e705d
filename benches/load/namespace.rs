//! Network namespaces of this machine. Those of a run that was killed are removed by the next one.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};

/// What namespaces of ours are called; behind it stand the process that made them and their side.
const PREFIX: &str = "quail-load-";

/// A network namespace, removed with this.
pub(crate) struct Namespace(String);

impl Namespace {
    /// One for the server's side and one for the other, with nothing between them.
    pub(crate) fn pair() -> anyhow::Result<[Self; 2]> {
        remove_orphans()?;
        Ok([Self::make("near")?, Self::make("far")?])
    }

    fn make(side: &str) -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}-{side}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self(name);
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// As `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Changes its interfaces, addresses or routes.
    pub(crate) fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run("ip", &[&["-n", &self.0], arguments].concat()).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run("ip", &["netns", "delete", &self.0]) {
            eprintln!("a network namespace is left: {error:#}");
        }
    }
}

/// Removes namespaces whose maker is gone.
fn remove_orphans() -> anyhow::Result<()> {
    for line in run("ip", &["netns", "list"])?.lines() {
        let name = line.split_ascii_whitespace().next().unwrap_or_default();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            drop(Namespace(name.to_owned()));
        }
    }
    Ok(())
}

/// What a program printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), why.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
