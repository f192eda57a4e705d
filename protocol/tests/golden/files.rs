//! Committed files that the tests generate: compared, or rewritten by `UPDATE=1 cargo test -p quail-protocol`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How to bring the files up to date.
pub(crate) const UPDATE: &str = "UPDATE=1 cargo test -p quail-protocol";

/// A path relative to the crate.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The text of a committed file.
pub(crate) fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}; run {UPDATE}"))
}

/// True when files are to be rewritten instead of compared.
pub(crate) fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Replaces a committed file.
pub(crate) fn write(relative: &str, text: &str) {
    fs::write(path(relative), text).unwrap_or_else(|error| panic!("{relative}: {error}"));
}

/// The lines in which the committed file is not `text`, and what to do about it.
pub(crate) fn difference(relative: &str, text: &str, advice: &str) -> Option<String> {
    let committed = fs::read_to_string(path(relative)).unwrap_or_default();
    if committed == text {
        return None;
    }
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (committed.lines().collect(), text.lines().collect());
    let gone = committed.lines().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = text.lines().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    let lines: Vec<_> = gone.chain(come).take(40).collect();
    Some(format!("\n{relative} is stale (- committed, + generated now):\n{}\n{advice}\n", lines.join("\n")))
}

/// Bytes as they stand in a vector.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
