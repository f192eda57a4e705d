//! What was acknowledged is there after the power went at any sync, and the store goes on by itself.
//!
//! `POWER_IMAGES=all cargo test -p quail-tests --test it power -- --nocapture` opens every image instead of a sample;
//! a number sets the size of the sample, and `POWER_SEED` chooses other bodies, another sample and other tears.

use std::{
    collections::BTreeSet,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    str::FromStr,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use quail_protocol::{
    Conversation, Priority, Seq, Timestamp,
    id::{AppId, ClientMessageId, MessageId, UserId},
    message::{Body, MessageKind},
};
use quail_server::{
    clock::Clock,
    store::{
        Append, Appended, ConversationKey, RangeQuery, Store,
        embedded::{Config, Embedded},
    },
};
use quail_tests::power::{Data, Lie, Loss, Names, Power, Random};

/// Batches that are acknowledged before the last image.
const BATCHES: usize = 60;
const CONVERSATIONS: usize = 3;
const BODY_BYTES_MAX: usize = 32 * 1024;

/// Images that are opened unless told otherwise.
const SAMPLE: usize = 160;

/// Images in each of which the power goes again while the store opens.
const AGAIN: usize = 6;

const EVERY_LOSS: [(Data, Names); 4] = [
    (Data::Drop, Names::Kept),
    (Data::Drop, Names::Strict),
    (Data::Tear, Names::Kept),
    (Data::Tear, Names::Strict),
];

fn number<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    number("POWER_SEED").unwrap_or(7)
}

fn config() -> Config {
    // As many syncs, tables and merges as so few messages can make.
    Config { mark_interval: Duration::ZERO, memtable: ByteSize::kib(256), ..Config::default() }
}

fn open(disk: &Path) -> Result<Embedded, String> {
    let open = || Embedded::open(&disk.join("store"), &config(), false, Clock::system());
    catch_unwind(AssertUnwindSafe(open))
        .map_err(|_| "opening panicked".to_owned())?
        .map_err(|error| error.to_string())
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn key(conversation: usize) -> ConversationKey {
    ConversationKey::peer(&AppId::new("demo").unwrap(), &user("a"), &user(&format!("b{conversation}")))
}

/// The messages of one batch: few or many, tiny and long, to several conversations.
fn batch(number: usize) -> Vec<Append> {
    let mut random = Random(seed() << 32 | number as u64);
    let count = 1 + random.below(6);
    let append = |place| {
        let bytes_max = [1, 300, 5000, BODY_BYTES_MAX][random.below(4)];
        let bytes = if random.below(8) == 0 { bytes_max } else { 1 + random.below(bytes_max) };
        let mut id = [0; 10];
        id[..8].copy_from_slice(&((number * 100 + place) as u64).to_be_bytes());
        let conversation = random.below(CONVERSATIONS);
        Append {
            key: key(conversation),
            conversation: Conversation::Peer(user(&format!("b{conversation}"))),
            sender: user("a"),
            id: MessageId::at(number as u64, id),
            client_id: ClientMessageId::at(number as u64, id),
            time: Timestamp(number as u64),
            priority: Priority::ALL[random.below(4)],
            kind: MessageKind::Text,
            body: Body::new((0..bytes).map(|_| random.number() as u8).collect::<Vec<_>>()).unwrap(),
            ext: Default::default(),
        }
    };
    (0..count).map(append).collect()
}

/// What was appended, and how many sync points there had been when each batch was acknowledged.
#[derive(Default)]
struct Log {
    batches: Vec<Vec<Append>>,
    acked_at: Vec<usize>,
}

impl Log {
    fn new() -> Self {
        // The last ones are never acknowledged here: they go on where an image ends.
        Self { batches: (0..BATCHES + 5).map(batch).collect(), acked_at: vec![] }
    }

    async fn append(&mut self, store: &Embedded, power: &mut Power, count: usize) {
        for _ in 0..count {
            let batch = self.batches[self.acked_at.len()].clone();
            let outcomes = store.append_batch(batch).await.unwrap();
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Appended::Placed(_))));
            self.acked_at.push(power.points());
        }
    }

    /// How many batches were acknowledged before this sync point.
    fn acked(&self, point: usize) -> usize {
        self.acked_at.iter().filter(|at| **at <= point).count()
    }

    /// How many batches the store has: those that were acknowledged, and perhaps the one that was not yet. Any other
    /// state is an error.
    async fn check(&self, store: &Embedded, acked: usize) -> Result<usize, String> {
        let mut found = vec![];
        for conversation in 0..CONVERSATIONS {
            let query = RangeQuery {
                from: Seq(1),
                to: Seq(u64::MAX),
                entries_max: usize::MAX,
                bytes_max: usize::MAX,
            };
            let range = store.read_range(&key(conversation), query).await.map_err(text)?;
            if range.head.seq != Seq(range.messages.len() as u64) {
                return Err(format!(
                    "head {:?} of {} messages, {acked} batches were acknowledged",
                    range.head,
                    range.messages.len()
                ));
            }
            found.push(range.messages);
        }
        let holds = |batches: usize| {
            (0..CONVERSATIONS).all(|conversation| {
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
    async fn go_on(&self, disk: &Path, acked: usize, power: &mut Power) -> Result<(usize, usize), String> {
        let store = open(disk)?;
        let has = self.check(&store, acked).await?;
        if let Some(last) = has.checked_sub(1) {
            let again = store.append_batch(self.batches[last].clone()).await.map_err(text)?;
            if !again.iter().all(|outcome| matches!(outcome, Appended::Duplicate(_))) {
                return Err(format!("batch {last} can be appended twice"));
            }
        }
        let next = store.append_batch(self.batches[has].clone()).await.map_err(text)?;
        if !next.iter().all(|outcome| matches!(outcome, Appended::Placed(_))) {
            return Err(format!("batch {has} is taken for a repetition"));
        }
        Ok((has, power.points()))
    }

    /// A store that went on has all of it when it is opened again.
    async fn try_image(&self, disk: &Path, acked: usize, power: &mut Power) -> Result<(), String> {
        let (has, _) = self.go_on(disk, acked, power).await?;
        match self.check(&open(disk)?, has + 1).await? {
            has_now if has_now == has + 1 => Ok(()),
            _ => Err("it holds what was never sent".into()),
        }
    }
}

fn is(append: &Append, message: &quail_protocol::message::Message, seq: u64) -> bool {
    append.is_content_of(message)
        && (append.id, append.client_id, Seq(seq)) == (message.id, message.client_id, message.position.seq)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// So many of the numbers below `end`, always the same.
fn sample(end: usize, count: usize) -> BTreeSet<usize> {
    let mut random = Random(seed());
    let mut chosen = BTreeSet::new();
    while chosen.len() < count.min(end) {
        chosen.insert(random.below(end));
    }
    chosen
}

fn loss(point: usize, (data, names): (Data, Names)) -> Loss {
    Loss { point, data, names, seed: seed() << 32 | point as u64 }
}

/// Opens the images, and says what is wrong with which.
async fn try_images(power: &mut Power, log: &Log, losses: &[Loss]) -> Vec<String> {
    let mut failures = vec![];
    for loss in losses {
        let disk = power.after(loss);
        if let Err(what) = log.try_image(&disk, log.acked(loss.point), power).await {
            failures.push(format!("{}: {what}", loss.name()));
        }
        power.remove(&disk);
    }
    failures
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quail-power"))
}

#[track_caller]
fn none(failures: &[String]) {
    let some = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} images are not as they must be:\n{some}", failures.len());
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_power_loss_at_any_sync() {
    let started = Instant::now();
    let all = std::env::var("POWER_IMAGES").is_ok_and(|images| images == "all");
    let seconds = if all { 1200 } else { 120 };
    let (mut power, mut log) = (Power::mount(binary(), seconds), Log::new());
    let disk = power.disk("disk");
    let store = open(&disk).unwrap();
    let made = power.points();
    log.append(&store, &mut power, BATCHES).await;
    drop(store);
    let points = power.cut();

    let images: Vec<_> = (0..points).flat_map(|point| EVERY_LOSS.map(|how| loss(point, how))).collect();
    let count = if all { images.len() } else { number("POWER_IMAGES").unwrap_or(SAMPLE) };
    let chosen: Vec<_> = sample(images.len(), count).into_iter().map(|at| images[at]).collect();
    let mut failures = try_images(&mut power, &log, &chosen).await;
    let once = chosen.len();

    // The power goes once more while what is left is opened and appended to.
    let mut twice = 0;
    for at in sample(images.len(), AGAIN) {
        let first = power.after(&images[at]);
        let from = power.points();
        power.watch(&first);
        let (has, acked_at) = match log.go_on(&first, log.acked(images[at].point), &mut power).await {
            Ok(went_on) => went_on,
            Err(what) => {
                failures.push(format!("{}: {what}", images[at].name()));
                continue;
            }
        };
        let points: Vec<_> = (from..power.cut()).collect();
        for place in sample(points.len(), count.div_ceil(20)) {
            let point = points[place];
            let second = loss(point, EVERY_LOSS[point % EVERY_LOSS.len()]);
            let disk = power.after(&second);
            twice += 1;
            let acked = if point < acked_at { has } else { has + 1 };
            if let Err(what) = log.try_image(&disk, acked, &mut power).await {
                failures.push(format!("{} after {}: {what}", second.name(), images[at].name()));
            }
            power.remove(&disk);
        }
        power.remove(&first);
    }
    println!(
        "{points} sync points ({made} of them until the store was made), {} images, {once} opened, and {twice} of \
         a second loss; {} failed; {:?}",
        images.len(),
        failures.len(),
        started.elapsed()
    );
    none(&failures);
}

/// What is found where syncs do nothing once the store is made or, from the beginning, before.
async fn found_where(lie: Lie, from_the_beginning: bool) -> Vec<String> {
    let (mut power, mut log) = (Power::mount(binary(), 60), Log::new());
    let disk = power.disk("disk");
    power.lie(from_the_beginning.then_some(lie));
    let store = open(&disk).unwrap();
    log.append(&store, &mut power, 5).await;
    power.lie(Some(lie));
    log.append(&store, &mut power, 10).await;
    let point = power.cut() - 1;
    drop(store);
    let losses = EVERY_LOSS.map(|how| loss(point, how));
    power.lie(None);
    try_images(&mut power, &log, &losses).await
}

#[tokio::test]
async fn a_disk_that_only_says_that_it_synced_is_found_out() {
    let found = found_where(Lie::Files, false).await;
    assert_eq!(found.len(), EVERY_LOSS.len(), "{found:?}");
    let lost = found.iter().filter(|failure| failure.contains("lost: 15 batches were acknowledged"));
    assert!(
        lost.count() >= 2,
        "a journal that ends where it was synced says nothing of what came later: {found:?}"
    );

    let found = found_where(Lie::Files, true).await;
    assert_eq!(found.len(), EVERY_LOSS.len(), "{found:?}");

    let found = found_where(Lie::Directories, true).await;
    assert_eq!(found.len(), 2, "only where names are lost with their directory: {found:?}");
    assert!(found.iter().all(|failure| failure.contains("strict")), "{found:?}");
}
