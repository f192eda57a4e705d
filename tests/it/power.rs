//! What was acknowledged is there after the power went at any sync, and the store goes on by itself.
//!
//! `POWER_IMAGES=all cargo test -p quail-tests --test it power -- --nocapture` opens every image instead of a sample;
//! a number sets the size of the sample, and `POWER_SEED` chooses other bodies, another sample and other tears.

mod log;

use std::{collections::BTreeSet, fs, path::Path, str::FromStr, time::Instant};

use quail_tests::{
    power::{Data, Lie, Loss, Names, Power, Random},
    within,
};

use self::log::{Log, open, open_without_tables};

/// Batches that are acknowledged before the last image.
const BATCHES: usize = 60;

/// Images that are opened unless told otherwise.
const SAMPLE: usize = 160;

/// A journal that has more than this is followed by another.
const JOURNAL_BYTES: usize = 64_000_000;

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
    let (mut power, mut log) = (Power::mount(binary(), seconds), Log::small(BATCHES));
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
    let (mut power, mut log) = (Power::mount(binary(), 60), Log::small(15));
    let disk = power.disk("disk");
    power.lie(from_the_beginning.then_some(lie));
    // A table that is written meanwhile, or is not, would be missed in another way.
    let store = open_without_tables(&disk).unwrap();
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

/// A journal is left behind when it has 64 MB, and removed when all of it is in tables.
#[tokio::test]
async fn slow_a_torn_first_batch_of_a_new_journal_is_no_damage() {
    let (mut power, mut log) = (Power::mount(binary(), 120), Log::long(40, 128));
    let disk = power.disk("disk");
    let store = open(&disk).unwrap();
    let journal = |number: usize| disk.join(format!("store/engine/{number}.jnl"));
    while log.bytes_acked() < JOURNAL_BYTES {
        log.append(&store, &mut power, 1).await;
    }
    let until = async |journals: [bool; 2]| {
        while [0, 1].map(|number| fs::exists(journal(number)).unwrap()) != journals {
            tokio::task::yield_now().await;
        }
    };
    within(until([true, true])).await;
    drop(store);
    // What is in the old journal goes to tables now.
    let store = open(&disk).unwrap();
    within(until([false, true])).await;
    assert_eq!(fs::metadata(journal(1)).unwrap().len(), 0, "nothing was appended since");
    let before = power.cut();
    log.append(&store, &mut power, 1).await;
    // Tables may be merged meanwhile: which sync is that of the batch is seen by its ack.
    let acked = power.points();
    let losses: Vec<_> = (before..acked).map(|point| loss(point, (Data::Tear, Names::Kept))).collect();
    drop(store);
    none(&try_images(&mut power, &log, &losses).await);
}
