//! Files and directories that know what of them was synced, and what is left of them when the power goes.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    str::FromStr,
    sync::Arc,
};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// The node of the root directory.
pub(super) const ROOT: u64 = 1;

/// Bytes of a file. Pages that were never written are zeros and take no memory.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    length: usize,
    pages: BTreeMap<usize, Arc<[u8; PAGE_BYTES]>>,
}

impl Bytes {
    pub(super) fn length(&self) -> usize {
        self.length
    }

    fn set_length(&mut self, length: usize) {
        if length < self.length {
            self.pages.retain(|page, _| page * PAGE_BYTES < length);
            if let Some(page) = self.pages.get_mut(&(length / PAGE_BYTES)) {
                Arc::make_mut(page)[length % PAGE_BYTES..].fill(0);
            }
        }
        self.length = length;
    }

    fn write(&mut self, mut at: usize, mut bytes: &[u8]) {
        self.length = self.length.max(at + bytes.len());
        while !bytes.is_empty() {
            let (page, start) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let (here, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - start));
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[start..start + here.len()].copy_from_slice(here);
            at += here.len();
            bytes = rest;
        }
    }

    pub(super) fn read(&self, from: usize, count: usize) -> Vec<u8> {
        let to = self.length.min(from.saturating_add(count));
        // Most of a preallocated file are zeros; without optimization any other way to get them takes long.
        let mut bytes = vec![0; to.saturating_sub(from)];
        for (page, content) in self.pages.range(from / PAGE_BYTES..to.div_ceil(PAGE_BYTES)) {
            let start = page * PAGE_BYTES;
            let (begin, end) = (from.max(start), to.min(start + PAGE_BYTES));
            if begin < end {
                bytes[begin - from..end - from].copy_from_slice(&content[begin - start..end - start]);
            }
        }
        bytes
    }
}

/// What was done to a file since it was synced.
#[derive(Clone)]
pub(super) enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Length(usize),
}

#[derive(Clone)]
pub(super) enum Node {
    File { now: Bytes, durable: Bytes, unsynced: Vec<Change> },
    Directory { now: BTreeMap<OsString, u64>, durable: BTreeMap<OsString, u64> },
}

impl Node {
    pub(super) fn file() -> Self {
        Self::File { now: Bytes::default(), durable: Bytes::default(), unsynced: vec![] }
    }

    pub(super) fn directory() -> Self {
        Self::Directory { now: BTreeMap::new(), durable: BTreeMap::new() }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let Self::File { now, unsynced, .. } = self else { return None };
        now.write(at, bytes);
        unsynced.push(Change::Write { at, bytes: bytes.into() });
        Some(())
    }

    pub(super) fn set_length(&mut self, length: usize) -> Option<()> {
        let Self::File { now, unsynced, .. } = self else { return None };
        now.set_length(length);
        unsynced.push(Change::Length(length));
        Some(())
    }

    pub(super) fn sync(&mut self) {
        match self {
            Self::File { now, durable, unsynced } => {
                durable.clone_from(now);
                unsynced.clear();
            }
            Self::Directory { now, durable } => durable.clone_from(now),
        }
    }

    fn after_power_loss(&self, loss: &Loss, random: &mut Random) -> Self {
        match self {
            Self::File { durable, unsynced, .. } => {
                let mut left = durable.clone();
                if loss.data == Data::Tear {
                    for change in unsynced {
                        tear(&mut left, change, random);
                    }
                }
                Self::File { now: left.clone(), durable: left, unsynced: vec![] }
            }
            Self::Directory { now, durable } => {
                let left = if loss.names == Names::Strict { durable } else { now };
                Self::Directory { now: left.clone(), durable: left.clone() }
            }
        }
    }
}

/// Of two changes one is lost. Of those that are left some end at a sector, and some have holes.
fn tear(left: &mut Bytes, change: &Change, random: &mut Random) {
    match change {
        _ if random.below(2) == 0 => {}
        Change::Length(length) => left.set_length(*length),
        Change::Write { at, bytes } => match random.below(4) {
            0 => {
                let sectors = random.below(bytes.len() / SECTOR_BYTES + 1);
                left.write(*at, &bytes[..sectors * SECTOR_BYTES]);
            }
            1 => {
                for (i, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if random.below(2) == 0 {
                        left.write(at + i * SECTOR_BYTES, sector);
                    }
                }
            }
            _ => left.write(*at, bytes),
        },
    }
}

/// What becomes of data that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// All of it is lost.
    Drop,
    /// Any of it may be lost.
    Tear,
}

/// What becomes of names that were not synced with their directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// They survive, as on ext4, whose journal takes them along.
    Kept,
    /// They are as they were when the directory was synced.
    Strict,
}

/// One way to lose power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// At which sync point, before it takes effect.
    pub point: usize,
    /// See there.
    pub data: Data,
    /// See there.
    pub names: Names,
    /// Which of the unsynced writes survive a tear.
    pub seed: u64,
}

impl Loss {
    /// The name under which the mounted directory shows what is left.
    pub fn name(&self) -> String {
        let data = if self.data == Data::Drop { "drop" } else { "tear" };
        let names = if self.names == Names::Kept { "kept" } else { "strict" };
        format!("{}-{data}-{names}-{}", self.point, self.seed)
    }
}

impl FromStr for Loss {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut parts = name.split('-');
        let mut part = || parts.next().ok_or(());
        let point = part()?.parse().map_err(drop)?;
        let data = match part()? {
            "drop" => Data::Drop,
            "tear" => Data::Tear,
            _ => return Err(()),
        };
        let names = match part()? {
            "kept" => Names::Kept,
            "strict" => Names::Strict,
            _ => return Err(()),
        };
        let seed = part()?.parse().map_err(drop)?;
        Ok(Self { point, data, names, seed })
    }
}

/// A whole file system. A copy shares everything until one of the two changes.
#[derive(Clone)]
pub(super) struct Disk {
    nodes: BTreeMap<u64, Arc<Node>>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { nodes: [(ROOT, Arc::new(Node::directory()))].into() }
    }

    pub(super) fn node(&self, node: u64) -> Option<&Node> {
        self.nodes.get(&node).map(Arc::as_ref)
    }

    pub(super) fn node_mut(&mut self, node: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&node).map(Arc::make_mut)
    }

    pub(super) fn names(&self, directory: u64) -> Option<&BTreeMap<OsString, u64>> {
        match self.node(directory)? {
            Node::Directory { now, .. } => Some(now),
            Node::File { .. } => None,
        }
    }

    fn names_mut(&mut self, directory: u64) -> Option<&mut BTreeMap<OsString, u64>> {
        match self.node_mut(directory)? {
            Node::Directory { now, .. } => Some(now),
            Node::File { .. } => None,
        }
    }

    pub(super) fn child(&self, directory: u64, name: &OsStr) -> Option<u64> {
        self.names(directory)?.get(name).copied()
    }

    pub(super) fn add(&mut self, directory: u64, name: &OsStr, node: Node) -> Option<u64> {
        // Numbers are never given twice: nodes without a name stay, as a crash may bring the name back.
        let number = self.nodes.keys().next_back().map_or(ROOT, |last| last + 1);
        self.names_mut(directory)?.insert(name.to_owned(), number);
        self.nodes.insert(number, Arc::new(node));
        Some(number)
    }

    pub(super) fn remove(&mut self, directory: u64, name: &OsStr) -> Option<u64> {
        self.names_mut(directory)?.remove(name)
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Option<()> {
        let node = self.remove(from.0, from.1)?;
        self.names_mut(to.0)?.insert(to.1.to_owned(), node);
        Some(())
    }

    /// What is left of it.
    pub(super) fn after_power_loss(&self, loss: &Loss) -> Self {
        let mut random = Random(loss.seed);
        let left = |(number, node): (&u64, &Arc<Node>)| {
            (*number, Arc::new(node.after_power_loss(loss, &mut random)))
        };
        Self { nodes: self.nodes.iter().map(left).collect() }
    }
}

/// SplitMix64: the same images for the same seed.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }
}
