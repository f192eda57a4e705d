//! A history, looked up from several sides.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use quail_protocol::{
    Epoch, Position, Priority, Seq,
    id::{ClientMessageId, UserId},
};

use crate::history::{Device, Entry, Record, Thread, What};

/// A message: its sender, its thread, and the sender's name for it.
pub(super) type Key<'a> = (&'a UserId, &'a Thread, ClientMessageId);

/// One `Send`.
pub(super) struct Sending<'a> {
    pub(super) record: usize,
    pub(super) device: &'a Device,
    pub(super) key: Key<'a>,
    pub(super) priority: Priority,
    pub(super) hash: u64,
    pub(super) run: u32,
    pub(super) state: State,
    pub(super) answer: Option<Answered>,
    /// The app ended before there was an answer.
    pub(super) abandoned: bool,
}

/// How a `Send` ended.
#[derive(Clone, Copy)]
pub(super) struct Answered {
    pub(super) record: usize,
    pub(super) state: State,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Acked(Position),
    Refused,
    Unknown,
}

/// Of a device's connection, when something was recorded.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Which stretch between a login and a loss.
    pub(super) session: u32,
    pub(super) kicked: bool,
}

/// A message that was seen at its place.
pub(super) struct Seen<'a> {
    pub(super) record: usize,
    pub(super) key: Key<'a>,
    pub(super) position: Position,
    pub(super) prev: Seq,
    /// Priority and hash; an ack has none.
    pub(super) content: Option<(Priority, u64)>,
    pub(super) source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Ack,
    Event,
    Log,
}

/// The last `Log` of a thread.
pub(super) struct Log<'a> {
    pub(super) record: usize,
    pub(super) head: Position,
    pub(super) first: Seq,
    pub(super) entries: &'a [Entry],
    pub(super) places: HashMap<Position, &'a Entry>,
}

pub(super) struct Index<'a> {
    pub(super) history: &'a [Record],
    pub(super) sends: Vec<Sending<'a>>,
    /// In the order of their records.
    pub(super) by_key: HashMap<Key<'a>, Vec<usize>>,
    /// In the order of their records.
    pub(super) seen: Vec<Seen<'a>>,
    /// The first that was seen at a place.
    pub(super) at: HashMap<(&'a Thread, Position), usize>,
    /// Incarnations of a number that were seen.
    incarnations: HashMap<(&'a Thread, Seq), Vec<Epoch>>,
    /// Every place that was seen, in order.
    pub(super) places: HashMap<&'a Thread, Vec<Position>>,
    /// Who has sends in which thread whose fate was never told.
    pub(super) unanswered: HashSet<(&'a Device, &'a Thread)>,
    pub(super) logs: HashMap<&'a Thread, Log<'a>>,
    /// Planned steps of the epoch: when one was possible, when it was done.
    pub(super) steps: Vec<(usize, usize)>,
    pub(super) healed: Option<usize>,
    /// Where the test begins to read what came of it all.
    pub(super) reading: usize,
}

#[derive(Default)]
struct Terminal {
    run: u32,
    state: State,
    open: HashMap<ClientMessageId, VecDeque<usize>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(history: &'a [Record]) -> Self {
        let mut index = Self {
            history,
            sends: Vec::new(),
            by_key: HashMap::new(),
            seen: Vec::new(),
            at: HashMap::new(),
            incarnations: HashMap::new(),
            places: HashMap::new(),
            unanswered: HashSet::new(),
            logs: HashMap::new(),
            steps: Vec::new(),
            healed: None,
            reading: history.len(),
        };
        let mut terminals = HashMap::<&Device, Terminal>::new();
        let mut ended = None;
        for (record, Record { device, what, .. }) in history.iter().enumerate() {
            match what {
                What::ServerEnded => ended = Some(record),
                What::ServerStarted { epoch_stepped } => {
                    if *epoch_stepped {
                        index.steps.push((ended.unwrap_or(record), record));
                    }
                    ended = None;
                }
                What::Healed => index.healed = Some(record),
                What::Log { thread, head, first, entries } => {
                    for entry in entries {
                        index.see(Self::seen(record, thread, entry, Source::Log));
                    }
                    let places = entries.iter().map(|entry| (entry.position, entry)).collect();
                    let log = Log { record, head: *head, first: *first, entries, places };
                    index.logs.insert(thread, log);
                }
                _ => {}
            }
            if let Some(device) = device {
                index.of_device(record, device, terminals.entry(device).or_default(), what);
            }
        }
        let untold =
            |send: &&Sending<'_>| send.answer.is_none_or(|answer| answer.outcome == Outcome::Unknown);
        index.unanswered = index.sends.iter().filter(untold).map(|send| (send.device, send.key.1)).collect();
        let end = |record: &Record| matches!(record.what, What::Log { .. } | What::Complete { .. });
        if let Some(healed) = index.healed {
            index.reading = history[healed..].iter().position(end).map_or(history.len(), |at| healed + at);
        }
        for (thread, position) in index.at.keys() {
            index.places.entry(thread).or_default().push(*position);
            index.incarnations.entry((thread, position.seq)).or_default().push(position.epoch);
        }
        index.places.values_mut().for_each(|places| places.sort_unstable());
        index
    }

    fn of_device(&mut self, record: usize, device: &'a Device, terminal: &mut Terminal, what: &'a What) {
        match what {
            What::Send { id, thread, priority, hash } => {
                let key = (&device.user, thread, *id);
                terminal.open.entry(*id).or_default().push_back(self.sends.len());
                self.by_key.entry(key).or_default().push(self.sends.len());
                self.sends.push(Sending {
                    record,
                    device,
                    key,
                    priority: *priority,
                    hash: *hash,
                    run: terminal.run,
                    state: terminal.state,
                    answer: None,
                    abandoned: false,
                });
            }
            What::Acked { id, thread, position, prev } => {
                self.answer(record, terminal, *id, Outcome::Acked(*position));
                let key = (&device.user, thread, *id);
                let (position, prev) = (*position, *prev);
                self.see(Seen { record, key, position, prev, content: None, source: Source::Ack });
            }
            What::Refused { id } => self.answer(record, terminal, *id, Outcome::Refused),
            What::Unknown { id } => self.answer(record, terminal, *id, Outcome::Unknown),
            What::Received { thread, entry } => self.see(Self::seen(record, thread, entry, Source::Event)),
            What::LoggedIn { .. } => {
                terminal.state = State { session: terminal.state.session + 1, kicked: false };
            }
            What::Disconnected => terminal.state.session += 1,
            What::KickedOut => terminal.state.kicked = true,
            What::AppRestarted { .. } => {
                terminal.run += 1;
                terminal.state.session += 1;
                for send in terminal.open.drain().flat_map(|(_, sends)| sends) {
                    self.sends[send].abandoned = true;
                }
            }
            _ => {}
        }
    }

    fn seen(record: usize, thread: &'a Thread, entry: &'a Entry, source: Source) -> Seen<'a> {
        Seen {
            record,
            key: (&entry.sender, thread, entry.id),
            position: entry.position,
            prev: entry.prev,
            content: Some((entry.priority, entry.hash)),
            source,
        }
    }

    fn see(&mut self, seen: Seen<'a>) {
        self.at.entry((seen.key.1, seen.position)).or_insert(self.seen.len());
        self.seen.push(seen);
    }

    fn answer(&mut self, record: usize, terminal: &mut Terminal, id: ClientMessageId, outcome: Outcome) {
        if let Some(send) = terminal.open.get_mut(&id).and_then(VecDeque::pop_front) {
            self.sends[send].answer = Some(Answered { record, state: terminal.state, outcome });
        }
    }

    /// Every time a message was sent.
    pub(super) fn sendings(&self, key: &Key<'a>) -> impl Iterator<Item = &Sending<'a>> {
        self.by_key.get(key).into_iter().flatten().map(|send| &self.sends[*send])
    }

    /// True if `device` sent it.
    pub(super) fn is_own(&self, key: &Key<'a>, device: &Device) -> bool {
        self.sendings(key).any(|send| send.device == device)
    }

    /// The message that `seq` means to one of `epoch`.
    pub(super) fn incarnation(&self, thread: &'a Thread, seq: Seq, epoch: Epoch) -> Option<&Seen<'a>> {
        let epochs = self.incarnations.get(&(thread, seq))?;
        let epoch = *epochs.iter().filter(|seen| **seen <= epoch).max()?;
        self.at.get(&(thread, Position { epoch, seq })).map(|seen| &self.seen[*seen])
    }

    /// Where a cursor really stands: its epoch may be newer than what has its number.
    pub(super) fn cursor(&self, thread: &'a Thread, cursor: Position) -> Position {
        self.incarnation(thread, cursor.seq, cursor.epoch).map_or(cursor, |seen| seen.position)
    }

    /// True if the thread went on from an older state that has nothing at `position`.
    pub(super) fn is_rolled_back(&self, thread: &Thread, position: Position) -> bool {
        self.logs
            .get(thread)
            .is_some_and(|log| position.epoch < log.head.epoch && !log.places.contains_key(&position))
    }

    pub(super) fn time(&self, record: usize) -> Duration {
        self.history[record].at
    }

    /// A record in a few words.
    pub(super) fn tell(&self, record: usize) -> String {
        let Record { at, device, what } = &self.history[record];
        let who = device.as_ref().map_or("test".into(), |device| format!("{}/{}", device.user, device.name));
        match what {
            What::Log { thread, head, first, entries } => format!(
                "#{record} {at:?} log of {}+{}: {} entries from {} to {}",
                thread.0,
                thread.1,
                entries.len(),
                first.0,
                place(*head)
            ),
            what => format!("#{record} {at:?} {who} {what:?}"),
        }
    }
}

/// A position in a few letters.
pub(super) fn place(position: Position) -> String {
    format!("{}:{}", position.epoch.0, position.seq.0)
}
