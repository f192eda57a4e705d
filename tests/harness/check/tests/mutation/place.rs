//! Spoils places and logs.

use quail_protocol::Seq;
use rand::{RngExt, rngs::StdRng};

use super::{History, acked, any, epoch, log, sends, steps};
use crate::history::{Record, Thread, What};

/// An ack whose message is in the log, not at its end: which thread, and which entry.
fn acked_inside(history: &History, random: &mut StdRng) -> Option<(Thread, usize)> {
    let inside = |_, record: &Record| {
        let (_, of, position) = acked(record)?;
        history.iter().find_map(|record| match &record.what {
            What::Log { thread, head, entries, .. } if thread == of && head.epoch == position.epoch => {
                let at = entries.iter().position(|entry| entry.position == position)?;
                (at + 1 < entries.len()).then(|| (thread.clone(), at))
            }
            _ => None,
        })
    };
    any(history, random, inside).map(|(_, found)| found)
}

pub(super) fn lose_acked(history: &mut History, random: &mut StdRng) -> Option<()> {
    let (thread, at) = acked_inside(history, random)?;
    log(history, &thread)?.2.remove(at);
    Some(())
}

pub(super) fn swap_in_log(history: &mut History, random: &mut StdRng) -> Option<()> {
    let (thread, at) = acked_inside(history, random)?;
    let entries = log(history, &thread)?.2;
    let [one, two] = entries.get_disjoint_mut([at, at + 1]).ok()?;
    std::mem::swap(&mut one.id, &mut two.id);
    std::mem::swap(&mut one.sender, &mut two.sender);
    std::mem::swap(&mut one.hash, &mut two.hash);
    Some(())
}

/// Two acks of different messages, at one place.
pub(super) fn reuse_seq(history: &mut History, random: &mut StdRng) -> Option<()> {
    let acks = history.clone();
    let pair = |at: usize, record: &Record| {
        let (id, of, place) = acked(record)?;
        let other = acks[..at].iter().filter_map(acked).find(|(other, thread, position)| {
            *thread == of && *other != id && position.epoch == place.epoch && *position != place
        })?;
        Some(other.2)
    };
    let (at, other) = any(history, random, pair)?;
    if let What::Acked { position, .. } = &mut history[at].what {
        *position = other;
    }
    Some(())
}

pub(super) fn wrong_prev(history: &mut History, random: &mut StdRng) -> Option<()> {
    let long = |_, record: &Record| match &record.what {
        What::Log { thread, entries, .. } if entries.len() > 2 => Some(thread.clone()),
        _ => None,
    };
    let (_, thread) = any(history, random, long)?;
    let entries = log(history, &thread)?.2;
    let (last, rest) = entries.split_last_mut()?;
    last.prev = rest.iter().find(|entry| entry.position.seq != last.prev)?.position.seq;
    Some(())
}

fn placed_again(history: &mut History, at: usize) -> Option<()> {
    let What::Send { id, thread, priority, hash } = history[at].what.clone() else { return None };
    let sender = history[at].device.clone()?.user;
    let (head, _, entries) = log(history, &thread)?;
    let prev = entries.iter().rev().find(|entry| entry.priority == priority);
    let prev = prev.map(|entry| entry.position.seq).unwrap_or_default();
    head.seq = head.seq.next();
    let position = *head;
    entries.push(crate::history::Entry { id, sender, position, prev, priority, hash });
    Some(())
}

/// The `Send` of a message that is in the log.
fn logged(history: &History, record: &Record) -> Option<()> {
    let What::Send { id: sent, .. } = &record.what else { return None };
    let user = &record.device.as_ref()?.user;
    let holds = |record: &Record| match &record.what {
        What::Log { entries, .. } => entries.iter().any(|entry| entry.id == *sent && entry.sender == *user),
        _ => false,
    };
    history.iter().any(holds).then_some(())
}

pub(super) fn place_twice(history: &mut History, random: &mut StdRng) -> Option<()> {
    let (at, ()) = any(history, random, |_, record| logged(history, record))?;
    placed_again(history, at)
}

fn answered(history: &History, record: &Record, answer: impl Fn(&What) -> bool) -> Option<()> {
    let What::Send { id, .. } = &record.what else { return None };
    let user = &record.device.as_ref()?.user;
    let fits = |other: &Record| {
        let same = matches!(&other.what, What::Refused { id: of } | What::Unknown { id: of } if of == id);
        same && answer(&other.what) && other.device.as_ref().is_some_and(|device| device.user == *user)
    };
    history.iter().any(fits).then_some(())
}

pub(super) fn place_unknown_twice(history: &mut History, random: &mut StdRng) -> Option<()> {
    let unknown = |_, record: &Record| {
        logged(history, record)?;
        answered(history, record, |what| matches!(what, What::Unknown { .. }))
    };
    let (at, ()) = any(history, random, unknown)?;
    placed_again(history, at)
}

pub(super) fn place_refused(history: &mut History, random: &mut StdRng) -> Option<()> {
    let refused = |_, record: &Record| {
        let What::Send { id, .. } = record.what else { return None };
        (sends(history, id) == 1).then_some(())?;
        answered(history, record, |what| matches!(what, What::Refused { .. }))
    };
    let (at, ()) = any(history, random, refused)?;
    placed_again(history, at)
}

/// What follows from some record on is of an epoch that nobody planned.
pub(super) fn step_epoch(history: &mut History, random: &mut StdRng) -> Option<()> {
    if steps(history) {
        return None;
    }
    let newest = history
        .iter()
        .filter_map(acked)
        .map(|(_, thread, position)| (thread.clone(), position))
        .next_back()?;
    let from = random.random_range(0..newest.1.seq.0);
    let mut changed = 0;
    for record in history.iter_mut() {
        if let What::Acked { thread, position, .. } = &mut record.what
            && *thread == newest.0
            && position.seq > Seq(from)
        {
            *position = epoch(2, position.seq);
            changed += 1;
        }
    }
    let all = history.iter().filter_map(acked).filter(|(_, thread, _)| **thread == newest.0).count();
    let received =
        |record: &Record| matches!(&record.what, What::Received { thread, .. } if *thread == newest.0);
    (changed < all || history.iter().any(received)).then_some(())
}

/// An ack after another of a newer epoch is of the old one.
pub(super) fn epoch_back(history: &mut History, random: &mut StdRng) -> Option<()> {
    let all = history.clone();
    let late = |at: usize, record: &Record| {
        let (id, of, place) = acked(record)?;
        let begun =
            all.iter().position(|record| matches!(record.what, What::Send { id: sent, .. } if sent == id))?;
        let known = all[..begun]
            .iter()
            .filter_map(acked)
            .any(|(_, thread, position)| thread == of && position.epoch == place.epoch);
        (known && place.epoch.0 > 1 && begun < at).then_some(())
    };
    let (at, ()) = any(history, random, late)?;
    if let What::Acked { position, .. } = &mut history[at].what {
        position.epoch.0 -= 1;
    }
    Some(())
}
