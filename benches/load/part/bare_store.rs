//! The engine alone: the rows that a committed plan left, written again in the same batches with one sync each.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use quail_server::store::embedded;
use serde::{Deserialize, Serialize};

use crate::{
    child::{Orders, say},
    cpu::{self, Spent},
    plan::Plan,
};

/// What to write, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The store that `commit` left.
    pub(crate) committed: PathBuf,
    /// A directory that does not exist.
    pub(crate) engine: PathBuf,
    /// What was committed.
    pub(crate) plan: Plan,
}

/// What it took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Time.
    pub(crate) spent: Spent,
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
}

/// The keyspaces of Quail's store, as it makes them.
const KEYSPACES: [&str; 9] =
    ["singles", "entries", "changes", "dedup", "heads", "profiles", "views", "feeds", "news"];
const SINGLES: usize = 0;
const ENTRIES: usize = 1;
const DEDUP: usize = 3;
const HEADS: usize = 4;
const VIEWS: usize = 6;

type Row = (usize, Vec<u8>, Vec<u8>);

/// Writes the plan's rows and answers with what is [`Written`].
pub(crate) async fn run() -> anyhow::Result<()> {
    let Order { committed, engine, plan } = Orders::listen().first().await?;
    let batches = rows(&committed, &plan)?;
    let (database, keyspaces) = open(&engine)?;
    let sizes = || batches.iter().flatten().map(|(_, key, value)| (key.len() + value.len()) as u64);
    let (rows, bytes) = (sizes().count() as u64, sizes().sum());

    let (before, started) = (cpu::this_process(), Instant::now());
    for rows in &batches {
        let mut batch = database.batch();
        for (keyspace, key, value) in rows {
            batch.insert(&keyspaces[*keyspace], key.as_slice(), value.as_slice());
        }
        batch.commit()?;
        database.persist(PersistMode::SyncAll)?;
    }
    let (cpu, wall) = (cpu::this_process() - before, started.elapsed());
    let spent = Spent { cpu: cpu.as_secs_f64(), wall: wall.as_secs_f64() };
    say(&Written { spent, rows, bytes })
}

fn open(path: &Path) -> anyhow::Result<(Database, Vec<Keyspace>)> {
    let config = embedded::Config::default();
    let database = Database::builder(path)
        .cache_size(config.cache.as_u64())
        .max_journaling_size(config.journals.as_u64())
        .journal_compression(fjall::CompressionType::None)
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(config.memtable.as_u64());
    let keyspaces =
        KEYSPACES.iter().map(|name| database.keyspace(name, options)).collect::<Result<_, _>>()?;
    Ok((database, keyspaces))
}

/// The rows of each batch, in the order in which the store writes them.
fn rows(committed: &Path, plan: &Plan) -> anyhow::Result<Vec<Vec<Row>>> {
    let (database, keyspaces) = open(&committed.join("engine"))?;
    let snapshot = database.snapshot();
    let all = |keyspace: usize| -> anyhow::Result<Vec<Row>> {
        let row = |row: fjall::Guard| -> anyhow::Result<Row> {
            let (key, value) = row.into_inner()?;
            Ok((keyspace, key.to_vec(), value.to_vec()))
        };
        snapshot.iter(&keyspaces[keyspace]).map(row).collect()
    };
    let (heads, views) = (all(HEADS)?, all(VIEWS)?);
    // They sort by conversation and number.
    let (messages, mut dedup) = (all(ENTRIES)?, all(DEDUP)?);
    let number = |(_, key, _): &Row| key.last_chunk().map(|id| Plan::number_of(*id));
    dedup.sort_by_key(number);
    let count = usize::try_from(plan.messages())?;
    anyhow::ensure!(messages.len() == count && dedup.len() == count, "not all of the plan is in the store");
    let conversations = u64::from(plan.conversations);
    let first = |conversation: u64| {
        // The first conversations have one message more.
        let (each, more) = (plan.messages() / conversations, plan.messages() % conversations);
        conversation * each + conversation.min(more)
    };
    let taken =
        |rows: &[Row], index: u64| rows.get(index as usize).cloned().context("a row that should be there");
    let batch = |(batch, range): (u64, std::ops::Range<u64>)| -> anyhow::Result<Vec<Row>> {
        let mut rows = vec![];
        let places: BTreeSet<_> = range.clone().map(|message| plan.place(message)).collect();
        for message in range {
            rows.push(taken(&dedup, message)?);
        }
        for (conversation, seq) in &places {
            rows.push(taken(&messages, first(*conversation) + seq - 1)?);
        }
        for conversation in places.iter().map(|place| place.0).collect::<BTreeSet<_>>() {
            rows.push(taken(&heads, conversation)?);
        }
        for (conversation, _) in places.iter().filter(|place| place.1 == 1) {
            rows.push(taken(&views, conversation * 2)?);
            rows.push(taken(&views, conversation * 2 + 1)?);
        }
        rows.push((SINGLES, b"quail.batch".to_vec(), batch.to_be_bytes().to_vec()));
        Ok(rows)
    };
    (1..).zip(plan.ranges()).map(batch).collect()
}
