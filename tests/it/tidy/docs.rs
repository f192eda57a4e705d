//! Documents name what is there, and name all of it.

use std::{fs, num::NonZeroU64, path::Path};

use quail_server::{
    apps::{self, Key, KeyAlgorithm, Secret},
    config::Config,
    tls,
};

use super::{File, files, none, root, source::code};

/// Directories whose paths a document may write in backticks.
const TOP: [&str; 7] = ["protocol/", "server/", "client/", "tests/", "benches/", "docs/", ".ci/"];

/// Markdown without its fenced blocks.
fn prose(markdown: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in markdown.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if !fenced && !fence {
            prose.push_str(line);
        }
        prose.push('\n');
    }
    prose
}

/// The doc comments of Rust code.
fn comments(rust: &str) -> String {
    let docs = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("//!").or_else(|| line.strip_prefix("///")).unwrap_or_default().to_owned()
    };
    rust.lines().map(docs).collect::<Vec<_>>().join("\n")
}

/// What stands in backticks, of paragraphs whose lines were joined.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Paths that `text` names and `exists` does not know; links start at `directory`.
fn dead_paths(file: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let directory = Path::new(file).parent().unwrap_or(Path::new(""));
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let links =
        links.filter(|target| !target.contains("::") && !target.contains("://") && !target.starts_with('#'));
    let links = links.map(|target| directory.join(target.split('#').next().unwrap_or(target)));
    let named = quoted(text).filter_map(|quoted| quoted.split_whitespace().next());
    let named = named
        .filter(|name| TOP.iter().any(|top| name.starts_with(top)) && !name.contains(['*', '<', '{', '…']));
    let named = named.map(|name| Path::new(name).to_owned());
    let dead = links.chain(named).filter(|path| !exists(path));
    dead.map(|path| format!("{file} names {}, which does not exist: correct it", path.display())).collect()
}

/// Functions written as `name()` or `Type::name()` that the file named last before them does not define.
fn dead_functions(file: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut place = None;
    for name in quoted(text) {
        if TOP.iter().any(|top| name.starts_with(top)) {
            place = Some(name);
        } else if let (Some(function), Some(place)) = (name.strip_suffix("()"), place) {
            let function = function.rsplit("::").next().unwrap_or(function);
            let source = read(place).map(|text| code(&text)).unwrap_or_default();
            let defined = ["(", "<"].iter().any(|next| source.contains(&format!("fn {function}{next}")));
            if !defined {
                found.push(format!("{file} says that {place} has `{name}`, which it has not: correct it"));
            }
        }
    }
    found
}

fn documents() -> Vec<File> {
    let mut documents = files("md");
    for document in &mut documents {
        document.text = prose(&document.text);
    }
    documents
}

#[test]
fn documents_and_comments_name_files_that_exist() {
    let mut texts = documents();
    texts.extend(files("rs").into_iter().map(|file| File { text: prose(&comments(&file.text)), ..file }));
    let exists = |path: &Path| root().join(path).exists();
    let found: Vec<_> = texts.iter().flat_map(|file| dead_paths(&file.path, &file.text, exists)).collect();
    none(&found);
}

#[test]
fn documents_name_functions_that_exist() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let found: Vec<_> =
        documents().iter().flat_map(|file| dead_functions(&file.path, &file.text, read)).collect();
    none(&found);
}

#[test]
fn a_name_of_nothing_is_found() {
    let exists = |path: &Path| [Path::new("docs/a.md"), Path::new("server/src")].contains(&path);
    for (text, dead) in [
        ("see [a](a.md#part), [b](https://b.example/x) and `server/src`", 0),
        ("see [b](b.md)", 1),
        ("see `server/src/nothing.rs`, `server/src/*.rs` and `a/b`", 1),
        ("run `tests/nothing quick`", 1),
    ] {
        let found = dead_paths("docs/x.md", &prose(text), exists);
        assert_eq!(found.len(), dead, "{text}: {found:?}");
    }
    assert_eq!(dead_paths("docs/x.md", &prose("```\n[b](b.md)\n```"), exists), [""; 0]);
    let read = |path: &str| (path == "server/src/a.rs").then(|| "fn one() {} fn two<T>() {}".to_owned());
    for (text, dead) in [
        ("`server/src/a.rs` has `one()` and `A::two()`", 0),
        ("`server/src/a.rs` has `three()`", 1),
        ("`server/src/b.rs` has `one()`", 1),
    ] {
        assert_eq!(dead_functions("docs/x.md", text, read).len(), dead, "{text}");
    }
}

/// Every key of a configuration with its default as TOML writes it; names an operator chooses in angle brackets.
fn keys() -> Vec<(String, String)> {
    let key = Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new("") };
    let history = apps::History { entries_max: Some(NonZeroU64::MIN) };
    let app = apps::Config { keys: [("KID".into(), key)].into(), history, ..apps::Config::default() };
    let tls = tls::Config { certificate: "".into(), key: "".into() };
    let config = Config { tls: Some(tls), apps: [("APP".into(), app)].into(), ..Config::default() };
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in config.to_toml().unwrap().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{}.", name.replace("APP", "<app>").replace("KID", "<kid>"));
        } else if let Some((name, value)) = line.split_once(" = ") {
            keys.push((format!("{section}{name}"), value.to_owned()));
        }
    }
    keys
}

/// Defaults that are required or that the operator chooses, and so stand in no table.
const WITHOUT_DEFAULT: [&str; 4] =
    ["tls.certificate", "tls.key", "apps.<app>.keys.<kid>.algorithm", "apps.<app>.keys.<kid>.secret"];

/// Keys without which there is no bound.
const OPTIONAL: [&str; 1] = ["apps.<app>.history.entries_max"];

fn undocumented(operations: &str, keys: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, default) in keys {
        let row = if WITHOUT_DEFAULT.contains(&&**key) {
            format!("| `{key}` | required |")
        } else if OPTIONAL.contains(&&**key) {
            format!("| `{key}` | none |")
        } else {
            format!("| `{key}` | `{default}` |")
        };
        if !operations.contains(&row) {
            found.push(format!("docs/operations.md lacks a row that begins {row}"));
        }
    }
    found
}

/// Lines that a diff adds and the file they belong to has not.
fn stale_lines(markdown: &str, read: impl Fn(&str) -> String) -> Vec<String> {
    let mut found = Vec::new();
    let mut file = (String::new(), String::new());
    for line in markdown.lines() {
        if let Some(path) = line.strip_prefix("+++ b/") {
            file = (path.to_owned(), read(path));
        } else if let Some(added) = line.strip_prefix('+')
            && !file.1.lines().any(|line| line == added)
        {
            found.push(format!("{} has no line {added:?}: show what stands there", file.0));
        }
    }
    found
}

#[test]
fn the_example_of_an_added_operation_is_the_code() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let record = read("docs/decisions/0006-adding-an-operation.md");
    assert_eq!(record.matches("\n+++ b/").count(), 3);
    none(&stale_lines(&record, read));
    assert_eq!(stale_lines("+++ b/x\n+one\n+two\n-three", |_| "one\n".into()).len(), 1);
}

fn operations() -> String {
    fs::read_to_string(root().join("docs/operations.md")).unwrap()
}

#[test]
fn every_configuration_key_is_documented_with_its_default() {
    let keys = keys();
    assert!(keys.iter().any(|(key, _)| key == "apps.<app>.rates.text"), "{keys:?}");
    none(&undocumented(&operations(), &keys));
}

#[test]
fn a_key_without_a_row_is_found() {
    let keys = [("a.b".to_owned(), "\"5s\"".to_owned())];
    assert!(undocumented("| `a.b` | `\"5s\"` | waits |", &keys).is_empty());
    assert_eq!(undocumented("| `a.b` | `\"6s\"` | waits |", &keys).len(), 1);
}

#[test]
fn every_metric_is_documented() {
    let telemetry = fs::read_to_string(root().join("server/src/telemetry.rs")).unwrap();
    let registered = telemetry.split("register(").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let registered: Vec<_> = registered.collect();
    assert!(registered.contains(&"requests"), "{registered:?}");
    let operations = operations();
    let missing = registered.into_iter().filter(|name| !operations.contains(&format!("`quail_{name}")));
    let missing: Vec<_> =
        missing.map(|name| format!("docs/operations.md lacks metric `quail_{name}…`")).collect();
    none(&missing);
}
