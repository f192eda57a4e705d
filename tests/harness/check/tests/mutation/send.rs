//! Spoils sends and their answers.

use std::{collections::HashMap, time::Duration};

use quail_protocol::{Position, id::SessionId};
use rand::rngs::StdRng;

use super::{History, acked, any, delay, sends};
use crate::{
    check::SETTLED_WITHIN,
    history::{Record, What},
};

fn swap_positions(history: &mut History, one: usize, other: usize) {
    let place = |record: &Record| match record.what {
        What::Acked { position, .. } => position,
        _ => Position::default(),
    };
    let places = [place(&history[one]), place(&history[other])];
    for (at, place) in [(one, places[1]), (other, places[0])] {
        if let What::Acked { position, .. } = &mut history[at].what {
            *position = place;
        }
    }
}

/// Two acks of one stretch of a device, for sends of one lane.
pub(super) fn fifo(history: &mut History, random: &mut StdRng) -> Option<()> {
    let mut pairs = Vec::new();
    let mut stretch = HashMap::<_, u32>::new();
    let mut begun = HashMap::new();
    let mut last = HashMap::new();
    for (at, Record { device, what, .. }) in history.iter().enumerate() {
        let Some(device) = device else { continue };
        let session = stretch.entry(device).or_default();
        match what {
            What::LoggedIn { .. } | What::Disconnected | What::AppRestarted { .. } => *session += 1,
            What::Send { id, thread, priority, .. } if sends(history, *id) == 1 => {
                begun.insert((device, *id), (*session, thread, *priority));
            }
            What::Acked { id, position, .. } => {
                if let Some((began, thread, priority)) = begun.get(&(device, *id)).copied()
                    && began == *session
                    && let Some((before, place)) =
                        last.insert((device, began, thread, priority), (at, position))
                    && place != position
                {
                    pairs.push((before, at));
                }
            }
            _ => {}
        }
    }
    let (_, (one, other)) =
        any(history, random, |at, _| pairs.iter().find(|(_, second)| *second == at).copied())?;
    swap_positions(history, one, other);
    Some(())
}

/// Two acks of one epoch, the first recorded before the second was begun.
pub(super) fn real_time(history: &mut History, random: &mut StdRng) -> Option<()> {
    let all = history.clone();
    let pair = |_, record: &Record| {
        let (id, of, place) = acked(record)?;
        let begun =
            all.iter().position(|record| matches!(record.what, What::Send { id: sent, .. } if sent == id))?;
        all[..begun].iter().position(|record| {
            acked(record).is_some_and(|(_, thread, position)| thread == of && position.epoch == place.epoch)
        })
    };
    let (at, before) = any(history, random, pair)?;
    swap_positions(history, before, at);
    Some(())
}

/// The last answer of a device whose app does not end afterwards.
fn answer(history: &History, random: &mut StdRng) -> Option<usize> {
    let answer = |at: usize, record: &Record| {
        let device = record.device.as_ref()?;
        let ends = |record: &Record| {
            record.device.as_ref() == Some(device) && matches!(record.what, What::AppRestarted { .. })
        };
        let (What::Acked { id, .. } | What::Refused { id }) = record.what else { return None };
        (sends(history, id) == 1 && !history[at..].iter().any(ends)).then_some(())
    };
    any(history, random, answer).map(|(at, ())| at)
}

pub(super) fn unanswered(history: &mut History, random: &mut StdRng) -> Option<()> {
    let at = answer(history, random)?;
    history.remove(at);
    Some(())
}

pub(super) fn late(history: &mut History, random: &mut StdRng) -> Option<()> {
    let healed = history.iter().position(|record| matches!(record.what, What::Healed))?;
    let at = answer(history, random).filter(|at| *at > healed)?;
    delay(history, at, SETTLED_WITHIN + Duration::from_secs(1));
    Some(())
}

/// What was refused after a kick is acknowledged.
pub(super) fn after_kick(history: &mut History, random: &mut StdRng) -> Option<()> {
    let logged_in = |record: &Record| matches!(record.what, What::LoggedIn { .. });
    let kicked = |at: usize, record: &Record| match &record.what {
        What::Send { id, thread, .. } => {
            let mine = history[..at].iter().rev().filter(|other| other.device == record.device);
            let last =
                mine.take_while(|other| !logged_in(other)).any(|other| matches!(other.what, What::KickedOut));
            last.then(|| (*id, thread.clone()))
        }
        _ => None,
    };
    let (sent, (id, thread)) = any(history, random, kicked)?;
    let refused = |record: &Record| matches!(record.what, What::Refused { id: of } if of == id);
    history.get(sent + 1).filter(|record| refused(record))?;
    let position = Position::default();
    history[sent + 1].what = What::Acked { id, thread, position, prev: Default::default() };
    // A login behind it changes nothing.
    let device = history[sent].device.clone();
    let what = What::LoggedIn { session: SessionId([9; 16]), resumed: false };
    let at = history[sent + 1].at;
    history.insert(sent + 2, Record { at, device, what });
    Some(())
}
