//! Golden vectors: what every frame of this wire looks like, byte by byte, and the shape of every body.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::LazyLock,
};

use quail_protocol::{event::EVENTS, operations};

use crate::{
    files, handwritten,
    rows::{Row, Vector, rows},
    schema,
};

const SCHEMA: &str = "schema.txt";

const SCHEMA_ADVICE: &str =
    "A changed schema hash changes the wire: say so in CHANGELOG.md in a line marked **wire**, then run";

const FORMAT: &str = "\
# Written by `UPDATE=1 cargo test -p quail-protocol`, never by hand.
# A line is `name hex  # meaning`, parted by spaces. Empty lines and lines that begin with # do not count.
# Name: the row of the protocol's table; a further vector of the same row has `/word` behind it.
";

/// What the hex of a file is, by the first word of its names.
fn hex_means(domain: &str) -> &'static str {
    match domain {
        "reject" => "a whole frame: length and head. Nothing follows the reject in it",
        "close" => "the number as a WebSocket close frame carries it, 16 bits, big endian",
        "kind" => "the body of a message. Meaning: the number of the kind, the fields in their order",
        "lane" => "the tag that opens a stream and every WebSocket message; /websocket: a whole such message",
        _ => "a whole frame: length, head, body. Meaning: the fields of the body in their order",
    }
}

/// Name and text of every file in `vectors/`, as they should be.
fn generated() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let all = rows().into_iter().map(Row::vector).chain(handwritten::vectors());
    for Vector { name, bytes, meaning } in all {
        let (domain, _) = name.split_once('.').unwrap_or((&name, ""));
        let text = texts.entry(format!("{domain}.txt")).or_insert_with(|| {
            format!("# Golden vectors: {domain}.\n#\n{FORMAT}# Hex: {}.\n\n", hex_means(domain))
        });
        *text += &format!("{name} {}  # {meaning}\n", files::hex(&bytes));
    }
    texts.insert(SCHEMA.to_owned(), schema::text());
    texts
}

/// The committed vectors by name.
pub(crate) static COMMITTED: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let texts = generated();
    if files::updating() {
        for (name, text) in &texts {
            files::write(&format!("vectors/{name}"), text);
        }
    }
    let vectors = texts.keys().filter(|name| *name != SCHEMA);
    vectors.flat_map(|name| parse(&files::read(&format!("vectors/{name}")))).collect()
});

fn parse(text: &str) -> Vec<(String, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| parse_line(line).unwrap_or_else(|| panic!("not `name hex  # meaning`: {line}")))
        .collect()
}

fn parse_line(line: &str) -> Option<(String, Vec<u8>)> {
    let (name, rest) = line.split_once(' ')?;
    let (hex, _) = rest.split_once("  # ")?;
    let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok());
    Some((name.to_owned(), bytes.collect::<Option<_>>()?))
}

/// The row a vector belongs to.
fn row_name(vector: &str) -> &str {
    vector.split_once('/').map_or(vector, |(row, _)| row)
}

#[test]
fn the_files_are_current() {
    LazyLock::force(&COMMITTED);
    let texts = generated();
    let stale: String = texts
        .iter()
        .filter_map(|(name, text)| {
            let advice = if name == SCHEMA { SCHEMA_ADVICE } else { "If the bytes are meant to change, run" };
            files::difference(&format!("vectors/{name}"), text, &format!("{advice}\n{}", files::UPDATE))
        })
        .collect();
    assert!(stale.is_empty(), "{stale}");
    let present = fs::read_dir(files::path("vectors")).unwrap();
    let present: BTreeSet<_> = present.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(present, texts.into_keys().collect(), "files in vectors/ that no table asks for");
}

#[test]
fn every_row_has_a_vector_and_every_vector_a_row() {
    let rows: BTreeSet<_> = rows().into_iter().map(Row::name).collect();
    let missing: Vec<_> = rows.iter().filter(|name| !COMMITTED.contains_key(*name)).collect();
    assert!(missing.is_empty(), "rows without a vector: {missing:?}; run {}", files::UPDATE);
    let orphans: Vec<_> = COMMITTED.keys().filter(|name| !rows.contains(row_name(name))).collect();
    assert!(orphans.is_empty(), "vectors without a row: {orphans:?}");
}

#[test]
fn committed_bytes_decode_to_themselves_and_nothing_near_them_decodes() {
    let rows: BTreeMap<_, _> = rows().into_iter().map(|row| (row.name(), row)).collect();
    for (name, bytes) in COMMITTED.iter() {
        if let Some(row) = rows.get(row_name(name)) {
            row.verify(name, bytes);
        }
    }
}

#[test]
fn a_name_and_a_domain_byte_mean_one_thing() {
    let operations = operations().map(|info| (info.opcode.0, info.name));
    let events = EVENTS.iter().map(|event| (event.kind.0, event.name));
    let mut names = BTreeSet::new();
    let (mut prefixes, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for (number, name) in operations.chain(events) {
        assert!(names.insert(name), "two rows are called {name}");
        let (prefix, _) = name.split_once('.').unwrap();
        let byte = number >> 8;
        assert_eq!(
            *prefixes.entry(byte).or_insert(prefix),
            prefix,
            "0x{number:04x} {name}: byte of another domain"
        );
        assert_eq!(
            *bytes.entry(prefix).or_insert(byte),
            byte,
            "0x{number:04x} {name}: domain with another byte"
        );
    }
}
