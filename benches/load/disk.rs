//! What the disk itself takes for a sync.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use crate::latency::Latencies;

/// Bytes that are appended before each sync.
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// Appends a block and syncs its bytes, over and over for `time`.
pub(crate) fn syncs(directory: &Path, time: Duration) -> anyhow::Result<Latencies> {
    let path = directory.join("syncs");
    let mut file = File::create(&path)?;
    let mut latencies = Latencies::new()?;
    let started = Instant::now();
    while started.elapsed() < time {
        let before = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        latencies.record(before.elapsed());
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok(latencies)
}
