//! Doc comments of the protocol's source, which schemas do not hold.

use std::{collections::BTreeMap, fs};

use crate::files;

/// The doc comments of one source file, by what stands behind them: `Type` or `Type.field`.
pub(crate) type Docs = BTreeMap<String, String>;

/// Doc comments of every module of the crate, those of its parts included, by its name.
pub(crate) fn docs() -> BTreeMap<String, Docs> {
    let mut all = BTreeMap::<String, (Docs, Docs)>::new();
    for file in sources("src") {
        let module = file["src/".len()..].split(['/', '.']).next().unwrap_or_default().to_owned();
        let (module_items, module_others) = all.entry(module).or_default();
        let (items, others) = parse(&files::read(&file));
        module_items.extend(items);
        module_others.extend(others);
    }
    // A type says more than the variant of an enum that is named like it.
    let merged = |(items, mut others): (Docs, Docs)| {
        others.extend(items);
        others
    };
    all.into_iter().map(|(module, docs)| (module, merged(docs))).collect()
}

fn sources(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(files::path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let paths = names.map(|name| format!("{folder}/{name}"));
    paths.flat_map(|path| if path.ends_with(".rs") { vec![path] } else { sources(&path) }).collect()
}

/// The constants of a file with their docs, in order: name, expression, doc.
pub(crate) fn constants(relative: &str) -> Vec<(String, String, String)> {
    let source = files::read(relative);
    let (docs, _) = parse(&source);
    let constants = source.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
        let (_, expression) = rest.strip_suffix(';')?.split_once(" = ")?;
        Some((name.to_owned(), expression.to_owned(), docs.get(name).cloned().unwrap_or_default()))
    });
    constants.collect()
}

/// Docs of items and their fields, and of all else.
fn parse(source: &str) -> (Docs, Docs) {
    let (mut items, mut others) = (Docs::new(), Docs::new());
    let (mut pending, mut outer) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            pending.push(doc.trim());
            continue;
        }
        let attribute = line.starts_with('#') || line.starts_with(')') || line.starts_with("Clone,");
        if attribute || pending.is_empty() {
            continue;
        }
        let doc = plain(&pending.join(" "));
        pending.clear();
        let item = ["pub struct ", "pub enum ", "pub const "].iter().find_map(|kind| line.strip_prefix(kind));
        let name = |text: &str| {
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
            text[..end].to_owned()
        };
        if let Some(field) = line.strip_prefix("pub ").filter(|_| item.is_none()) {
            items.insert(format!("{outer}.{}", name(field)), doc);
        } else {
            outer = name(item.unwrap_or(line));
            let docs = if item.is_some() { &mut items } else { &mut others };
            docs.insert(outer.clone(), doc);
        }
    }
    (items, others)
}

/// Turns rustdoc links into plain code.
fn plain(doc: &str) -> String {
    let doc = doc.replace("[`", "`").replace("`]", "`");
    let parts = doc.split('`').enumerate().map(|(i, part)| match part.rsplit_once("::") {
        Some((path, name)) if i % 2 == 1 && path.starts_with("crate") => name,
        _ => part,
    });
    parts.collect::<Vec<_>>().join("`").replace("  ", " ")
}
