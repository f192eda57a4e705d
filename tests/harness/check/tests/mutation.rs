//! Ways to spoil a good history.

use std::time::Duration;

use quail_protocol::{Epoch, Position, Seq, id::ClientMessageId};
use rand::{RngExt, rngs::StdRng};

use super::Rule;
use crate::history::{Answer, Device, Entry, Record, Thread, What};

mod event;
mod mark;
mod place;
mod send;

type History = Vec<Record>;

/// Spoils a history, if it has what that takes.
type Spoil = fn(&mut History, &mut StdRng) -> Option<()>;

/// What is done, which rule it breaks, and how.
pub(super) const MUTATIONS: &[(&str, Rule, Spoil)] = &[
    ("an acked message is not in the log", Rule::I1, place::lose_acked),
    ("an acked message stands elsewhere in the log", Rule::I1, place::swap_in_log),
    ("an ack names a place that is another's", Rule::I9, place::reuse_seq),
    ("the log has a hole", Rule::I3, place::lose_acked),
    ("the log's prev skips one of its priority", Rule::I3, place::wrong_prev),
    ("a receiver sees another message at a place", Rule::I3, event::swap_places),
    ("a message has two places", Rule::I4, place::place_twice),
    ("an unknown send is placed twice", Rule::I17, place::place_unknown_twice),
    ("a refused send is placed", Rule::I17, place::place_refused),
    ("an epoch steps unplanned", Rule::I9, place::step_epoch),
    ("an epoch goes back", Rule::I9, place::epoch_back),
    ("a received message was never sent", Rule::I2, event::phantom),
    ("a received message has another content", Rule::I2, event::wrong_hash),
    ("a received message has another sender", Rule::I2, event::wrong_sender),
    ("a message is received before it is sent", Rule::I2, event::too_early),
    ("a message is received twice", Rule::I4, event::twice),
    ("a sender receives its own message", Rule::I4, event::own),
    ("two messages of a priority change places", Rule::I5, event::swap),
    ("a message is skipped", Rule::I5, event::skip),
    ("a message never comes", Rule::I22, event::skip_last),
    ("a message of others is received", Rule::I20, event::of_others),
    ("a session's sends change places", Rule::I6, send::fifo),
    ("an ack is below one that came before its send", Rule::I7, send::real_time),
    ("an answer never comes", Rule::I22, send::unanswered),
    ("an answer comes late", Rule::I22, send::late),
    ("an ended session sends", Rule::I18, send::after_kick),
    ("a device never comes back", Rule::I22, event::gone),
    ("a device does not get what it was announced", Rule::I15, event::hole_in_replay),
    ("a device is caught up and gets something old", Rule::I15, event::stale),
    ("something is trimmed without a gap", Rule::I15, event::no_gap),
    ("something is said to be trimmed and is kept", Rule::I15, event::not_trimmed),
    ("an epoch is said to have changed and has not", Rule::I15, event::not_changed),
    ("a cursor of another epoch is caught up", Rule::I15, event::other_epoch),
    ("a device believes itself complete and is not", Rule::I15, event::not_complete),
    ("a mark goes back", Rule::I14, mark::back),
    ("a mark goes back for another device", Rule::I14, mark::back_elsewhere),
    ("read is above delivered", Rule::I14, mark::read_above),
    ("delivered is above the head", Rule::I14, mark::above_head),
    ("a mark is not taken", Rule::I14, mark::not_taken),
];

/// One of the records that `what` is about, with what it is.
fn any<T>(
    history: &History,
    random: &mut StdRng,
    what: impl Fn(usize, &Record) -> Option<T>,
) -> Option<(usize, T)> {
    let mut fit: Vec<_> =
        history.iter().enumerate().filter_map(|(at, record)| Some((at, what(at, record)?))).collect();
    (!fit.is_empty()).then(|| fit.swap_remove(random.random_range(0..fit.len())))
}

fn any_received(history: &History, random: &mut StdRng) -> Option<usize> {
    any(history, random, |_, record| matches!(record.what, What::Received { .. }).then_some(()))
        .map(|(at, ())| at)
}

fn received(record: &mut Record) -> Option<&mut Entry> {
    match &mut record.what {
        What::Received { entry, .. } => Some(entry),
        _ => None,
    }
}

fn acked(record: &Record) -> Option<(ClientMessageId, &Thread, Position)> {
    match &record.what {
        What::Acked { id, thread, position, .. } => Some((*id, thread, *position)),
        _ => None,
    }
}

/// The log of a thread: head, first, entries.
fn log<'a>(
    history: &'a mut History,
    of: &Thread,
) -> Option<(&'a mut Position, &'a mut Seq, &'a mut Vec<Entry>)> {
    history.iter_mut().find_map(|record| match &mut record.what {
        What::Log { thread, head, first, entries } if thread == of => Some((head, first, entries)),
        _ => None,
    })
}

/// How often something was sent.
fn sends(history: &History, id: ClientMessageId) -> usize {
    history.iter().filter(|record| matches!(record.what, What::Send { id: sent, .. } if sent == id)).count()
}

fn steps(history: &History) -> bool {
    history.iter().any(|record| matches!(record.what, What::ServerStarted { epoch_stepped: true }))
}

/// True if the device's app forgets something behind a record.
fn forgets(history: &History, device: Option<&Device>, from: usize) -> bool {
    let forgets = |record: &Record| matches!(record.what, What::AppRestarted { kept: false });
    history[from..].iter().any(|record| record.device.as_ref() == device && forgets(record))
}

/// The rest of a history is so much later.
fn delay(history: &mut History, from: usize, by: Duration) {
    history[from..].iter_mut().for_each(|record| record.at += by);
}

fn epoch(number: u64, seq: Seq) -> Position {
    Position { epoch: Epoch(number), seq }
}

fn is_complete(answer: Answer) -> bool {
    matches!(answer, Answer::CaughtUp | Answer::Replay)
}
