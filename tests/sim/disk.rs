//! A disk that survives its server, and the store on it: the server's own engine in memory over a log that is synced.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::FixedState;
use futures_util::{FutureExt, future::BoxFuture};
use quail_protocol::{
    Conversation, Epoch, Rev, Seq, Timestamp,
    conversation::Summary,
    id::{AppId, UserId},
    message::Ack,
    user::{FeedPage, Profile},
};
use quail_server::store::{
    Append, Appended, ChangesRead, ConversationKey, Head, Range, RangeQuery, RoomsKept, Store, StoreError,
    Write, Written, memory::Memory,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A call that changes something.
#[derive(Clone, Debug)]
enum Call {
    Write(Vec<Write>),
    Forget(Timestamp),
    /// What was written when the power went, and cannot be read.
    Torn,
}

/// What a disk does that it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// It says that it is done before it is.
    AcksEarly,
    /// What is not synced yet can be read, and its syncs take long.
    ReadsAhead,
    /// An older state looks like the newest.
    KeepsEpoch,
}

impl Lie {
    /// How much longer it takes until something is there for good.
    fn slowness(self) -> u32 {
        match self {
            Self::None | Self::KeepsEpoch => 1,
            Self::AcksEarly => 200,
            Self::ReadsAhead => 50,
        }
    }
}

/// See the module. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

struct Platter {
    log: Vec<Call>,
    /// So many writes are there for good.
    synced: usize,
    epoch: Epoch,
    /// An older state was put back since the last opening.
    older: bool,
    rng: StdRng,
    sync_max: Duration,
    /// Every sync takes `sync_max`.
    exact: bool,
    lie: Lie,
}

impl Disk {
    /// An empty disk whose syncs take up to `sync_max`.
    pub(crate) fn new(seed: u64, sync_max: Duration, lie: Lie) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let (log, synced, epoch, older) = (vec![], 0, Epoch(1), false);
        Self(Arc::new(Mutex::new(Platter { log, synced, epoch, older, rng, sync_max, exact: false, lie })))
    }

    /// An empty disk whose syncs all take the same time.
    pub(crate) fn exact(sync: Duration) -> Self {
        let disk = Self::new(0, sync, Lie::None);
        disk.platter().exact = true;
        disk
    }

    /// What was asked to be written, in order.
    pub(crate) fn written(&self) -> Vec<Write> {
        let writes = |call: &Call| match call {
            Call::Write(batch) => batch.clone(),
            Call::Forget(_) | Call::Torn => vec![],
        };
        self.platter().log.iter().flat_map(writes).collect()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes: of what was not synced the first writes may be there, the next may be torn, the rest is gone.
    pub(crate) fn lose_power(&self) {
        let mut platter = self.platter();
        let unsynced = platter.log.len() - platter.synced;
        let whole = platter.rng.random_range(0..=unsynced);
        let kept = platter.synced + whole;
        platter.log.truncate(kept);
        if whole < unsynced && platter.rng.random_bool(0.5) {
            platter.log.push(Call::Torn);
        }
    }

    /// An operator puts back what the disk held a while ago, and tells everyone by a new epoch.
    pub(crate) fn restore_older(&self) {
        let mut platter = self.platter();
        let synced = platter.synced;
        let kept = platter.rng.random_range(0..=synced);
        platter.log.truncate(kept);
        platter.synced = platter.log.len();
        if platter.lie != Lie::KeepsEpoch {
            platter.epoch.0 += 1;
            platter.older = true;
        }
    }

    /// True once after an older state was put back.
    pub(crate) fn take_older(&self) -> bool {
        std::mem::take(&mut self.platter().older)
    }

    /// The store of a server that starts.
    pub(crate) fn open(&self, hasher: FixedState) -> DiskStore {
        let mut platter = self.platter();
        let readable = platter.log.iter().position(|write| matches!(write, Call::Torn));
        if let Some(torn) = readable {
            platter.log.truncate(torn);
        }
        platter.synced = platter.log.len();
        let memory = Memory::at(platter.epoch, hasher);
        for write in platter.log.clone() {
            // The engine in memory never waits.
            _ = apply(&memory, write).now_or_never();
        }
        DiskStore { disk: self.clone(), memory, writing: tokio::sync::Mutex::new(()) }
    }
}

/// Does to the engine in memory what was written.
async fn apply(memory: &Memory, call: Call) -> Result<(), StoreError> {
    match call {
        Call::Write(batch) => memory.write_batch(batch).await.map(drop),
        Call::Forget(older_than) => memory.forget_duplicates(older_than).await.map(drop),
        Call::Torn => Ok(()),
    }
}

/// The store of one life of a server.
pub(crate) struct DiskStore {
    disk: Disk,
    /// What is synced, and nothing else.
    memory: Memory,
    /// One write at a time, so that the order of the log is that of the engine.
    writing: tokio::sync::Mutex<()>,
}

impl DiskStore {
    /// Writes, and returns when it is there for good. Until then nobody can read it.
    async fn sync(&self, call: Call) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.writing.lock().await;
        let (end, wait, lie) = {
            let mut platter = self.disk.platter();
            platter.log.push(call);
            let most = platter.sync_max.as_micros() as u64;
            // Now and then a disk is busy with something else.
            let slow = platter.rng.random_bool(0.02);
            let wait = platter.rng.random_range(100..=most) * if slow { 20 } else { 1 };
            let wait = if platter.exact { most } else { wait };
            let factor = platter.lie.slowness();
            (platter.log.len(), Duration::from_micros(wait) * factor, platter.lie)
        };
        let disk = self.disk.clone();
        let synced = async move {
            tokio::time::sleep(wait).await;
            let mut platter = disk.platter();
            platter.synced = platter.synced.max(end);
        };
        if lie == Lie::AcksEarly {
            // Goes when the power goes.
            tokio::spawn(synced);
        } else {
            synced.await;
        }
        turn
    }
}

impl Store for DiskStore {
    fn ack(&self) -> Ack {
        Ack::Durable
    }

    fn write_batch(&self, batch: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, StoreError>> {
        async move {
            let ahead = self.disk.platter().lie == Lie::ReadsAhead;
            let written = if ahead { Some(self.memory.write_batch(batch.clone()).await) } else { None };
            let _turn = self.sync(Call::Write(batch.clone())).await;
            match written {
                Some(written) => written,
                None => self.memory.write_batch(batch).await,
            }
        }
        .boxed()
    }

    fn forget_duplicates(&self, older_than: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let _turn = self.sync(Call::Forget(older_than)).await;
            self.memory.forget_duplicates(older_than).await
        }
        .boxed()
    }

    fn find(&self, append: &Append) -> BoxFuture<'_, Result<Option<Appended>, StoreError>> {
        self.memory.find(append)
    }

    fn read_range(
        &self,
        key: &ConversationKey,
        query: RangeQuery,
    ) -> BoxFuture<'_, Result<Range, StoreError>> {
        self.memory.read_range(key, query)
    }

    fn changes(
        &self,
        key: &ConversationKey,
        since: Rev,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<ChangesRead, StoreError>> {
        self.memory.changes(key, since, entries_max, bytes_max)
    }

    fn heads(&self, keys: &[ConversationKey]) -> BoxFuture<'_, Result<Vec<Head>, StoreError>> {
        self.memory.heads(keys)
    }

    fn conversations(
        &self,
        app: &AppId,
        user: &UserId,
        after: Option<&Conversation>,
        most: usize,
    ) -> BoxFuture<'_, Result<(Vec<Summary>, bool), StoreError>> {
        self.memory.conversations(app, user, after, most)
    }

    fn feed(
        &self,
        app: &AppId,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        self.memory.feed(app, user, after, limit)
    }

    fn profiles(&self, app: &AppId, users: &[UserId]) -> BoxFuture<'_, Result<Vec<Profile>, StoreError>> {
        self.memory.profiles(app, users)
    }

    fn rooms(&self) -> BoxFuture<'_, Result<RoomsKept, StoreError>> {
        self.memory.rooms()
    }
}
