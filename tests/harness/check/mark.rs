//! How far a user has got: I14.

use std::collections::HashMap;

use quail_protocol::{Seq, id::UserId};

use super::{
    Found, Rule,
    index::{Index, Source},
};
use crate::history::{Device, Thread, What};

/// Delivered and read, by which answer.
#[derive(Clone, Copy)]
struct Marks {
    delivered: Seq,
    read: Seq,
    record: usize,
}

impl Marks {
    fn is_below(self, other: Self) -> bool {
        self.delivered < other.delivered || self.read < other.read
    }
}

/// Something that only grows within an era, with the record that told of it.
type Growth<T> = Vec<(usize, T)>;

/// What was told last up to `record`, in its era.
fn by<T: Copy>(index: &Index<'_>, growth: Option<&Growth<T>>, record: usize) -> Option<T> {
    let growth = growth?;
    let (told, value) = *growth[..growth.partition_point(|(told, _)| *told <= record)].last()?;
    (era(index, told) == era(index, record)).then_some(value)
}

/// Marks and heads of one era cannot be compared with another's: the store was put back in between.
fn era(index: &Index<'_>, record: usize) -> usize {
    let ended = index.steps.partition_point(|(ended, _)| *ended <= record);
    ended + index.steps.partition_point(|(_, started)| *started <= record)
}

pub(super) fn check(index: &Index<'_>, found: &mut Found) {
    let heads = heads(index);
    let newest = newest(index);
    let mut last = HashMap::<(&Device, &Thread), Marks>::new();
    let mut told = HashMap::<(&UserId, &Thread), Growth<Marks>>::new();
    // Of each device: its last login, and its last answer, after which its next call began.
    let mut logins = HashMap::<&Device, usize>::new();
    let mut answers = HashMap::<&Device, usize>::new();
    for (record, at) in index.history.iter().enumerate() {
        let Some(device) = &at.device else { continue };
        if matches!(at.what, What::LoggedIn { .. }) {
            logins.insert(device, record);
        }
        let What::Marked { thread, asked_delivered, asked_read, delivered, read } = &at.what else {
            continue;
        };
        let marks = Marks { delivered: *delivered, read: *read, record };
        let newest = newest.get(thread).copied().unwrap_or_default();
        if read > delivered || *delivered > newest {
            let text = format!("read {} and delivered {} of at most {}", read.0, delivered.0, newest.0);
            found.add(Rule::I14, format!("{text}: {}", index.tell(record)));
        }
        let now = era(index, record);
        if logins.get(device).is_some_and(|login| era(index, *login) != now) {
            continue;
        }
        let began = answers.insert(device, record);
        let before = last.insert((device, thread), marks).filter(|before| era(index, before.record) == now);
        let began = began.filter(|began| era(index, *began) == now);
        let user = told.entry((&device.user, thread)).or_default();
        let others = began.and_then(|began| by(index, Some(user), began));
        if let Some(higher) = before.into_iter().chain(others).find(|other| marks.is_below(*other)) {
            let [one, two] = [higher.record, record].map(|record| index.tell(record));
            found.add(Rule::I14, format!("went back: {one}, then {two}"));
        }
        let head = began.and_then(|began| by(index, heads.get(thread), began)).unwrap_or_default();
        let due = (*asked_delivered.min(&head), *asked_read.min(asked_delivered).min(&head));
        if *delivered < due.0 || *read < due.1 {
            found.add(Rule::I14, format!("less than asked, of {}: {}", head.0, index.tell(record)));
        }
        let top = user.last().map(|(_, top)| *top).filter(|top| era(index, top.record) == now);
        if top.is_none_or(|top| top.is_below(marks)) {
            let top = top.unwrap_or(marks);
            let (delivered, read) = (top.delivered.max(marks.delivered), top.read.max(marks.read));
            user.push((record, Marks { delivered, read, record }));
        }
    }
}

/// What no number of a thread is above. What was rolled back may have been seen by nobody, but it was sent.
fn newest<'a>(index: &Index<'a>) -> HashMap<&'a Thread, Seq> {
    let mut newest = HashMap::<&Thread, Seq>::new();
    for (_, thread, _) in index.by_key.keys() {
        newest.entry(thread).or_default().0 += 1;
    }
    if index.steps.is_empty() {
        newest.extend(index.logs.iter().map(|(thread, log)| (*thread, log.head.seq)));
    }
    newest
}

/// The newest number of each thread that was known by when.
fn heads<'a>(index: &Index<'a>) -> HashMap<&'a Thread, Growth<Seq>> {
    let mut heads = HashMap::<&Thread, Growth<Seq>>::new();
    for seen in index.seen.iter().filter(|seen| seen.source != Source::Log) {
        let growth = heads.entry(seen.key.1).or_default();
        let seq = seen.position.seq;
        let same = |(record, _): &&(usize, Seq)| era(index, *record) == era(index, seen.record);
        if growth.last().filter(same).is_none_or(|(_, head)| *head < seq) {
            growth.push((seen.record, seq));
        }
    }
    heads
}
