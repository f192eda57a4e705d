use quail_protocol::{
    bounded::{List, Text},
    limits::{COUNTER_ID_AHEAD_MS, COUNTER_MAX},
    room::{Counter, Increase, IncreaseCounters, SetCounters},
};

use super::*;

fn key(key: &str) -> Text<64> {
    Text::new(key).unwrap()
}

fn pairs(pairs: &str) -> Vec<(Text<64>, i64)> {
    let pair = |pair: &str| {
        let (name, number) = pair.split_once('=').unwrap();
        let number = match number {
            "max" => COUNTER_MAX,
            "-max" => -COUNTER_MAX,
            number => number.parse().unwrap(),
        };
        (key(name), number)
    };
    pairs.split_whitespace().map(pair).collect()
}

/// Sets `key=number` and deletes `-key`.
fn set(change: &str) -> SetCounters {
    let (deleted, set): (Vec<_>, Vec<_>) = change.split_whitespace().partition(|part| part.starts_with('-'));
    let set = pairs(&set.join(" ")).into_iter().map(|(key, value)| Counter { key, value });
    SetCounters {
        room: RoomId::new("r").unwrap(),
        set: List::new(set.collect()).unwrap(),
        deleted: List::new(deleted.into_iter().map(|name| key(&name[1..])).collect()).unwrap(),
    }
}

/// Made `ms` behind the time of the tests.
fn id(ms: u64, number: u8) -> ClientMessageId {
    ClientMessageId::at(NOW.0 + ms, [number; 10])
}

fn add(id: ClientMessageId, increases: &str) -> IncreaseCounters {
    let increases = pairs(increases).into_iter().map(|(key, by)| Increase { key, by });
    IncreaseCounters {
        room: RoomId::new("r").unwrap(),
        id,
        increases: List::new(increases.collect()).unwrap(),
    }
}

fn show(counters: &[Counter]) -> String {
    counters.iter().map(|counter| format!("{}={}", counter.key, counter.value)).collect::<Vec<_>>().join(" ")
}

fn all(room: &Room) -> String {
    show(&room.counters().counters)
}

/// A room with the counter `k` at 1.
fn counting(for_members: bool) -> Room {
    let settings = Settings { counters_for_members: for_members, ..Settings::default() };
    let mut room = Room::new(RoomId::new("r").unwrap(), settings, user("olga"), Epoch(7), bounds(), NOW);
    for id in ["olga", "a", "b"] {
        come(&mut room, id, 1).unwrap();
    }
    room.set_counters(&user("olga"), set("k=1")).unwrap();
    room
}

#[test]
fn counters_are_set_and_increased_by_whom_the_room_lets() {
    use Code::*;
    let set = |change| (true, change);
    let add = |change| (false, change);
    for (name, who, for_members, (sets, change), expected, then) in [
        ("set", "olga", false, set("k=5"), Ok(2), "k=5"),
        ("set to the same", "olga", false, set("k=1"), Ok(1), "k=1"),
        ("set anew", "olga", false, set("j=-5 i=2"), Ok(2), "i=2 j=-5 k=1"),
        ("deleted", "olga", false, set("-k"), Ok(2), ""),
        ("one in the place of another", "olga", false, set("-k h=0 i=0 j=0"), Ok(2), "h=0 i=0 j=0"),
        ("nothing to delete", "olga", false, set("-j"), Ok(1), "k=1"),
        ("set and deleted", "olga", false, set("k=2 -k"), Err(InvalidArgument), "k=1"),
        ("set nothing", "olga", false, set(""), Err(InvalidArgument), "k=1"),
        ("set by a member", "a", false, set("k=5"), Err(RightMissing), "k=1"),
        ("set by a member who may", "a", true, set("k=5"), Ok(2), "k=5"),
        ("set by who is out", "z", true, set("k=5"), Err(NotInRoom), "k=1"),
        ("set too many", "olga", false, set("h=1 i=1 j=1"), Err(TooManyCounters), "k=1"),
        ("set to the end", "olga", false, set("k=max"), Ok(2), "k=4503599627370496"),
        ("set behind the end", "olga", false, set("k=4503599627370497"), Err(CounterOutOfRange), "k=1"),
        ("set to the least", "olga", false, set("k=-9223372036854775808"), Err(CounterOutOfRange), "k=1"),
        ("added", "olga", false, add("k=2"), Ok(2), "k=3"),
        ("taken away", "olga", false, add("k=-2 j=-1"), Ok(2), "j=-1 k=-1"),
        ("nothing added", "olga", false, add("k=0"), Ok(1), "k=1"),
        ("added by a member", "a", false, add("k=2"), Err(RightMissing), "k=1"),
        ("added by a member who may", "a", true, add("k=2"), Ok(2), "k=3"),
        ("added by who is out", "z", true, add("k=2"), Err(NotInRoom), "k=1"),
        ("one twice", "olga", false, add("k=2 k=2"), Err(InvalidArgument), "k=1"),
        ("no key", "olga", false, add("=2"), Err(InvalidArgument), "k=1"),
        ("added past the end", "olga", false, add("k=max j=1"), Err(CounterOutOfRange), "k=1"),
        ("added past all", "olga", false, add("k=9223372036854775807"), Err(CounterOutOfRange), "k=1"),
        ("taken to the end", "olga", false, add("j=-max"), Ok(2), "j=-4503599627370496 k=1"),
        ("too many by adding", "olga", false, add("h=1 i=1 j=1"), Err(TooManyCounters), "k=1"),
    ] {
        let mut room = counting(for_members);
        let changed = if sets {
            room.set_counters(&user(who), super::counters::set(change))
        } else {
            room.increase_counters(&user(who), super::counters::add(id(0, 1), change), NOW)
        };
        let version = changed.as_ref().map(|(changed, _)| changed.version).map_err(|code| *code);
        assert_eq!((version, all(&room)), (expected, then.to_owned()), "{name}");
        let told = changed.ok().and_then(|(_, told)| told);
        assert_eq!(told.is_some(), expected == Ok(2), "{name}");
        if let Some(told) = told {
            assert_eq!((told.version, told.operator), (2, user(who)), "{name}");
        }
    }
}

#[test]
fn a_repeated_increase_adds_nothing_and_learns_how_the_counters_stand() {
    let mut room = counting(false);
    let olga = user("olga");
    let mut add = |who: &UserId, id, change| {
        let (changed, told) = room.increase_counters(who, add(id, change), NOW)?;
        Ok((show(&changed.counters), changed.version, told.is_some()))
    };
    assert_eq!(add(&olga, id(0, 1), "k=1"), Ok(("k=2".into(), 2, true)));
    assert_eq!(add(&olga, id(0, 2), "k=1"), Ok(("k=3".into(), 3, true)));
    assert_eq!(add(&olga, id(0, 1), "k=1"), Ok(("k=3".into(), 3, false)));
    assert_eq!(add(&olga, id(0, 1), "k=2"), Err(Code::MessageConflict));
    assert_eq!(add(&user("a"), id(0, 1), "k=1"), Err(Code::RightMissing), "an id is its user's alone");
}

#[test]
fn an_increase_whose_id_is_of_far_ahead_is_refused_and_one_of_a_little_counts_once_over_a_start() {
    let mut room = counting(true);
    let a = user("a");
    let ahead = COUNTER_ID_AHEAD_MS;
    assert_eq!(
        room.increase_counters(&a, add(id(ahead + 1, 1), "k=1"), NOW).map(drop),
        Err(Code::MessageIdStale)
    );
    room.increase_counters(&a, add(id(ahead, 1), "k=1"), NOW).unwrap();
    let rows: Vec<_> =
        room.take_touched().into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let start = (Timestamp(NOW.0 + 1), NOW);
    let mut room = Room::restored(room.id.clone(), &rows, Epoch(8), bounds(), start).unwrap().unwrap();
    come(&mut room, "a", 1).unwrap();
    let again = room.increase_counters(&a, add(id(ahead, 1), "k=1"), start.0);
    assert_eq!(again.map(drop), Err(Code::MessageIdStale));
    room.increase_counters(&a, add(id(ahead + 1, 1), "k=1"), start.0).unwrap();
}

#[test]
fn increases_that_may_have_been_forgotten_are_refused() {
    let mut room = counting(true);
    let (a, b) = (user("a"), user("b"));
    let mut add = |who: &UserId, id, at: u64| {
        let now = Timestamp(NOW.0 + at);
        room.increase_counters(who, add(id, "k=1"), now).map(|(changed, _)| changed.counters[0].value)
    };
    assert_eq!(add(&a, id(0, 1), 0), Ok(2));
    // One that claims to be of much later.
    assert_eq!(add(&a, id(9_999, 2), 1), Ok(3));
    for number in 2..=1024 {
        assert_eq!(add(&b, id(number, 1), number), Ok(2 + number as i64));
    }
    assert_eq!(add(&a, id(0, 1), 1025), Err(Code::MessageIdStale), "forgotten");
    assert_eq!(add(&a, id(9_999, 2), 1025), Ok(1026), "remembered");
    for number in 1025..=1026 {
        assert_eq!(add(&b, id(number, 1), number), Ok(2 + number as i64), "it makes nobody's stale");
    }
}
