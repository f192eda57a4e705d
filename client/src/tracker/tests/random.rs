//! Messages and recalls at random, over lanes that overtake each other, with answers that are late, backlogs that are
//! dropped, connections that are lost, and an app that is restarted.

use quail_protocol::{
    Lane, Rev,
    conversation::Conversations,
    message::{Changed, Changes, ChangesPage, RecallNote, Recalled},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// An answer on its way, as of the moment in which it was asked for.
enum Late {
    Resumed(Resumed),
    Listed(Conversations),
    Page(Page),
    Changes(ChangesPage),
}

/// What is on its way on a lane.
enum Said {
    Event(Box<Event>),
    /// The answer to an own recall of a message.
    Recalled(u64, Rev),
}

struct World {
    random: StdRng,
    tracker: Tracker,
    entries: Vec<Message>,
    /// Which entry each change was of.
    changes: Vec<u64>,
    lanes: [VecDeque<Said>; Lane::COUNT],
    late: Option<Late>,
    /// What the app was told of each message: if it is recalled. Of what it does not know it takes no change.
    app: BTreeMap<u64, bool>,
    /// What a storage holds.
    kept: Restored,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            tracker: tracker(),
            entries: vec![],
            changes: vec![],
            lanes: Default::default(),
            late: None,
            app: BTreeMap::new(),
            kept: Restored::default(),
        };
        world.tracker.restore(Restored::default());
        world.tracker.connected(Timestamp(0));
        world.ask();
        world.answer();
        world.tell();
        world
    }

    fn up_to(&mut self, end: usize) -> usize {
        self.random.next_u32() as usize % end
    }

    fn head(&self) -> Position {
        Position { epoch: Epoch(EPOCH), seq: Seq(self.entries.len() as u64) }
    }

    fn rev(&self) -> Rev {
        Rev(self.changes.len() as u64)
    }

    fn last_of(&self, priority: Priority) -> Seq {
        let last = self.entries.iter().rev().find(|message| message.priority == priority);
        last.map_or(Seq(0), |message| message.position.seq)
    }

    fn place(&mut self) {
        let priority = Priority::ALL[self.up_to(Priority::COUNT)];
        let (prev, rev) = (self.last_of(priority), self.rev());
        let position = Position { seq: self.head().seq.next(), ..self.head() };
        let (theirs, mine) = (Story("n").message(1), Story("n").my_message(1));
        let message = if self.up_to(2) == 0 { theirs } else { mine };
        let message = Message { position, priority, prev, rev, ..message };
        self.entries.push(message.clone());
        self.say(priority.lane(), Event::MessageSent(message));
    }

    fn recall(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let newest = self.up_to(self.entries.len().min(8));
        let index = self.entries.len() - 1 - newest;
        if self.entries[index].recall.is_some() {
            return;
        }
        let prev = self.rev();
        self.changes.push(index as u64 + 1);
        let rev = self.rev();
        let message = &mut self.entries[index];
        message.rev = rev;
        message.recall = Some(RecallNote { operator: message.sender.clone(), time: Timestamp(0) });
        let message = message.clone();
        let seq = message.position.seq.0;
        if message.sender == user("alice") && self.app.contains_key(&seq) && self.up_to(2) == 0 {
            // It is this client that takes it back.
            return self.lanes[Lane::Control.index()].push_back(Said::Recalled(seq, rev));
        }
        self.say(message.priority.lane(), Event::MessageChanged(Changed { prev, message }));
    }

    fn say(&mut self, lane: Lane, event: Event) {
        self.lanes[lane.index()].push_back(Said::Event(Box::new(event)));
    }

    fn deliver(&mut self) {
        let lane = self.up_to(Lane::COUNT);
        match self.lanes[lane].pop_front() {
            Some(Said::Event(event)) => self.tracker.event(*event),
            Some(Said::Recalled(seq, rev)) => {
                self.app.insert(seq, true);
                self.tracker.recalled(&bob(), &Recalled { rev, time: Timestamp(0) });
            }
            None => {}
        }
    }

    /// A lane overflows.
    fn drop_backlog(&mut self) {
        let lane = self.up_to(Lane::COUNT);
        if lane != Lane::Control.index() && !self.lanes[lane].is_empty() {
            let (head, rev, cause) = (self.head(), self.rev(), BehindCause::SlowReader);
            let behind = Behind { conversation: bob(), head, rev, cause };
            self.lanes[lane] = [Said::Event(Box::new(Event::Behind(behind)))].into();
        }
    }

    fn reconnect(&mut self) {
        (self.lanes, self.late) = Default::default();
        self.tracker.reconnected(false, Timestamp(0));
    }

    /// The app ends without a word and is started again.
    fn restart(&mut self) {
        (self.lanes, self.late) = Default::default();
        self.tracker = tracker();
        let Restored { cursors, synced, let_go, .. } = &self.kept;
        let (cursors, synced, let_go) = (cursors.clone(), *synced, *let_go);
        self.tracker.restore(Restored { cursors, synced, let_go, ..Restored::default() });
        self.tracker.connected(Timestamp(0));
    }

    fn ask(&mut self) {
        let late = match self.tracker.ask() {
            Some(Query::Resume(Resume { cursors })) => {
                let answer = |cursor: &Cursor| {
                    let told = |priority: Priority| {
                        let ahead = cursor.ahead.iter().find(|ahead| ahead.priority == priority);
                        ahead.map_or(cursor.position.seq, |ahead| ahead.seq)
                    };
                    let missing =
                        Priority::ALL.iter().any(|priority| self.last_of(*priority) > told(*priority));
                    let missed =
                        if missing || self.rev() > cursor.rev { Missed::Replay } else { Missed::CaughtUp };
                    Answer { missed, head: self.head(), first: Seq(1), rev: self.rev() }
                };
                Late::Resumed(answers(&cursors.iter().map(answer).collect::<Vec<_>>()))
            }
            Some(Query::Enter(_) | Query::Join(_) | Query::Leave(_)) => {
                unreachable!("there is no room here")
            }
            Some(Query::Sync(_)) => {
                let rev = self.rev();
                let mut summary = sync::summary("bob", self.head().seq.0, 1, 0);
                summary.rev = rev;
                let known = if self.entries.is_empty() { vec![] } else { vec![summary] };
                Late::Listed(Conversations { conversations: List::new(known).unwrap(), next: None })
            }
            Some(Query::History(History { from, to, .. })) => {
                let range = self.entries.iter().filter(|message| (from..=to).contains(&message.position.seq));
                let mut messages: Vec<_> = range.cloned().collect();
                let next = messages.get(3).map(|message| message.position.seq);
                messages.truncate(3);
                let messages = List::new(messages).unwrap();
                Late::Page(Page { head: self.head(), first: Seq(1), rev: self.rev(), messages, next })
            }
            Some(Query::Changes(Changes { since, .. })) => {
                let behind = &self.changes[since.0 as usize..];
                let (some, more) = (&behind[..behind.len().min(3)], behind.len() > 3);
                let messages = some.iter().map(|seq| self.entries[*seq as usize - 1].clone()).collect();
                let rev = Rev(since.0 + some.len() as u64);
                Late::Changes(ChangesPage {
                    head: self.head(),
                    rev,
                    messages: List::new(messages).unwrap(),
                    more,
                })
            }
            None => return,
        };
        self.late = Some(late);
    }

    fn answer(&mut self) {
        match self.late.take() {
            Some(Late::Resumed(resumed)) => self.tracker.answered(resumed),
            Some(Late::Listed(listed)) => self.tracker.listed(listed),
            Some(Late::Page(page)) => self.tracker.page(page),
            Some(Late::Changes(page)) => self.tracker.changes(page),
            None => {}
        }
    }

    fn tell(&mut self) {
        while let Some(told) = self.tracker.pop_ready() {
            match told.event {
                Some(Event::MessageSent(message)) => {
                    let seq = message.position.seq.0;
                    let before = self.app.insert(seq, message.recall.is_some());
                    assert_eq!(before, None, "{seq} is told twice");
                }
                Some(Event::MessageChanged(changed)) => {
                    if let Some(recalled) = self.app.get_mut(&changed.message.position.seq.0) {
                        *recalled = true;
                    }
                }
                Some(other) => panic!("{other:?}"),
                None => {}
            }
            match told.note {
                Some(Note::At(cursor)) => self.kept.cursors = vec![cursor],
                Some(Note::Synced(login)) => self.kept.synced = Some(login),
                Some(Note::LetGo(conversation)) => panic!("{conversation} is let go"),
                None => {}
            }
        }
    }

    fn step(&mut self) {
        match self.up_to(100) {
            0..20 => self.place(),
            20..35 => self.recall(),
            35..65 => self.deliver(),
            65..75 => self.ask(),
            75..85 => self.answer(),
            85..97 => self.tell(),
            97 => self.drop_backlog(),
            98 => self.restart(),
            _ => self.reconnect(),
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.deliver();
            self.tell();
            self.answer();
            self.tell();
            self.ask();
            if self.late.is_none() && self.lanes.iter().all(VecDeque::is_empty) {
                return;
            }
        }
        panic!("it does not settle");
    }
}

#[test]
fn whatever_overtakes_what_the_app_ends_with_every_message_once_and_as_it_is() {
    for seed in 0..2000 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.settle();
        let expected: BTreeMap<_, _> =
            world.entries.iter().map(|message| (message.position.seq.0, message.recall.is_some())).collect();
        assert_eq!(world.app, expected, "seed {seed}");
    }
}
