//! Spoils what devices are handed and told.

use std::time::Duration;

use quail_protocol::{Position, Seq, id::ClientMessageId};
use rand::rngs::StdRng;

use super::{History, acked, any, any_received, forgets, is_complete, log, received, steps};
use crate::{
    check::LAG,
    history::{Answer, Device, Entry, Record, Thread, What},
};

/// What a record says that a device has of a thread.
fn has(record: &Record) -> Option<(&Thread, Position)> {
    match &record.what {
        What::Received { thread, entry } => Some((thread, entry.position)),
        _ => acked(record).map(|(_, thread, position)| (thread, position)),
    }
}

fn handed(record: &Record) -> Option<(&Thread, &Entry)> {
    match &record.what {
        What::Received { thread, entry } => Some((thread, entry)),
        _ => None,
    }
}

fn of<'a>(history: &'a History, device: &'a Option<Device>) -> impl Iterator<Item = (usize, &'a Record)> {
    history.iter().enumerate().filter(move |(_, record)| record.device == *device)
}

pub(super) fn swap_places(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    let (thread, entry) = handed(&history[at]).map(|(thread, entry)| (thread.clone(), entry.clone()))?;
    let acks = |record: &Record| {
        acked(record).is_some_and(|(_, of, place)| *of == thread && place == entry.position)
    };
    history.iter().any(acks).then_some(())?;
    let other =
        history.iter().filter_map(handed).find(|(of, other)| **of == thread && other.id != entry.id)?;
    let other = other.1.clone();
    *received(&mut history[at])? = Entry { position: entry.position, prev: entry.prev, ..other };
    Some(())
}

pub(super) fn phantom(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    received(&mut history[at])?.id = ClientMessageId([0xff; 16]);
    Some(())
}

pub(super) fn wrong_hash(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    received(&mut history[at])?.hash ^= 1;
    Some(())
}

pub(super) fn wrong_sender(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    let thread = handed(&history[at])?.0.clone();
    let entry = received(&mut history[at])?;
    entry.sender = if entry.sender == thread.0 { thread.1 } else { thread.0 };
    Some(())
}

pub(super) fn too_early(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    let id = handed(&history[at])?.1.id;
    let sent = |record: &Record| matches!(record.what, What::Send { id: sent, .. } if sent == id);
    let sent = history.iter().position(sent)?;
    let record = history.remove(at);
    let record = Record { at: history[sent].at, ..record };
    history.insert(sent, record);
    Some(())
}

pub(super) fn twice(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    history.insert(at, history[at].clone());
    Some(())
}

pub(super) fn own(history: &mut History, random: &mut StdRng) -> Option<()> {
    let (at, (id, thread)) =
        any(history, random, |_, record| acked(record).map(|(id, thread, _)| (id, thread.clone())))?;
    let entry = log(history, &thread)?.2.iter().find(|entry| entry.id == id)?.clone();
    let what = What::Received { thread, entry };
    let record = Record { what, ..history[at].clone() };
    history.insert(at + 1, record);
    Some(())
}

pub(super) fn swap(history: &mut History, random: &mut StdRng) -> Option<()> {
    let next = |at: usize, record: &Record| {
        let (thread, entry) = handed(record)?;
        let same = |other: &Record| {
            handed(other).is_some_and(|(of, other)| {
                let lane = (other.position.epoch, other.priority);
                of == thread && lane == (entry.position.epoch, entry.priority)
            })
        };
        let next = of(history, &record.device).find(|(next, other)| *next > at && same(other))?.0;
        (!forgets(&history[at..next].to_vec(), record.device.as_ref(), 0)).then_some(next)
    };
    let (at, next) = any(history, random, next)?;
    let what = history[at].what.clone();
    history[at].what = std::mem::replace(&mut history[next].what, what);
    Some(())
}

/// True if others tell what stands at a place, and this device did not send it in whatever life of its app.
fn is_known(history: &History, device: &Option<Device>, thread: &Thread, entry: &Entry) -> bool {
    let own = |record: &Record| matches!(record.what, What::Send { id, .. } if id == entry.id);
    let tells = |record: &Record| match &record.what {
        What::Log { thread: of, entries, .. } => of == thread && entries.contains(entry),
        _ => record.device != *device && has(record) == Some((thread, entry.position)),
    };
    history.iter().any(tells) && !of(history, device).any(|(_, record)| own(record))
}

/// True if a device that has followed for long owes its app what this record hands out, in this life and at the end.
fn is_owed(history: &History, at: usize) -> bool {
    let record = &history[at];
    let Some((thread, entry)) = handed(record) else { return false };
    let life = of(history, &record.device)
        .filter(|(other, record)| *other < at && matches!(record.what, What::AppRestarted { kept: false }))
        .map(|(other, _)| other)
        .last()
        .unwrap_or_default();
    let before = of(history, &record.device).filter(|(other, _)| (life..at).contains(other));
    let before: Vec<_> = before.filter_map(|(_, record)| Some((record.at, has(record)?))).collect();
    let mut mine = before.iter().filter(|(_, (of, _))| *of == thread);
    let since = mine.clone().next().map(|(at, _)| *at);
    let gap = |record: &Record| matches!(&record.what, What::Gap { thread: of, .. } if of == thread);
    since.is_some_and(|since| since + LAG < record.at)
        && mine.all(|(_, (_, position))| *position < entry.position)
        && !steps(history)
        && is_known(history, &record.device, thread, entry)
        && !of(history, &record.device).any(|(_, record)| gap(record))
        && !forgets(history, record.device.as_ref(), at)
}

pub(super) fn skip(history: &mut History, random: &mut StdRng) -> Option<()> {
    let followed = |at: usize, record: &Record| {
        let (thread, entry) = handed(record)?;
        let follows = |other: &Record| {
            handed(other).is_some_and(|(of, other)| {
                of == thread && other.priority == entry.priority && other.prev == entry.position.seq
            })
        };
        let next = of(history, &record.device).any(|(next, other)| next > at && follows(other));
        (next && is_owed(history, at)).then_some(())
    };
    let (at, ()) = any(history, random, followed)?;
    history.remove(at);
    Some(())
}

pub(super) fn skip_last(history: &mut History, random: &mut StdRng) -> Option<()> {
    let (at, ()) = any(history, random, |at, _| is_owed(history, at).then_some(()))?;
    history.remove(at);
    Some(())
}

pub(super) fn not_complete(history: &mut History, random: &mut StdRng) -> Option<()> {
    skip_last(history, random)
}

pub(super) fn of_others(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = any_received(history, random)?;
    let thread = handed(&history[at])?.0.clone();
    let devices = history.iter().filter_map(|record| record.device.clone());
    let other = devices.into_iter().find(|device| ![&thread.0, &thread.1].contains(&&device.user))?;
    history[at].device = Some(other);
    Some(())
}

pub(super) fn gone(history: &mut History, random: &mut StdRng) -> Option<()> {
    let last = |at: usize, record: &Record| {
        let login = |record: &Record| matches!(record.what, What::LoggedIn { .. });
        let lost = |record: &Record| matches!(record.what, What::Disconnected);
        let mine = || of(history, &record.device);
        let later = mine().any(|(other, record)| other > at && (login(record) || lost(record)));
        (login(record) && !later && mine().any(|(other, record)| other < at && lost(record))).then_some(())
    };
    let (at, ()) = any(history, random, last)?;
    let restarted = |record: &Record| matches!(record.what, What::KickedOut);
    of(history, &history[at].device).all(|(_, record)| !restarted(record)).then_some(())?;
    history.remove(at);
    Some(())
}

/// What a cursor was answered, and the next that was handed out behind it.
fn replayed(history: &History, at: usize) -> Option<(usize, Position)> {
    let What::Resumed { thread, cursor, head, answer } = &history[at].what else { return None };
    let device = &history[at].device;
    let behind = |record: &Record| {
        handed(record).is_some_and(|(of, entry)| {
            let announced = (cursor.seq.next()..=head.seq).contains(&entry.position.seq);
            of == thread && announced && is_known(history, device, of, entry)
        })
    };
    let gap = |record: &Record| matches!(&record.what, What::Gap { thread: of, .. } if of == thread);
    let (next, _) = of(history, device).find(|(next, record)| *next > at && behind(record))?;
    let quiet = !of(history, device).any(|(_, record)| gap(record)) && !steps(history);
    (is_complete(*answer) && quiet && !forgets(history, device.as_ref(), at)).then_some((next, *cursor))
}

pub(super) fn hole_in_replay(history: &mut History, random: &mut StdRng) -> Option<()> {
    let (_, (next, _)) = any(history, random, |at, _| replayed(history, at))?;
    history.remove(next);
    Some(())
}

pub(super) fn stale(history: &mut History, random: &mut StdRng) -> Option<()> {
    let old = |at: usize, record: &Record| {
        let (next, _) = replayed(history, at)?;
        let lost = |record: &Record| matches!(record.what, What::Disconnected | What::AppRestarted { .. });
        let down =
            of(history, &record.device).filter(|(other, record)| *other < at && lost(record)).last()?;
        let again =
            of(history, &record.device).any(|(other, record)| (at..next).contains(&other) && lost(record));
        let (thread, entry) = handed(&history[next])?;
        let acks = |record: &&Record| acked(record).is_some_and(|(id, of, _)| of == thread && id == entry.id);
        let acked = history.iter().find(acks)?.at;
        (!again && acked + LAG + Duration::from_millis(1) < down.1.at).then_some(())
    };
    let (at, ()) = any(history, random, old)?;
    if let What::Resumed { answer, .. } = &mut history[at].what {
        *answer = Answer::CaughtUp;
    }
    Some(())
}

pub(super) fn no_gap(history: &mut History, random: &mut StdRng) -> Option<()> {
    let trimmed = |at: usize, record: &Record| match &record.what {
        What::Resumed { thread, answer: Answer::Trimmed, .. } => {
            (!forgets(history, record.device.as_ref(), at)).then(|| (record.device.clone(), thread.clone()))
        }
        _ => None,
    };
    let (_, (device, thread)) = any(history, random, trimmed)?;
    history.retain(|record| {
        record.device != device || !matches!(&record.what, What::Gap { thread: of, .. } if *of == thread)
    });
    Some(())
}

/// Changes an answer to a cursor.
fn answer(
    history: &mut History,
    random: &mut StdRng,
    change: impl Fn(&mut Position, &mut Answer, (Position, Seq)) -> Option<()>,
) -> Option<()> {
    let mut logs = history.clone();
    let resumed = |_, record: &Record| match &record.what {
        What::Resumed { answer, cursor, .. } if is_complete(*answer) && cursor.seq > Seq(0) => Some(()),
        _ => None,
    };
    let (at, ()) = any(history, random, resumed)?;
    let What::Resumed { thread, cursor, answer, .. } = &mut history[at].what else { return None };
    let (head, first, _) = log(&mut logs, thread)?;
    change(cursor, answer, (*head, *first))
}

pub(super) fn not_trimmed(history: &mut History, random: &mut StdRng) -> Option<()> {
    answer(history, random, |cursor, answer, (head, first)| {
        *answer = Answer::Trimmed;
        (head.epoch == cursor.epoch && first <= cursor.seq.next()).then_some(())
    })
}

pub(super) fn not_changed(history: &mut History, random: &mut StdRng) -> Option<()> {
    answer(history, random, |_, answer, _| {
        *answer = Answer::EpochChanged;
        Some(())
    })
}

pub(super) fn other_epoch(history: &mut History, random: &mut StdRng) -> Option<()> {
    answer(history, random, |cursor, _, _| {
        cursor.epoch.0 += 1;
        Some(())
    })
}
