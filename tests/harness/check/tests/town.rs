//! A small Quail in memory that keeps every promise, and the history of its clients.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::Duration,
};

use quail_protocol::{
    Epoch, Position, Priority, Seq,
    id::{ClientMessageId, SessionId, UserId},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::history::{Answer, Device, Entry, Record, Thread, What};

mod faults;

const LANES: usize = Priority::COUNT;

/// What the server has of a thread; entries before `first` are not kept.
#[derive(Clone, Default)]
struct Conversation {
    entries: Vec<Entry>,
    first: usize,
    marks: BTreeMap<UserId, (u64, u64)>,
}

#[derive(Clone)]
struct Message {
    id: ClientMessageId,
    thread: Thread,
    priority: Priority,
    hash: u64,
}

enum Reply {
    Acked(Message, Position, Seq),
    Refused(Message),
}

#[derive(Default)]
struct Follow {
    base: u64,
    has: BTreeSet<u64>,
    gap: u64,
    epoch: u64,
}

struct Terminal {
    device: Device,
    online: bool,
    kicked: bool,
    outbox: [VecDeque<Message>; LANES],
    replies: [VecDeque<Reply>; LANES],
    inbox: [VecDeque<(Thread, Entry)>; LANES],
    follows: BTreeMap<Thread, Follow>,
    sent: HashSet<ClientMessageId>,
    /// Without an answer, and given up.
    unknown: Vec<Message>,
}

struct Town {
    random: StdRng,
    now: Duration,
    history: Vec<Record>,
    epoch: u64,
    threads: BTreeMap<Thread, Conversation>,
    terminals: Vec<Terminal>,
    ids: u64,
}

/// The history of a good run.
pub(super) fn good(seed: u64) -> Vec<Record> {
    let mut town = Town::new(seed);
    let steps = town.random.random_range(150..500);
    for _ in 0..steps {
        town.step();
    }
    town.settle();
    town.history
}

impl Town {
    fn new(seed: u64) -> Self {
        let users = ["ann", "bob", "cid"].map(|user| UserId::new(user).unwrap());
        let device = |user: usize, name: &str| Device { user: users[user].clone(), name: name.into() };
        let devices = [device(0, "phone"), device(0, "laptop"), device(1, "phone"), device(2, "phone")];
        let terminal = |device| Terminal {
            device,
            online: false,
            kicked: false,
            outbox: Default::default(),
            replies: Default::default(),
            inbox: Default::default(),
            follows: BTreeMap::new(),
            sent: HashSet::new(),
            unknown: Vec::new(),
        };
        let pairs = [(0, 1), (0, 2), (1, 2)].map(|(one, other)| Thread::of(&users[one], &users[other]));
        let mut town = Self {
            random: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            history: Vec::new(),
            epoch: 1,
            threads: pairs.into_iter().map(|thread| (thread, Conversation::default())).collect(),
            terminals: devices.into_iter().map(terminal).collect(),
            ids: seed << 32,
        };
        town.note(None, What::ServerStarted { epoch_stepped: false });
        (0..town.terminals.len()).for_each(|at| town.log_in(at));
        town
    }

    fn note(&mut self, at: Option<usize>, what: What) {
        self.now += Duration::from_millis(self.random.random_range(0..120));
        let device = at.map(|at| self.terminals[at].device.clone());
        self.history.push(Record { at: self.now, device, what });
    }

    fn step(&mut self) {
        let at = self.random.random_range(0..self.terminals.len());
        let lane = self.random.random_range(0..LANES);
        match self.random.random_range(0..202) {
            0..60 => self.send(at, lane),
            60..110 => self.place(at, lane),
            110..140 => self.reply(at, lane),
            140..175 => self.receive(at, lane),
            175..182 => self.mark(at),
            182..186 => self.lose(at),
            186..192 => self.come_back(at),
            192..194 => self.restart_app(at),
            194..196 => self.repeat(at),
            196 => self.kick(at),
            197..199 => self.trim(),
            199 => self.restart_server(),
            _ => self.note(Some(at), What::Fault("a slow minute".into())),
        }
    }

    fn send(&mut self, at: usize, lane: usize) {
        let mut threads: Vec<_> = self.threads.keys().cloned().collect();
        threads.retain(|Thread(low, high)| [low, high].contains(&&self.terminals[at].device.user));
        self.ids += 1;
        let id = ClientMessageId::at(self.ids, [0; 10]);
        let thread = threads[self.random.random_range(0..threads.len())].clone();
        let message = Message { id, thread, priority: Priority::ALL[lane], hash: self.random.random() };
        self.begin(at, message);
    }

    fn begin(&mut self, at: usize, message: Message) {
        let Message { id, thread, priority, hash } = message.clone();
        self.note(Some(at), What::Send { id, thread, priority, hash });
        let terminal = &mut self.terminals[at];
        terminal.sent.insert(id);
        if terminal.kicked {
            self.note(Some(at), What::Refused { id });
        } else {
            terminal.outbox[priority.index()].push_back(message);
        }
    }

    /// The server takes a message.
    fn place(&mut self, at: usize, lane: usize) {
        let refuses = self.random.random_ratio(1, 30);
        let terminal = &mut self.terminals[at];
        if !terminal.online {
            return;
        }
        let Some(message) = terminal.outbox[lane].pop_front() else { return };
        let sender = terminal.device.user.clone();
        let log = self.threads.get_mut(&message.thread).unwrap();
        let known = log.entries.iter().find(|entry| (entry.id, &entry.sender) == (message.id, &sender));
        if let Some(entry) = known {
            return terminal.replies[lane].push_back(Reply::Acked(message, entry.position, entry.prev));
        }
        if refuses {
            return terminal.replies[lane].push_back(Reply::Refused(message));
        }
        let prev = log.entries.iter().rev().find(|entry| entry.priority == message.priority);
        let position = Position { epoch: Epoch(self.epoch), seq: Seq(log.entries.len() as u64 + 1) };
        let entry = Entry {
            id: message.id,
            sender,
            position,
            prev: prev.map(|entry| entry.position.seq).unwrap_or_default(),
            priority: message.priority,
            hash: message.hash,
        };
        log.entries.push(entry.clone());
        let (thread, prev) = (message.thread.clone(), entry.prev);
        terminal.replies[lane].push_back(Reply::Acked(message, position, prev));
        for (other, terminal) in self.terminals.iter_mut().enumerate() {
            let member = [&thread.0, &thread.1].contains(&&terminal.device.user);
            if member && terminal.online && other != at {
                terminal.inbox[lane].push_back((thread.clone(), entry.clone()));
            }
        }
    }

    /// A device begins to follow where it first sees something, and fetches what came since.
    fn has(&mut self, at: usize, thread: &Thread, position: Position) {
        let terminal = &mut self.terminals[at];
        if !terminal.follows.contains_key(thread) {
            let follow = Follow { base: position.seq.0, epoch: self.epoch, ..Follow::default() };
            terminal.follows.insert(thread.clone(), follow);
            let log = &self.threads[thread].entries;
            for (lane, inbox) in terminal.inbox.iter_mut().enumerate() {
                let (mut mine, others): (Vec<_>, _) = inbox.drain(..).partition(|(named, _)| named == thread);
                *inbox = VecDeque::from_iter::<Vec<_>>(others);
                let own =
                    |entry: &Entry| entry.sender == terminal.device.user && terminal.sent.contains(&entry.id);
                let missed = log.iter().filter(|entry| entry.priority.index() == lane && !own(entry));
                let missed = missed.filter(|entry| entry.position.seq > position.seq);
                mine.extend(missed.map(|entry| (thread.clone(), entry.clone())));
                mine.sort_by_key(|(_, entry)| entry.position);
                mine.dedup();
                inbox.extend(mine);
            }
        }
        terminal.follows.entry(thread.clone()).and_modify(|follow| _ = follow.has.insert(position.seq.0));
    }

    fn reply(&mut self, at: usize, lane: usize) {
        match self.terminals[at].replies[lane].pop_front() {
            Some(Reply::Acked(message, position, prev)) => {
                self.has(at, &message.thread, position);
                let Message { id, thread, .. } = message;
                self.note(Some(at), What::Acked { id, thread, position, prev });
            }
            Some(Reply::Refused(message)) => self.note(Some(at), What::Refused { id: message.id }),
            None => {}
        }
    }

    fn receive(&mut self, at: usize, lane: usize) {
        if let Some((thread, entry)) = self.terminals[at].inbox[lane].pop_front() {
            self.has(at, &thread, entry.position);
            self.note(Some(at), What::Received { thread, entry });
        }
    }

    fn mark(&mut self, at: usize) {
        let terminal = &self.terminals[at];
        let user = terminal.device.user.clone();
        let mut known =
            terminal.follows.iter().filter_map(|(thread, follow)| Some((thread, *follow.has.last()?)));
        let Some((thread, newest)) = known.next_back().map(|(thread, newest)| (thread.clone(), newest))
        else {
            return;
        };
        let asked = self.random.random_range(0..=newest + 2);
        let asked_read = self.random.random_range(0..=asked);
        let log = self.threads.get_mut(&thread).unwrap();
        let head = log.entries.len() as u64;
        let (delivered, read) = log.marks.entry(user).or_default();
        *delivered = (*delivered).max(asked.min(head));
        *read = (*read).max(asked_read.min(*delivered));
        let (delivered, read) = (Seq(*delivered), Seq(*read));
        let (asked_delivered, asked_read) = (Seq(asked), Seq(asked_read));
        if self.terminals[at].online {
            self.note(Some(at), What::Marked { thread, asked_delivered, asked_read, delivered, read });
        }
    }

    /// The connection ends. What has no answer is repeated by the client, or given up.
    fn lose(&mut self, at: usize) {
        if !std::mem::take(&mut self.terminals[at].online) {
            return;
        }
        self.note(Some(at), What::Disconnected);
        let gives_up = self.random.random_ratio(1, 4);
        for lane in 0..LANES {
            let terminal = &mut self.terminals[at];
            terminal.inbox[lane].clear();
            for reply in std::mem::take(&mut terminal.replies[lane]).into_iter().rev() {
                let (Reply::Acked(message, ..) | Reply::Refused(message)) = reply;
                terminal.outbox[lane].push_front(message);
            }
            if gives_up {
                self.give_up(at, lane);
            }
        }
    }

    fn give_up(&mut self, at: usize, lane: usize) {
        for message in std::mem::take(&mut self.terminals[at].outbox[lane]) {
            self.note(Some(at), What::Unknown { id: message.id });
            self.terminals[at].unknown.push(message);
        }
    }

    fn come_back(&mut self, at: usize) {
        if !self.terminals[at].online && !self.terminals[at].kicked {
            self.log_in(at);
        }
    }

    fn log_in(&mut self, at: usize) {
        self.terminals[at].online = true;
        self.note(Some(at), What::LoggedIn { session: SessionId([at as u8; 16]), resumed: false });
        let follows = std::mem::take(&mut self.terminals[at].follows);
        for (thread, mut follow) in follows {
            let log = &self.threads[&thread];
            let (first, entries) = (log.first as u64, log.entries.clone());
            let terminal = &self.terminals[at];
            let own =
                |entry: &Entry| entry.sender == terminal.device.user && terminal.sent.contains(&entry.id);
            let full = |seq: u64| {
                follow.has.contains(&seq)
                    || seq <= follow.gap
                    || entries.get(seq as usize - 1).is_some_and(own)
            };
            let through = (follow.base + 1..).find(|seq| !full(*seq)).unwrap() - 1;
            let head = entries.len() as u64;
            let position = |epoch, seq| Position { epoch: Epoch(epoch), seq: Seq(seq) };
            let cursor = position(follow.epoch, through);
            let (answer, gap) = if follow.epoch < self.epoch {
                let kept = entries.iter().filter(|entry| entry.position.epoch.0 < self.epoch).count() as u64;
                follow.base = follow.base.min(kept);
                follow.has.retain(|seq| *seq <= kept);
                (Answer::EpochChanged, kept.max(first))
            } else if through < first {
                (Answer::Trimmed, first)
            } else {
                (if through < head { Answer::Replay } else { Answer::CaughtUp }, 0)
            };
            follow.epoch = self.epoch;
            let lacks: Vec<_> = entries
                .iter()
                .filter(|entry| entry.position.seq.0 > gap.max(follow.base).max(first))
                .filter(|entry| !follow.has.contains(&entry.position.seq.0) && !own(entry))
                .cloned()
                .collect();
            let head = position(self.epoch, head);
            self.note(Some(at), What::Resumed { thread: thread.clone(), cursor, head, answer });
            if gap > 0 || answer == Answer::EpochChanged {
                follow.gap = gap;
                let kept = entries.get((gap as usize).wrapping_sub(1)).map(|entry| entry.position);
                let trimmed = position(self.epoch, gap);
                let through =
                    if answer == Answer::Trimmed { trimmed } else { kept.unwrap_or_default().max(cursor) };
                self.note(Some(at), What::Gap { thread: thread.clone(), through, answer });
            }
            for entry in lacks {
                let lane = entry.priority.index();
                self.terminals[at].inbox[lane].push_back((thread.clone(), entry));
            }
            self.terminals[at].follows.insert(thread, follow);
        }
    }
}
