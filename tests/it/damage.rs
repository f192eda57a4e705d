//! A store whose files were cut or damaged opens whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use quail_protocol::{
    Conversation, Epoch, Position, Priority, Seq, Timestamp,
    id::{AppId, ClientMessageId, MessageId, RoomId, UserId},
    message::{Content, Direction, MessageKind, Text},
};
use quail_server::{
    clock::Clock,
    domain::conversation::Marks,
    store::{
        Append, Appended, ConversationKey, MarkChange, Place, RangeQuery, RecallChange, RoomChange, Store,
        Write, Written,
        embedded::{Config, Embedded, OpenError},
    },
};
use quail_tests::store::append_batch;
use tempfile::TempDir;

const BATCHES: u64 = 60;

fn append(seq: u64) -> Append {
    let (app, user) = (AppId::new("demo").unwrap(), UserId::new("a").unwrap());
    Append {
        key: ConversationKey::peer(&app, &user, &user),
        conversation: Conversation::Peer(user.clone()),
        sender: user,
        member: None,
        id: MessageId::at(seq, [0; 10]),
        client_id: ClientMessageId::at(seq, [0; 10]),
        time: Timestamp(seq),
        asked: Priority::Normal,
        priority: Priority::Normal,
        // Incompressible and of many sizes, so that damage anywhere changes something.
        content: Content::new(
            MessageKind::Text,
            Text::encode((0..seq * 37 % 900 + 1).map(text_of(seq)).collect::<String>()).unwrap(),
        ),
        known: None,
        keep: None,
    }
}

fn text_of(seq: u64) -> impl Fn(u64) -> char {
    move |i| char::from(b'!' + ((i * 7919 + seq * 104_729) >> 3) as u8 % 90)
}

fn open(directory: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(directory, &Config::default(), false, Clock::system())
}

/// A store of so many batches, closed well, so that its mark is at the last.
async fn stored() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    let store = open(&directory).unwrap();
    for seq in 1..=BATCHES {
        let placed = append_batch(&store, vec![append(seq)]).await.unwrap();
        assert!(matches!(&placed[..], [Appended::Placed(message)] if message.position.seq == Seq(seq)));
    }
    drop(store);
    (parent, directory)
}

/// True if every message is there and says what was sent.
async fn is_whole(store: &Embedded) -> bool {
    let query = RangeQuery {
        from: Seq(1),
        to: Seq(u64::MAX),
        entries_max: 1000,
        bytes_max: 1 << 30,
        direction: Direction::Forwards,
    };
    let Ok(range) = store.read_range(&append(1).key, query).await else {
        // Damage that is noticed when it is read is told, not served.
        return true;
    };
    range.head.seq == Seq(BATCHES)
        && range.messages.len() as u64 == BATCHES
        && range
            .messages
            .iter()
            .zip(1..)
            .all(|(message, seq)| append(seq).content.body == message.content.body)
}

fn copy(from: &Path, to: &Path) {
    _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { _ = fs::copy(&from, &to).unwrap() }
    }
}

fn journal(directory: &Path) -> PathBuf {
    let engine = directory.join("engine");
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let mut journals: Vec<_> =
        fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path()).filter(is_journal).collect();
    assert_eq!(journals.len(), 1, "so few batches fit one journal");
    journals.remove(0)
}

#[tokio::test]
async fn a_journal_cut_or_damaged_below_the_mark_is_refused_and_left_as_it_is() {
    let (parent, directory) = stored().await;
    let bytes = fs::read(journal(&directory)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let bytes = &bytes[..used];
    let mut damaged: Vec<(String, Vec<u8>)> = vec![];
    for part in 1..40 {
        let at = used * part / 40;
        damaged.push((format!("cut at {at}"), bytes[..at].to_vec()));
        let mut zeroed = bytes.to_vec();
        zeroed[at..(at + 512).min(used)].fill(0);
        damaged.push((format!("512 zeros at {at}"), zeroed));
        for bit in [0, 4, 7] {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            damaged.push((format!("bit {bit} of byte {at} flipped"), flipped));
        }
    }
    damaged.push(("the last byte gone".into(), bytes[..used - 1].to_vec()));
    damaged.push(("all gone".into(), vec![]));
    let victim = parent.path().join("victim");
    for (name, bytes) in damaged {
        copy(&directory, &victim);
        let path = journal(&victim);
        fs::write(&path, &bytes).unwrap();
        match open(&victim) {
            Err(OpenError::Damaged { .. }) => assert_eq!(fs::read(&path).unwrap(), bytes, "{name}: changed"),
            Err(other) => panic!("{name}: {other}"),
            Ok(store) => assert!(is_whole(&store).await, "{name}: served as a shorter history"),
        }
    }
}

#[tokio::test]
async fn what_was_torn_behind_the_last_acknowledged_batch_is_cut_off() {
    let (parent, directory) = stored().await;
    let bytes = fs::read(journal(&directory)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let victim = parent.path().join("victim");
    // The beginning of a batch like any other, followed by what a disk may leave of the rest.
    let trailers: Vec<_> = (0..used).filter(|at| bytes[*at..].starts_with(b"FJL\x03")).collect();
    let long = trailers.windows(2).find(|pair| pair[1] - pair[0] > 600).expect("a long batch");
    let begun = &bytes[long[0] + 4..long[0] + 404];
    for tail in [
        begun.to_vec(),
        begun[..20].to_vec(),
        [&begun[..200], &[0; 200][..]].concat(),
        [&begun[..40], &[0; 4096][..], b"FJL\x03"].concat(),
        vec![1],
        vec![0xff; 100],
    ] {
        copy(&directory, &victim);
        fs::write(journal(&victim), [&bytes[..used], &tail].concat()).unwrap();
        let store = open(&victim).unwrap_or_else(|error| panic!("{tail:02x?}: {error}"));
        assert!(is_whole(&store).await);
        let next = append_batch(&store, vec![append(BATCHES + 1)]).await.unwrap();
        assert!(matches!(&next[..], [Appended::Placed(message)] if message.position.seq == Seq(BATCHES + 1)));
        drop(store);
        assert!(open(&victim).is_ok(), "and it opens again");
    }
}

#[tokio::test]
async fn an_operator_may_accept_the_loss_and_the_store_is_kept_beside() {
    let (parent, directory) = stored().await;
    let path = journal(&directory);
    let bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(&path, &bytes[..used / 2]).unwrap();
    let refused = open(&directory).err().map(|error| error.to_string()).unwrap();
    assert!(refused.contains("--accept-data-loss"), "{refused}");

    let store = Embedded::open(&directory, &Config::default(), true, Clock::system()).unwrap();
    let query = RangeQuery {
        from: Seq(1),
        to: Seq(u64::MAX),
        entries_max: 1000,
        bytes_max: 1 << 30,
        direction: Direction::Forwards,
    };
    let left = store.read_range(&append(1).key, query).await.unwrap();
    assert!(left.head.seq > Seq(1) && left.head.seq < Seq(BATCHES));
    assert!(left.head.epoch > Epoch(1), "clients learn that history was lost");
    assert_eq!(left.messages[0].position, Position { epoch: left.head.epoch, seq: Seq(1) });
    let again = append_batch(&store, vec![append(1)]).await.unwrap();
    let is_there = |place: &Place| place.position == left.messages[0].position;
    assert!(matches!(&again[..], [Appended::Duplicate(place)] if is_there(place)), "{again:?}");
    let key = append(1).key;
    let read = Write::Mark(MarkChange {
        app: AppId::new("demo").unwrap(),
        user: UserId::new("a").unwrap(),
        conversation: append(1).conversation,
        key: key.clone(),
        epoch: left.messages[0].position.epoch,
        marks: Marks { delivered: Seq(1), read: Seq(1) },
        receipt: false,
    });
    let recall = Write::Recall(RecallChange {
        key,
        position: left.messages[0].position,
        user: UserId::new("a").unwrap(),
        moderates: false,
        window: Duration::from_secs(1),
        time: Timestamp(1),
    });
    let written = store.write_batch(vec![read, recall]).await.unwrap();
    let [Written::Mark(Some(_)), Written::Recall(Ok(kept))] = &written[..] else { panic!("{written:?}") };
    assert_eq!(kept.message.position, left.messages[0].position, "what is left is as good as what comes");
    append_batch(&store, vec![append(1000)]).await.unwrap();
    drop(store);
    assert!(open(&directory).is_ok(), "the flag is needed once");
    let kept = journal(&parent.path().join("store.damaged-1"));
    assert_eq!(fs::read(kept).unwrap().len(), used / 2);
}

#[tokio::test]
async fn a_room_of_which_messages_were_lost_goes_on_under_an_epoch_that_no_room_had() {
    let (_parent, directory) = stored().await;
    let room = |made| ConversationKey::Room(AppId::new("demo").unwrap(), RoomId::new("r").unwrap(), made);
    let said = |made, seq| Append { key: room(made), ..append(seq) };
    let store = open(&directory).unwrap();
    append_batch(&store, vec![said(Epoch(70), 1), said(Epoch(70), 2)]).await.unwrap();
    let far_ahead = Epoch(1 << 50);
    let (app, name) = (AppId::new("demo").unwrap(), RoomId::new("r").unwrap());
    let change = RoomChange { app, room: name, epoch: far_ahead, rows: vec![] };
    store.write_batch(vec![Write::Room(change)]).await.unwrap();
    drop(store);
    let accept = || Embedded::open(&directory, &Config::default(), true, Clock::system()).unwrap();
    fs::remove_file(directory.join("mark")).unwrap();
    let store = accept();
    let anew = Epoch(far_ahead.0 + 1);
    let heads = store.heads(&[room(Epoch(70)), room(Epoch(71)), room(Epoch(anew.0 + 1))]).await.unwrap();
    let positions: Vec<_> = heads.iter().map(|head| (head.position.epoch, head.position.seq.0)).collect();
    assert_eq!(positions, [(anew, 2), (anew, 0), (Epoch(anew.0 + 1), 0)], "also where nothing was said");
    assert_eq!(store.rooms().await.unwrap().last_epoch, anew, "rooms that are made later are above");
    let again = append_batch(&store, vec![said(Epoch(70), 1), said(Epoch(70), 3)]).await.unwrap();
    let [Appended::Duplicate(place), Appended::Placed(message)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((place.position.epoch, place.position.seq), (anew, Seq(1)));
    assert_eq!((message.position.epoch, message.position.seq), (anew, Seq(3)));
    drop(store);
    let store = open(&directory).unwrap();
    assert_eq!(store.heads(&[room(Epoch(70))]).await.unwrap()[0].position, message.position, "and it stays");
}

#[tokio::test]
async fn a_mark_that_is_gone_is_refused() {
    let (_parent, directory) = stored().await;
    fs::write(directory.join("mark"), b"nothing").unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Damaged { .. })));
    fs::remove_file(directory.join("mark")).unwrap();
    assert!(matches!(open(&directory), Err(OpenError::Damaged { .. })));
    assert!(Embedded::open(&directory, &Config::default(), true, Clock::system()).is_ok());
}

#[tokio::test]
async fn a_store_that_was_being_made_when_the_power_went_is_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    fs::create_dir_all(parent.path().join("store.new/engine")).unwrap();
    fs::write(parent.path().join("store.new/mark"), b"half").unwrap();
    let store = open(&directory).unwrap();
    assert_eq!(append_batch(&store, vec![append(1)]).await.unwrap().len(), 1);
    assert!(!parent.path().join("store.new").exists());
}
