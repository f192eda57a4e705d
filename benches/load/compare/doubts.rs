//! Why two reports may not be held against each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::report::Report;

/// Flags that say where things are put and how often is looked, not what is played.
const ELSEWHERE: [&str; 3] = ["json", "scratch", "sample"];

/// Runnable threads for each core, before a run began, from which on the machine had other work.
const BUSY_BEFORE: f64 = 0.5;

/// The same at the end, where the run itself is among them.
const BUSY_AFTER: f64 = 2.0;

/// All doubts, each as a sentence.
pub(super) fn between(a: &Report, b: &Report) -> Vec<String> {
    let mut doubts = vec![];
    let mut differ = |what: &str, a: &dyn ToString, b: &dyn ToString| {
        let (a, b) = (a.to_string(), b.to_string());
        if a != b {
            doubts.push(format!("{what} differs: {a} and {b}"));
        }
    };
    differ("processor", &a.machine.processor, &b.machine.processor);
    differ("number of cores", &a.machine.cores, &b.machine.cores);
    differ("memory", &a.machine.memory, &b.machine.memory);
    differ("kernel", &a.machine.kernel, &b.machine.kernel);
    differ("durability", &a.durability, &b.durability);
    differ("whether limits are lifted", &a.limits, &b.limits);
    let build = |debug: bool| if debug { "without optimisation" } else { "with optimisation" };
    differ("build", &build(a.debug_build), &build(b.debug_build));
    let of = |all: &BTreeMap<String, String>, name| all.get(name).map_or("none".to_owned(), Clone::clone);
    let flags = [a, b].map(|report| leaves(&report.flags));
    for name in flags.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>() {
        if !ELSEWHERE.contains(&name.as_str()) {
            differ(&format!("flag {name}"), &of(&flags[0], name), &of(&flags[1], name));
        }
    }
    let servers = [a, b].map(|report| leaves(&report.server));
    let (both, one): (BTreeSet<_>, BTreeSet<_>) = servers
        .iter()
        .flat_map(BTreeMap::keys)
        .filter(|name| *name != "data_dir")
        .partition(|name| servers.iter().all(|server| server.contains_key(*name)));
    for name in both {
        differ(&format!("configuration {name}"), &of(&servers[0], name), &of(&servers[1], name));
    }
    if !one.is_empty() {
        doubts.push(format!("one configuration only has {} of its settings", one.len()));
    }
    for (which, report) in [("A", a), ("B", b)] {
        doubts.extend(of_one(report).into_iter().map(|doubt| format!("{which} {doubt}")));
    }
    doubts
}

/// Why one report says little, each behind what it is called.
pub(crate) fn of_one(report: &Report) -> Vec<String> {
    let mut doubts = vec![];
    if report.debug_build {
        doubts.push("was built without optimisation: its figures say nothing".to_owned());
    }
    let ([before, after], cores) = (report.machine_load, report.machine.cores);
    if before > BUSY_BEFORE * cores as f64 || after > BUSY_AFTER * cores as f64 {
        doubts.push(format!("had a busy machine: load {before} before and {after} after on {cores} cores"));
    }
    if let Some(why) = &report.not_run {
        doubts.push(format!("was not run: {why}"));
    }
    doubts.extend(report.broken.iter().map(|broken| format!("broke a promise: {broken}")));
    doubts
}

/// What stands in a value, by the way to it.
fn leaves(value: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => open.extend(fields.iter().map(|(name, value)| {
                (if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value)
            })),
            Value::Null => {}
            value => _ = all.insert(path, value.to_string()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::tests::changed;

    #[test]
    fn whatever_differs_but_the_place_of_a_file_is_said() {
        let none: &[&str] = &[];
        for (pointer, change, doubts) in [
            ("/commit", json!("other"), none),
            ("/began", json!(7), none),
            ("/flags/json", json!("b.json"), none),
            ("/flags/scratch", json!("/dev/shm"), none),
            ("/server/data_dir", json!("/tmp/2"), none),
            ("/flags/senders", json!(9), &["flag senders differs: 8 and 9"]),
            ("/flags/rate", json!([5]), &["flag rate differs: none and [5]"]),
            (
                "/server/session/idle_timeout",
                json!("3s"),
                &["configuration session.idle_timeout differs: \"30s\" and \"3s\""],
            ),
            ("/server/more", json!({ "a": 1, "b": 2 }), &["one configuration only has 2 of its settings"]),
            ("/machine/kernel", json!("7.0"), &["kernel differs: 6.18 and 7.0"]),
            ("/machine/cores", json!(4), &["number of cores differs: 2 and 4"]),
            ("/machine/memory", json!(1), &["memory differs: 8589934592 and 1"]),
            ("/machine/processor", json!("x"), &["processor differs: a <fast> one and x"]),
            ("/durability", json!("none"), &["durability differs: acks after the sync and none"]),
            ("/limits", json!("default"), &["whether limits are lifted differs: lifted and default"]),
            (
                "/debug_build",
                json!(true),
                &[
                    "build differs: with optimisation and without optimisation",
                    "B was built without optimisation: its figures say nothing",
                ],
            ),
            (
                "/machine_load",
                json!([1.1, 0.0]),
                &["B had a busy machine: load 1.1 before and 0 after on 2 cores"],
            ),
            (
                "/machine_load",
                json!([0.0, 4.1]),
                &["B had a busy machine: load 0 before and 4.1 after on 2 cores"],
            ),
            ("/broken", json!(["1 lost"]), &["B broke a promise: 1 lost"]),
            ("/not_run", json!("no root"), &["B was not run: no root"]),
        ] {
            assert_eq!(between(&changed(&[]), &changed(&[(pointer, change)])), doubts, "{pointer}");
        }
    }
}
