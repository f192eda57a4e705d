//! What must hold in every history.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quail_protocol::{Epoch, Position};
use quail_tests::history::{Device, Entry, Record, Thread, What};

/// A device follows a thread from the first that it sees or sends; what it sees together is not told apart.
const TOGETHER: Duration = Duration::from_secs(1);

/// An entry that a device learned of.
struct Seen<'a> {
    at: Duration,
    position: Position,
    /// What the app was told; `None` for the answer to a send of its own.
    told: Option<&'a Entry>,
}

/// Every rule that does not hold, in words.
pub(crate) fn broken(history: &[Record]) -> Vec<String> {
    let mut broken = Vec::new();
    let logs: BTreeMap<&Thread, (Position, &Vec<Entry>)> = history
        .iter()
        .filter_map(|record| match &record.what {
            What::Log { thread, head, entries, .. } => Some((thread, (*head, entries))),
            _ => None,
        })
        .collect();
    let mut seen: BTreeMap<(&Device, &Thread), Vec<Seen<'_>>> = BTreeMap::new();
    for record in history {
        let Some(device) = &record.device else { continue };
        match &record.what {
            What::Acked { id, thread, position, .. } => {
                let answer = Seen { at: record.at, position: *position, told: None };
                seen.entry((device, thread)).or_default().push(answer);
                let Some((head, entries)) = logs.get(thread) else { continue };
                // What was acknowledged before an older disk was put back is gone.
                if position.epoch == head.epoch
                    && !entries.iter().any(|entry| entry.position == *position && entry.id == *id)
                {
                    broken.push(format!("acked and not in the log at {position:?}: {record:?}"));
                }
            }
            What::Received { thread, entry } => {
                let told = Seen { at: record.at, position: entry.position, told: Some(entry) };
                seen.entry((device, thread)).or_default().push(told);
            }
            _ => {}
        }
    }
    for ((device, thread), seen) in seen {
        let Some((head, entries)) = logs.get(thread) else { continue };
        broken.extend(incomplete(device, &seen, head.epoch, entries));
    }
    broken
}

fn incomplete(device: &Device, seen: &[Seen<'_>], epoch: Epoch, log: &[Entry]) -> Vec<String> {
    let mut broken = Vec::new();
    // What was told before an older disk was put back may be gone.
    let seen: Vec<_> = seen.iter().filter(|seen| seen.position.epoch == epoch).collect();
    let (mut last, mut told) = (BTreeMap::new(), BTreeSet::new());
    for entry in seen.iter().filter_map(|seen| seen.told) {
        if !told.insert(entry.position) {
            broken.push(format!("{device:?} was told twice: {entry:?}"));
        }
        if last.insert(entry.priority, entry.position).is_some_and(|before| before >= entry.position) {
            broken.push(format!("{device:?} was told too late: {entry:?}"));
        }
        if !log.contains(entry) {
            broken.push(format!("{device:?} was told what is not in the log: {entry:?}"));
        }
    }
    let Some(first) = seen.first() else { return broken };
    let together = seen.iter().filter(|seen| seen.at <= first.at + TOGETHER);
    let start = together.map(|seen| seen.position).max();
    let own: BTreeSet<_> = seen.iter().filter(|seen| seen.told.is_none()).map(|seen| seen.position).collect();
    for entry in log.iter().filter(|entry| Some(entry.position) > start) {
        if !own.contains(&entry.position) && !told.contains(&entry.position) {
            broken.push(format!("{device:?} was not told: {entry:?}"));
        }
    }
    broken
}
