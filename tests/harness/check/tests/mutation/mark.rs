//! Spoils marks.

use quail_protocol::Seq;
use rand::rngs::StdRng;

use super::{History, acked, any, steps};
use crate::history::{Record, Thread, What};

fn marked(record: &Record) -> Option<(&Thread, Seq, Seq)> {
    match &record.what {
        What::Marked { thread, delivered, read, .. } => Some((thread, *delivered, *read)),
        _ => None,
    }
}

fn any_marked(history: &mut History, random: &mut StdRng) -> Option<usize> {
    any(history, random, |_, record| marked(record).map(|_| ())).map(|(at, ())| at)
}

fn set(record: &mut Record, to: [u64; 2]) {
    if let What::Marked { delivered, read, .. } = &mut record.what {
        (*delivered, *read) = (Seq(to[0]), Seq(to[1]));
    }
}

/// Marks that are above nothing, and a later answer in the same thread that `fits`.
fn answers(
    history: &mut History,
    random: &mut StdRng,
    fits: impl Fn(&History, usize, usize) -> bool,
) -> Option<(usize, usize)> {
    if steps(history) {
        return None;
    }
    let later = |at: usize, record: &Record| {
        let (of, delivered, _) = marked(record).filter(|(_, delivered, _)| *delivered > Seq(0))?;
        let same = |other: usize| marked(&history[other]).is_some_and(|(thread, ..)| thread == of);
        let later = (at + 1..history.len()).find(|other| same(*other) && fits(history, at, *other))?;
        Some((later, delivered))
    };
    any(history, random, later).map(|(at, (later, _))| (at, later))
}

fn lower(history: &mut History, (at, later): (usize, usize)) -> Option<()> {
    let (_, delivered, _) = marked(&history[at])?;
    set(&mut history[later], [delivered.0 - 1, 0]);
    Some(())
}

pub(super) fn back(history: &mut History, random: &mut StdRng) -> Option<()> {
    let pair = answers(history, random, |history, at, later| history[at].device == history[later].device)?;
    lower(history, pair)
}

/// The other device had an answer in between, and asked again after that.
pub(super) fn back_elsewhere(history: &mut History, random: &mut StdRng) -> Option<()> {
    let pair = answers(history, random, |history, at, later| {
        let [one, other] = [at, later].map(|at| history[at].device.as_ref());
        let between = &history[at + 1..later];
        one.map(|device| &device.user) == other.map(|device| &device.user)
            && one != other
            && between.iter().any(|record| marked(record).is_some() && record.device.as_ref() == other)
    })?;
    lower(history, pair)
}

pub(super) fn read_above(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_marked(history, random)?;
    let (_, delivered, _) = marked(&history[at])?;
    set(&mut history[at], [delivered.0, delivered.0 + 1]);
    Some(())
}

pub(super) fn above_head(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_marked(history, random)?;
    set(&mut history[at], [10_000, 0]);
    Some(())
}

/// An answer below what was asked and what the device's last answer already allowed.
pub(super) fn not_taken(history: &mut History, random: &mut StdRng) -> Option<()> {
    if steps(history) {
        return None;
    }
    let due = |at: usize, record: &Record| {
        let What::Marked { thread, asked_delivered, .. } = &record.what else { return None };
        let mine = |other: &Record| other.device == record.device && marked(other).is_some();
        let before = history[..at].iter().rposition(mine)?;
        let acks = history[..before].iter().filter_map(acked).filter(|(_, of, _)| *of == thread);
        let head = acks.map(|(_, _, position)| position.seq).max()?;
        Some(head.min(*asked_delivered)).filter(|due| *due > Seq(0))
    };
    let (at, due) = any(history, random, due)?;
    set(&mut history[at], [due.0 - 1, 0]);
    Some(())
}
