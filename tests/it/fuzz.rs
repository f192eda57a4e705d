//! The fuzz targets, fed with the corpus in `tests/fuzz/corpus` and with mutations of it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use quail_protocol::{
    event::EVENTS,
    frame::{Decoder, Head, Outcome},
    message::KINDS,
    schemas,
};
use quail_tests::fuzz::TARGETS;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Mutations of the corpus of each target.
const MUTATIONS: usize = 4000;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The files of a target's corpus, in order.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut seeds: Vec<_> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no corpus");
    seeds
}

/// Another input made of one or two.
fn mutated(random: &mut StdRng, one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = one.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)]),
            4 => {
                let from = random.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => bytes.extend((0..random.random_range(1..40)).map(|_| random.random::<u8>())),
        }
    }
    bytes
}

#[test]
fn every_target_holds_for_its_corpus_and_for_mutations_of_it() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        for (file, bytes) in &seeds {
            println!("{name}/{file}");
            target(bytes);
        }
        let mut random = StdRng::seed_from_u64(1);
        for number in 0..MUTATIONS {
            let one = &seeds[random.random_range(0..seeds.len())].1;
            let other = &seeds[random.random_range(0..seeds.len())].1;
            let bytes = mutated(&mut random, one, other);
            println!("{name} {number}: {bytes:02x?}");
            target(&bytes);
        }
    }
}

/// The golden frames of the protocol by name, and the bodies of messages.
fn golden() -> BTreeMap<String, Vec<u8>> {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors");
    let mut golden = BTreeMap::new();
    for file in fs::read_dir(vectors).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (Some(name), Some(hex)) = (words.next(), words.next()) else { continue };
            let is_frame = [".request", ".reply", ".event", "kind."].iter().any(|part| name.contains(part));
            let bytes: Result<Vec<u8>, _> =
                (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16)).collect();
            if let (true, Ok(bytes)) = (is_frame, bytes) {
                golden.insert(name.replace('/', "-"), bytes);
            }
        }
    }
    golden
}

/// What `bodies` is to be fed with for a golden frame.
fn body(name: &str, bytes: &[u8]) -> Vec<u8> {
    if let Some(kind) = name.strip_prefix("kind.") {
        let schema = KINDS.iter().find(|schema| format!("{:?}", schema.kind) == kind);
        let number = schema.unwrap_or_else(|| panic!("no kind {kind}")).kind.number();
        return [&[3], &u16::to_be_bytes(number)[..], bytes].concat();
    }
    let mut decoder = Decoder::new(1 << 20);
    decoder.extend(bytes);
    let frame = decoder.next_frame().unwrap().unwrap();
    let number_of = |kind: &str| {
        let row = name.split_once(kind).unwrap().0;
        let operation = schemas().find(|schemas| schemas.info.name == row);
        operation.unwrap_or_else(|| panic!("no operation {row}")).info.opcode.0
    };
    let (which, number) = match frame.head {
        Head::Request { opcode, .. } => (0, opcode.0),
        Head::Reply { outcome: Outcome::Ok, .. } => (1, number_of(".reply")),
        Head::Reply { .. } => (1, 0),
        Head::Event { kind } => (2, kind.0),
        Head::Signal => panic!("{name} is no body of a table"),
    };
    [&[which], &u16::to_be_bytes(number)[..], &frame.body].concat()
}

#[test]
fn the_corpus_has_every_golden_frame() {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let golden = golden();
    assert!(golden.len() >= 2 * schemas().count() + EVENTS.len());
    for (target, make) in
        [("bodies", body as fn(&str, &[u8]) -> Vec<u8>), ("frames", |_, bytes| [&[0xff, 6], bytes].concat())]
    {
        for (name, bytes) in &golden {
            let (path, made) = (corpus(target).join(name), make(name, bytes));
            if update {
                fs::create_dir_all(corpus(target)).unwrap();
                fs::write(&path, &made).unwrap();
            }
            let kept = fs::read(&path).unwrap_or_default();
            assert_eq!(kept, made, "{path:?}: UPDATE=1 cargo test -p quail-tests --test it -- fuzz::");
        }
    }
}
