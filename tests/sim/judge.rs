//! The end of a run: whole threads as the server has them, and how far the devices should be.

use std::{collections::BTreeSet, sync::Arc};

use quail_client::Client;
use quail_tests::history::{Thread, What};

use crate::{
    town::{Town, entry},
    world::Failure,
};

/// Reads the whole of every thread and says how far the devices should be.
pub(crate) async fn read_everything(town: Arc<Town>) -> Result<(), Failure> {
    let users: BTreeSet<_> = town.plan.devices.iter().map(|device| &device.name.user).collect();
    let mut complete = Vec::new();
    for user in &users {
        let mut device =
            town.plan.devices.iter().find(|device| device.name.user == **user).cloned().ok_or("no device")?;
        device.number = town.plan.terminals();
        device.name.name = "judge".into();
        let (builder, _endpoint) = town.client(&device, 1).await?;
        let (client, _events) = builder.connect().await?;
        for peer in users.iter().filter(|peer| *peer > user) {
            let thread = Thread::of(user, peer);
            let log = read(&client, peer.as_str(), &thread).await?;
            if let What::Log { head, .. } = &log {
                complete.push((thread, *head));
            }
            town.record(None, log);
        }
    }
    for (thread, head) in complete {
        let devices = town.plan.devices.iter().map(|device| &device.name);
        let watchers = town.plan.watchers.iter().map(|watcher| &watcher.name);
        for name in devices.chain(watchers).filter(|name| [&thread.0, &thread.1].contains(&&name.user)) {
            town.record(Some(name), What::Complete { thread: thread.clone(), through: head });
        }
    }
    Ok(())
}

async fn read(client: &Client, peer: &str, thread: &Thread) -> Result<What, Failure> {
    let peer = client.peer(peer)?;
    let (mut entries, mut from) = (Vec::new(), 1);
    loop {
        let page = peer.history(from..).await?;
        entries.extend(page.messages.iter().map(|message| entry(message).1));
        match page.next {
            Some(next) => from = next.0,
            None => {
                let (thread, head, first) = (thread.clone(), page.head, page.first);
                return Ok(What::Log { thread, head, first, entries });
            }
        }
    }
}
