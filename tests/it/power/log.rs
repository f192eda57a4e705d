//! What was sent to a store, and what of it must be there.

use std::{
    collections::BTreeMap,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use bytesize::ByteSize;
use quail_protocol::{
    Conversation, Epoch, Priority, Seq, Timestamp,
    bounded::Text,
    id::{AppId, ClientMessageId, MessageId, RoomId, UserId},
    message::{Body, Content, Direction, Message, MessageKind},
};
use quail_server::{
    clock::Clock,
    domain::conversation::Marks,
    entropy::Entropy,
    store::{
        Append, Appended, ConversationKey, Forget, MarkChange, ProfileChange, Range, RangeQuery, RoomChange,
        RoomRow, RoomsKept, Store, Write, Written,
        embedded::{Config, Embedded},
        memory::Memory,
    },
};
use quail_tests::power::{Power, Random};

use super::seed;

const CONVERSATIONS: usize = 3;
const BODY_BYTES_MAX: usize = 32 * 1024;

const WHOLE: RangeQuery = RangeQuery {
    from: Seq(0),
    to: Seq(u64::MAX),
    entries_max: usize::MAX,
    bytes_max: usize::MAX,
    direction: Direction::Forwards,
};

/// Batches that are never acknowledged while the disk is watched: they go on where an image ends.
const SPARE: usize = 5;

fn config() -> Config {
    // As many syncs, tables and merges as so few messages can make.
    Config {
        mark_interval: Duration::ZERO,
        memtable: ByteSize::kib(256),
        journals: ByteSize::mib(64),
        ..Config::default()
    }
}

pub(super) fn open(disk: &Path) -> Result<Embedded, String> {
    open_as(disk, &config())
}

/// A store that so few messages make write no table.
pub(super) fn open_without_tables(disk: &Path) -> Result<Embedded, String> {
    open_as(disk, &Config { memtable: ByteSize::mib(64), ..config() })
}

fn open_as(disk: &Path, config: &Config) -> Result<Embedded, String> {
    let open = || Embedded::open(&disk.join("store"), config, false, Clock::system());
    catch_unwind(AssertUnwindSafe(open))
        .map_err(|_| "opening panicked".to_owned())?
        .map_err(|error| error.to_string())
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn key(conversation: usize) -> ConversationKey {
    ConversationKey::peer(&app(), &user("a"), &user(&format!("b{conversation}")))
}

fn app() -> AppId {
    AppId::new("demo").unwrap()
}

fn conversation(conversation: usize) -> Conversation {
    Conversation::Peer(user(&format!("b{conversation}")))
}

/// What the sender asks for behind a batch: all of it delivered, and read behind every other.
fn asked(batch: usize) -> Marks {
    Marks { delivered: Seq(u64::MAX), read: Seq(if batch.is_multiple_of(2) { u64::MAX } else { 0 }) }
}

/// What a batch does to a room.
fn room_change(batch: usize) -> RoomChange {
    let value = (!batch.is_multiple_of(3)).then(|| batch.to_be_bytes().to_vec());
    let (room, epoch) = (RoomId::new("r").unwrap(), Epoch(1 + batch as u64));
    RoomChange { app: app(), room, epoch, rows: vec![(vec![(batch % 5) as u8], value)] }
}

/// What is kept of rooms after so many batches.
fn rooms_after(batches: usize) -> RoomsKept {
    let mut rows = BTreeMap::new();
    for (name, value) in (0..batches).flat_map(|batch| room_change(batch).rows) {
        match value {
            Some(value) => _ = rows.insert(name, value),
            None => _ = rows.remove(&name),
        }
    }
    let row = |(name, value)| RoomRow { app: app(), room: RoomId::new("r").unwrap(), name, value };
    let rows = rows.into_iter().map(row).collect();
    RoomsKept { last_epoch: Epoch(batches as u64), rows, ..RoomsKept::default() }
}

fn appended(outcomes: &[Written]) -> impl Iterator<Item = &Appended> {
    outcomes.iter().filter_map(|outcome| match outcome {
        Written::Append(appended) => Some(appended),
        _ => None,
    })
}

/// One message of a batch, of up to so many bytes.
fn append(number: usize, place: usize, bytes_max: usize, random: &mut Random) -> Append {
    let bytes = if random.below(8) == 0 { bytes_max } else { 1 + random.below(bytes_max) };
    let body: Vec<_> =
        (0..bytes.div_ceil(8)).flat_map(|_| random.number().to_be_bytes()).take(bytes).collect();
    let mut id = [0; 10];
    id[..8].copy_from_slice(&((number * 1000 + place) as u64).to_be_bytes());
    let (to, priority) = (random.below(CONVERSATIONS), Priority::ALL[random.below(4)]);
    Append {
        key: key(to),
        conversation: conversation(to),
        sender: user("a"),
        member: None,
        id: MessageId::at(number as u64, id),
        client_id: ClientMessageId::at(number as u64, id),
        time: Timestamp(number as u64),
        asked: priority,
        priority,
        content: Content::new(MessageKind::Text, Body::new(body).unwrap()),
        known: None,
        keep: None,
    }
}

/// What a batch does to rooms of which messages are kept: another one speaks every tenth batch, and what the last said is
/// removed meanwhile, in steps.
fn of_rooms(batch: usize) -> Vec<Write> {
    let key = |made: usize| ConversationKey::Room(app(), RoomId::new("r").unwrap(), Epoch(1 + made as u64));
    let mut random = Random(seed() << 32 | 1 << 31 | batch as u64);
    let said = |place: usize| Append {
        key: key(batch / 10),
        conversation: Conversation::Room(RoomId::new("r").unwrap()),
        ..append(batch, 900 + place, 3000, &mut random)
    };
    let mut writes: Vec<_> = (0..3).map(said).map(Write::Append).collect();
    if let Some(over) = (batch / 10).checked_sub(1) {
        writes.push(Write::Forget(Forget { key: key(over), entries_max: 4 }));
    }
    writes
}

/// What is kept of such rooms.
async fn histories(store: &impl Store) -> Result<Vec<(ConversationKey, Range)>, String> {
    let mut all = vec![];
    for key in store.rooms().await.map_err(text)?.histories {
        let range = store.read_range(&key, WHOLE).await.map_err(text)?;
        all.push((key, range));
    }
    Ok(all)
}

/// What the engine in memory makes of so many batches.
async fn histories_after(batches: usize) -> Vec<(ConversationKey, Range)> {
    let memory = Memory::new(Entropy::seeded(7).hasher());
    for batch in 0..batches {
        memory.write_batch(of_rooms(batch)).await.unwrap();
    }
    histories(&memory).await.unwrap()
}

/// What was appended, and how many sync points there had been when each batch was acknowledged.
#[derive(Default)]
pub(super) struct Log {
    batches: Vec<Vec<Append>>,
    acked_at: Vec<usize>,
}

impl Log {
    /// So many batches of few or many messages, tiny and long, to several conversations.
    pub(super) fn small(batches: usize) -> Self {
        let batches = (0..batches + SPARE).map(|number| {
            let mut random = Random(seed() << 32 | number as u64);
            let bytes_max = |random: &mut Random| [1, 300, 5000, BODY_BYTES_MAX][random.below(4)];
            (0..1 + random.below(6))
                .map(|place| append(number, place, bytes_max(&mut random), &mut random))
                .collect()
        });
        Self { batches: batches.collect(), acked_at: vec![] }
    }

    /// So many batches of long messages, and small ones behind them.
    pub(super) fn long(batches: usize, messages: usize) -> Self {
        let mut log = Self::small(0);
        let long = (0..batches).map(|number| {
            let mut random = Random(seed() << 32 | number as u64);
            (0..messages).map(|place| append(1000 + number, place, BODY_BYTES_MAX, &mut random)).collect()
        });
        log.batches.splice(0..0, long);
        log
    }

    pub(super) async fn append(&mut self, store: &Embedded, power: &mut Power, count: usize) {
        for _ in 0..count {
            let outcomes = store.write_batch(self.writes(self.acked_at.len())).await.unwrap();
            assert!(appended(&outcomes).all(|outcome| matches!(outcome, Appended::Placed(_))));
            self.acked_at.push(power.points());
        }
    }

    /// A batch, behind which the sender has received all of one conversation and may have read it, and has a new name, and
    /// a room has another row, or one less.
    fn writes(&self, batch: usize) -> Vec<Write> {
        let mark = MarkChange {
            app: app(),
            user: user("a"),
            key: key(batch % CONVERSATIONS),
            conversation: conversation(batch % CONVERSATIONS),
            epoch: Epoch(1),
            marks: asked(batch),
            receipt: true,
        };
        let rename = ProfileChange {
            app: app(),
            user: user("a"),
            name: Some(Text::new(batch.to_string()).unwrap()),
            avatar: None,
            extension: None,
            time: Timestamp(batch as u64),
        };
        let others = [Write::Mark(mark), Write::Profile(rename), Write::Room(room_change(batch))];
        let own = self.batches[batch].iter().cloned().map(Write::Append);
        own.chain(others).chain(of_rooms(batch)).collect()
    }

    /// The marks after so many batches.
    fn marks(&self, batches: usize) -> [Marks; CONVERSATIONS] {
        let mut marks = [Marks::default(); CONVERSATIONS];
        for batch in 0..batches {
            let at = batch % CONVERSATIONS;
            let sent = self.batches[..=batch].iter().flatten().filter(|append| append.key == key(at)).count();
            marks[at] = marks[at].advance(asked(batch), Seq(sent as u64));
        }
        marks
    }

    /// How long the bodies are that were acknowledged.
    pub(super) fn bytes_acked(&self) -> usize {
        self.batches[..self.acked_at.len()].iter().flatten().map(|append| append.content.body.len()).sum()
    }

    /// How many batches were acknowledged before this sync point.
    pub(super) fn acked(&self, point: usize) -> usize {
        self.acked_at.iter().filter(|at| **at <= point).count()
    }

    /// How many batches the store has: those that were acknowledged, and perhaps the one that was not yet. Any other
    /// state is an error.
    async fn check(&self, store: &Embedded, acked: usize) -> Result<usize, String> {
        let mut found = vec![];
        for conversation in 0..CONVERSATIONS {
            let range = store.read_range(&key(conversation), WHOLE).await.map_err(text)?;
            if range.head.seq != Seq(range.messages.len() as u64) {
                return Err(format!(
                    "head {:?} of {} messages, {acked} batches were acknowledged",
                    range.head,
                    range.messages.len()
                ));
            }
            found.push(range.messages);
        }
        let (own, _) = store.conversations(&app(), &user("a"), None, CONVERSATIONS).await.map_err(text)?;
        let feed = store.feed(&app(), &user("a"), Seq(0), 0).await.map_err(text)?.head.seq;
        let holds_marks = |batches: usize| {
            let expected = self.marks(batches);
            let is = |(at, marks): (usize, Marks)| {
                let kept = own.iter().find(|summary| summary.conversation == conversation(at));
                kept.map_or(Marks::default(), |kept| Marks { delivered: kept.delivered, read: kept.read })
                    == marks
            };
            expected.into_iter().enumerate().all(is) && feed == Seq(batches as u64)
        };
        let rooms = RoomsKept { histories: vec![], ..store.rooms().await.map_err(text)? };
        let histories = histories(store).await?;
        let expected = [histories_after(acked).await, histories_after(acked + 1).await];
        let holds = |batches: usize| {
            holds_marks(batches)
                && rooms == rooms_after(batches)
                && histories == expected[batches - acked]
                && (0..CONVERSATIONS).all(|conversation| {
                    let sent = self.batches[..batches].iter().flatten();
                    let sent: Vec<_> = sent.filter(|append| append.key == key(conversation)).collect();
                    let found = &found[conversation];
                    let same = |((append, message), seq): ((&&Append, &_), u64)| is(append, message, seq);
                    sent.len() == found.len() && sent.iter().zip(found).zip(1..).all(same)
                })
        };
        match (holds(acked), holds(acked + 1)) {
            (true, _) => Ok(acked),
            (_, true) => Ok(acked + 1),
            _ => {
                let found: Vec<_> = found.iter().map(Vec::len).collect();
                Err(format!("lost: {acked} batches were acknowledged, it holds {found:?} messages"))
            }
        }
    }

    /// Opens the store of a disk, sees that it has what it must have, and appends one more batch: how many it had, and
    /// how many sync points there were when that was acknowledged.
    pub(super) async fn go_on(
        &self,
        disk: &Path,
        acked: usize,
        power: &mut Power,
    ) -> Result<(usize, usize), String> {
        let store = open(disk)?;
        let has = self.check(&store, acked).await?;
        if let Some(last) = has.checked_sub(1) {
            // Whoever removes something twice removes more.
            let mut again = self.writes(last);
            again.retain(|write| !matches!(write, Write::Forget(_)));
            let again = store.write_batch(again).await.map_err(text)?;
            if !appended(&again).all(|outcome| matches!(outcome, Appended::Duplicate(_))) {
                return Err(format!("batch {last} can be appended twice"));
            }
        }
        let next = store.write_batch(self.writes(has)).await.map_err(text)?;
        if !appended(&next).all(|outcome| matches!(outcome, Appended::Placed(_))) {
            return Err(format!("batch {has} is taken for a repetition"));
        }
        Ok((has, power.points()))
    }

    /// A store that went on has all of it when it is opened again.
    pub(super) async fn try_image(&self, disk: &Path, acked: usize, power: &mut Power) -> Result<(), String> {
        let (has, _) = self.go_on(disk, acked, power).await?;
        match self.check(&open(disk)?, has + 1).await? {
            has_now if has_now == has + 1 => Ok(()),
            _ => Err("it holds what was never sent".into()),
        }
    }
}

fn is(append: &Append, message: &Message, seq: u64) -> bool {
    let said = message.client_id == append.client_id && message.content == append.content;
    said && message.id == append.id && message.position.seq == Seq(seq)
}

fn text(error: impl Display) -> String {
    error.to_string()
}
