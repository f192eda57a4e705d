//! The rules of the house that no compiler checks.

mod docs;
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use source::{code, defined, is_in, paths};

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository: its path from the root, and what stands in it.
struct File {
    path: String,
    text: String,
}

/// Every file with this extension that is ours.
fn files(extension: &str) -> Vec<File> {
    let mut files = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "node_modules", "quail-data"].contains(&&*name) {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                files.push(File { path, text });
            }
        }
    }
    assert!(!files.is_empty());
    files
}

#[track_caller]
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// What a part of the code may name.
struct Layer {
    part: &'static str,
    /// Crates it may name; all if there are none here.
    crates: &'static [&'static str],
    /// Modules of its own crate it may name; all if there are none here.
    modules: &'static [&'static str],
    /// What it must not name all the same.
    never: &'static [&'static str],
    advice: &'static str,
}

const LAYERS: &[Layer] = &[
    Layer {
        part: "protocol/src/",
        crates: &["std", "bytes", "postcard", "postcard_schema", "serde", "thiserror"],
        modules: &[],
        never: &["std::net", "std::time::Instant", "std::time::SystemTime", "std::thread"],
        advice: "the protocol is bytes and types, for every platform: sockets, tasks and clocks belong to its users",
    },
    Layer {
        part: "server/src/domain/",
        crates: &["std", "quail_protocol", "serde"],
        modules: &["domain"],
        never: &["std::sync", "std::net", "std::thread", "std::time::SystemTime"],
        advice: "a rule is pure: hand it what it needs and let a service do the rest",
    },
    Layer {
        part: "server/src/session/state.rs",
        crates: &["std", "quail_protocol"],
        modules: &[""],
        never: &["std::sync", "std::net", "std::thread", "std::time::SystemTime"],
        advice: "the state of a session is pure: the driver feeds it and obeys",
    },
    Layer {
        part: "server/src/services/",
        crates: &["std", "quail_protocol", "tracing"],
        modules: &["apps", "context", "domain", "hub", "respond", "router", "session", "store"],
        never: &["crate::session::driver", "crate::session::state"],
        advice: "a handler sees a context, not a socket: let the context offer what it needs",
    },
    Layer {
        part: "server/src/carrier/",
        crates: &[],
        modules: &["carrier"],
        never: &[],
        advice: "a carrier moves bytes and knows no session, hub or service",
    },
    Layer {
        part: "client/src/",
        crates: &[],
        modules: &[],
        never: &["quail_server"],
        advice: "client and server meet in the protocol and in tests only",
    },
];

/// What only some places may name.
const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "quinn",
        &["server/src/carrier/", "server/src/tls.rs", "server/src/assembly.rs", "server/src/assembly/"],
        "QUIC is a carrier: go through `carrier::Carrier`",
    ),
    ("dashmap", &["server/src/hub.rs"], "a guard that leaves the hub can deadlock: give the hub a method"),
    ("quail_client", &["server/src/cli/"], "only the chat of the command line is a client"),
    ("figment", &["server/src/config.rs"], "a module declares a `Config`; loading it happens in one place"),
    ("fjall", &["server/src/store/embedded.rs", "server/src/store/embedded/"], "go through `store::Store`"),
    ("std::time::SystemTime", &["server/src/clock.rs"], "ask the `Clock` of the context"),
    ("rand", &["server/src/entropy.rs"], "ask the `Entropy` of the context"),
];

fn misplaced(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let paths = paths(&code(text));
    for layer in LAYERS.iter().filter(|layer| file.starts_with(layer.part)) {
        for path in &paths {
            let root = path.split("::").next().unwrap_or_default();
            let module = path.strip_prefix("crate::").map(|rest| rest.split("::").next().unwrap_or_default());
            let foreign = crates.contains(root) && !layer.crates.is_empty() && !layer.crates.contains(&root);
            let inner =
                module.is_some_and(|name| !layer.modules.is_empty() && !layer.modules.contains(&name));
            if foreign || inner || layer.never.iter().any(|never| is_in(path, never)) {
                found.push(format!("{file} names {path}: {}", layer.advice));
            }
        }
    }
    for (name, homes, advice) in HOMES {
        let at_home = !file.starts_with("server/src/") || homes.iter().any(|home| file.starts_with(home));
        if !at_home && paths.iter().any(|path| is_in(path, name)) {
            found.push(format!("{file} names {name}: {advice}"));
        }
    }
    found
}

/// Every crate a manifest of ours names, and the standard library.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("[workspace.dependencies]").unwrap();
    let names = dependencies.split("\n[").next().unwrap().lines().filter_map(|line| line.split_once(" = "));
    names
        .map(|(name, _)| name.replace('-', "_"))
        .chain(["std".into(), "core".into(), "alloc".into()])
        .collect()
}

#[test]
fn every_part_names_only_what_it_may() {
    let crates = crates();
    assert!(crates.contains("quinn") && crates.contains("quail_client"));
    let found: Vec<_> =
        files("rs").iter().flat_map(|file| misplaced(&file.path, &file.text, &crates)).collect();
    none(&found);
    for part in
        LAYERS.iter().map(|layer| layer.part).chain(HOMES.iter().flat_map(|home| home.1.iter().copied()))
    {
        assert!(root().join(part).exists(), "{part} is gone: change the rules too");
    }
}

#[test]
fn a_name_in_the_wrong_place_is_found() {
    let crates = crates();
    for (file, text, violations) in [
        ("protocol/src/frame.rs", "use bytes::Bytes; use std::time::Duration;", 0),
        ("protocol/src/frame.rs", "use tokio::sync::Mutex;", 1),
        ("protocol/src/frame.rs", "use std::{fmt, net::SocketAddr};", 1),
        ("protocol/src/frame.rs", "fn f(at: std::time::Instant) {}", 1),
        ("protocol/src/frame.rs", "// tokio::spawn is for others\nlet s = \"tokio::spawn\";", 0),
        ("server/src/domain/rate.rs", "use std::time::Instant; use crate::domain::token;", 0),
        ("server/src/domain/rate.rs", "use crate::{clock::Clock, domain::token};", 1),
        ("server/src/domain/rate.rs", "tracing::info!();", 1),
        ("server/src/session/state.rs", "use super::Session; use crate::hub::Hub;", 1),
        ("server/src/services/user.rs", "use crate::{carrier::Carrier, context::Context};", 1),
        ("server/src/services/user.rs", "tokio::spawn(f());", 1),
        ("server/src/carrier/quic.rs", "use crate::hub::Hub;", 1),
        ("server/src/hub.rs", "use dashmap::DashMap;", 0),
        ("server/src/hub/fanout.rs", "use dashmap::DashMap;", 1),
        ("server/src/router.rs", "fn f(c: quinn::Connection) {}", 1),
        ("server/src/cli/chat.rs", "use quail_client::Client;", 0),
        ("server/src/context.rs", "use quail_client::Client;", 1),
        ("client/src/link.rs", "use quail_server::Server;", 1),
    ] {
        let found = misplaced(file, text, &crates);
        assert_eq!(found.len(), violations, "{file}: {text}: {found:?}");
    }
}

/// Lines a file may have.
const LINES_MAX: usize = 400;

/// Files that wait to be split, and how long each may be until then. A shorter one lowers its number here.
const TO_SPLIT: &[(&str, usize)] = &[];

/// Words that say nothing about what a thing is for.
const EMPTY_WORDS: [&str; 6] = ["Manager", "Helper", "Util", "Utils", "Common", "Misc"];

fn untidy(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    let exempt = TO_SPLIT.iter().find(|(path, _)| *path == file).map(|(_, lines)| *lines);
    if exempt.is_some_and(|allowed| lines < allowed) {
        found.push(format!("{file} has {lines} lines: lower its number in TO_SPLIT, or take it out"));
    } else if lines > exempt.unwrap_or(LINES_MAX) {
        found.push(format!("{file} has {lines} lines: split it by what it is about, at most {LINES_MAX}"));
    }
    let code = code(text);
    let test = ["/tests/", "tests/"].iter().any(|part| file.contains(part) && !file.contains("/src/"));
    let tested = if test { Some(&*code) } else { code.split_once("#[cfg(test)]").map(|(_, tests)| tests) };
    for (banned, advice) in
        [("todo!", "write it or leave it out"), ("unimplemented!", "write it or leave it out")]
    {
        if code.contains(banned) {
            found.push(format!("{file} has a {banned}: {advice}"));
        }
    }
    for (banned, advice) in [
        ("#[ignore", "a test that is not run says nothing; make it fast or name it slow_"),
        ("thread::sleep(", "wait for what happens, not for time"),
        ("time::sleep(", "wait for what happens, not for time"),
    ] {
        // Simulated time costs nothing and is always in time.
        let simulated = banned.starts_with("time::") && file.starts_with("tests/sim/");
        if !simulated && tested.is_some_and(|tested| tested.contains(banned)) {
            found.push(format!("{file} has a {banned} in a test: {advice}"));
        }
    }
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
    for name in defined(&code).into_iter().chain([stem]) {
        if EMPTY_WORDS.iter().any(|word| name.ends_with(word) || name.eq_ignore_ascii_case(word)) {
            found.push(format!("{file} names something {name}: say what it is for"));
        }
    }
    found
}

#[test]
fn files_are_small_finished_and_well_named() {
    let found: Vec<_> = files("rs").iter().flat_map(|file| untidy(&file.path, &file.text)).collect();
    none(&found);
}

#[test]
fn an_untidy_file_is_found() {
    let long = "\n".repeat(LINES_MAX + 1);
    for (file, text, violations) in [
        ("server/src/hub.rs", "struct Hub; // no Manager", 0),
        ("server/src/hub.rs", &*long, 1),
        ("server/src/hub.rs", "fn f() { todo!() }", 1),
        ("server/src/hub.rs", "struct RoomManager;", 1),
        ("server/src/hub.rs", "mod util;", 1),
        ("server/src/helper.rs", "", 1),
        ("server/src/hub.rs", "async fn f() { tokio::time::sleep(x).await }", 0),
        ("server/src/hub.rs", "#[cfg(test)]\nmod tests { fn f() { std::thread::sleep(x) } }", 1),
        ("tests/it/hub.rs", "async fn f() { tokio::time::sleep(x).await }", 1),
        ("tests/sim/hub.rs", "async fn f() { tokio::time::sleep(x).await }", 0),
        ("tests/sim/hub.rs", "fn f() { std::thread::sleep(x) }", 1),
        ("client/tests/it/hub.rs", "#[test]\n#[ignore]\nfn f() {}", 1),
        ("tests/it/hub.rs", "const RULE: &str = \"#[ignore]\";", 0),
    ] {
        let found = untidy(file, text);
        assert_eq!(found.len(), violations, "{file}: {found:?}");
    }
}

/// Metrics that are declared and never change.
fn dead_metrics(telemetry: &str, others: &str) -> Vec<String> {
    let telemetry = code(telemetry);
    let (_, behind) = telemetry.split_once("pub struct Metrics {").unwrap();
    let (fields, methods) = behind.split_once('}').unwrap();
    let fields = fields.lines().filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name);
    let unused = fields.filter(|field| !methods.contains(&format!("self.{field}")));
    let unused =
        unused.map(|field| format!("metric {field} is registered and never changed: drop it or count it"));
    let methods = methods.split("pub fn ").skip(1).filter_map(|method| method.split_once('('));
    let uncalled = methods.map(|(name, _)| name).filter(|name| !["new", "render"].contains(name));
    let uncalled = uncalled.filter(|name| !others.contains(&format!(".{name}(")));
    unused.chain(uncalled.map(|name| format!("nobody calls Metrics::{name}: drop it or count it"))).collect()
}

#[test]
fn every_metric_is_counted() {
    let (telemetry, others): (Vec<_>, Vec<_>) = files("rs")
        .into_iter()
        .filter(|file| file.path.starts_with("server/src/"))
        .partition(|file| file.path == "server/src/telemetry.rs");
    let others: String = others.iter().map(|file| code(&file.text)).collect();
    none(&dead_metrics(&telemetry[0].text, &others));
}

#[test]
fn a_metric_nobody_counts_is_found() {
    let telemetry = "pub struct Metrics {\n  a: Counter,\n  b: Counter,\n}\n impl Metrics { pub fn a(&self) { self.a.inc(); } }";
    let found = dead_metrics(telemetry, "");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(dead_metrics(&telemetry.replace("  b: Counter,\n", ""), "metrics.a()").is_empty());
}
