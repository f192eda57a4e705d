//! Rows of rooms.

use quail_protocol::{Epoch, id::RoomId};
use quail_server::store::{RoomChange, RoomRow, Write, Written};

use super::{app, engines};

type Row = (&'static [u8], Option<&'static [u8]>);

fn change(of: &str, room: &str, epoch: u64, rows: &[Row]) -> Write {
    let rows = rows.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect();
    Write::Room(RoomChange { app: app(of), room: RoomId::new(room).unwrap(), epoch: Epoch(epoch), rows })
}

fn row(of: &str, room: &str, name: &[u8], value: &[u8]) -> RoomRow {
    RoomRow { app: app(of), room: RoomId::new(room).unwrap(), name: name.into(), value: value.into() }
}

#[tokio::test]
async fn rows_of_rooms_are_what_was_written_last_and_the_epoch_never_falls() {
    for (engine, store, _directory) in engines() {
        assert_eq!(store.rooms().await.unwrap(), Default::default(), "{engine}");
        let batch = vec![
            change("demo", "r", 7, &[(b"a", Some(b"1")), (b"b", Some(b"2"))]),
            // A room whose name begins like another's, and one of another app.
            change("demo", "ra", 9, &[(b"a", Some(b"3"))]),
            change("demos", "r", 8, &[(b"a", Some(b""))]),
            change("demo", "r", 7, &[(b"a", None), (b"c", Some(b"4"))]),
        ];
        let outcomes = store.write_batch(batch).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Written::Room), "{engine}: {outcomes:?}");
        let kept = store.rooms().await.unwrap();
        let others = [row("demo", "ra", b"a", b"3"), row("demos", "r", b"a", b"")];
        let r = [row("demo", "r", b"b", b"2"), row("demo", "r", b"c", b"4")];
        assert_eq!((kept.last_epoch, kept.rows.clone()), (Epoch(9), [&r[..], &others].concat()), "{engine}");

        // What was there before this batch goes, what is not there is no error, a name used again holds the new.
        let batch = vec![
            change("demo", "r", 7, &[(b"b", None), (b"c", None), (b"d", None)]),
            change("demo", "r", 8, &[(b"b", Some(b"5"))]),
        ];
        store.write_batch(batch).await.unwrap();
        let kept = store.rooms().await.unwrap();
        let r = [row("demo", "r", b"b", b"5")];
        assert_eq!((kept.last_epoch, kept.rows), (Epoch(9), [&r[..], &others].concat()), "{engine}");
        store.write_batch(vec![change("demo", "r", 10, &[])]).await.unwrap();
        assert_eq!(store.rooms().await.unwrap().last_epoch, Epoch(10), "{engine}");
    }
}
