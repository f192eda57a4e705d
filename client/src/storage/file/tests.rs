use super::*;

fn entries(storage: &mut File) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    storage.load().unwrap().into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// A file with three changes, and where each of them ends.
fn three(path: &Path) -> [u64; 3] {
    let mut storage = File::open(path).unwrap();
    [("a", Some("1")), ("b", Some("2")), ("a", None)].map(|(key, value)| {
        match value {
            Some(value) => storage.put(key.as_bytes(), value.as_bytes()).unwrap(),
            None => storage.remove(key.as_bytes()).unwrap(),
        }
        storage.bytes
    })
}

#[test]
fn what_was_changed_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    three(&path);
    let mut storage = File::open(&path).unwrap();
    assert_eq!(entries(&mut storage), pairs(&[("b", "2")]));
    storage.put(b"b", b"").unwrap();
    storage.put(b"", b"no key").unwrap();
    storage.remove(b"never there").unwrap();
    drop(storage);
    assert_eq!(entries(&mut File::open(&path).unwrap()), pairs(&[("", "no key"), ("b", "")]));
}

#[test]
fn an_unfinished_change_is_cut_off_wherever_it_ends_and_the_file_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let ends = three(&path);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        for zeros in [0, 40] {
            let mut text = whole[..length].to_vec();
            // Behind half a record this is damage; between two, a file that grew without its bytes.
            let between = length as u64 == MAGIC.len() as u64 || ends.contains(&(length as u64));
            text.resize(length + if between { zeros } else { 0 }, 0);
            fs::write(&path, text).unwrap();
            let mut storage = File::open(&path).unwrap();
            let expected: &[_] = match length as u64 {
                length if length < ends[0] => &[],
                length if length < ends[1] => &[("a", "1")],
                length if length < ends[2] => &[("a", "1"), ("b", "2")],
                _ => &[("b", "2")],
            };
            assert_eq!(entries(&mut storage), pairs(expected), "cut at {length}");
            storage.put(b"c", b"3").unwrap();
            drop(storage);
            let expected: Vec<_> = expected.iter().copied().chain([("c", "3")]).collect();
            assert_eq!(entries(&mut File::open(&path).unwrap()), pairs(&expected), "cut at {length}");
        }
    }
}

#[test]
fn a_changed_byte_is_told_and_never_loses_what_stands_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let ends = three(&path);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut text = whole.clone();
        text[at] ^= 0x40;
        fs::write(&path, text).unwrap();
        let begin = [MAGIC.len() as u64, ends[0], ends[1]];
        let begin = begin.into_iter().rev().find(|begin| *begin <= at as u64);
        match (File::open(&path), begin) {
            (Err(OpenError::Foreign(_)), None) => {}
            (Err(OpenError::Damaged { at: found, .. }), Some(begin)) => assert_eq!(found, begin, "{at}"),
            // The body of the last change cannot be told from one that was not written to its end.
            (Ok(mut storage), Some(begin)) if begin == ends[1] => {
                assert_eq!(entries(&mut storage), pairs(&[("a", "1"), ("b", "2")]));
            }
            (opened, _) => panic!("changed at {at}: {opened:?}"),
        }
        assert_eq!(fs::read(&path).unwrap().len() < whole.len(), File::open(&path).is_ok(), "left alone");
    }
    fs::write(&path, "something else altogether").unwrap();
    assert!(matches!(File::open(&path), Err(OpenError::Foreign(_))));
}

#[test]
fn a_file_serves_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let storage = File::open(&path).unwrap();
    assert!(matches!(File::open(&path), Err(OpenError::InUse(_))));
    drop(storage);
    File::open(&path).unwrap();
    let nowhere = directory.path().join("nothing/file");
    assert!(matches!(File::open(nowhere), Err(OpenError::Io { .. })));
}

#[test]
fn a_file_of_the_past_is_written_anew_and_stays_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let mut storage = File::open(&path).unwrap();
    let value = [7; 1000];
    storage.put(b"kept", b"all the time").unwrap();
    for i in 0..1000_u32 {
        storage.put(&(i % 8).to_le_bytes(), &value).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        assert!(length == storage.bytes && length < COMPACT_BYTES_MIN + 2000, "{length}");
    }
    assert!(matches!(File::open(&path), Err(OpenError::InUse(_))));
    let before = storage.load().unwrap();
    assert_eq!(
        (before.len(), storage.live),
        (9, {
            let sizes = before.iter().map(|(key, value)| size(key, value));
            MAGIC.len() as u64 + sizes.sum::<u64>()
        })
    );
    drop(storage);
    assert_eq!(File::open(&path).unwrap().load().unwrap(), before);
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::MetadataExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let mut storage = File::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    for _ in 0..100 {
        storage.put(b"key", &[1; 1000]).unwrap();
    }
    assert!(storage.bytes < COMPACT_BYTES_MIN, "written anew");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}
