use quail_protocol::{
    bounded::Blob,
    event::Kind,
    message::{Content, Message, MessageKind, Text},
};

use super::*;

fn hex(bytes: &[u8]) -> String {
    crate::data::hex(bytes)
}

fn users() -> (AppId, UserId, UserId) {
    (AppId::new("demo").unwrap(), UserId::new("alice").unwrap(), UserId::new("bob").unwrap())
}

#[test]
fn stored_bytes_are_these() {
    let (app, alice, bob) = users();
    let key = conversation(&ConversationKey::peer(&app, &bob, &alice));
    assert_eq!(hex(&key), "0464656d6f0105616c69636503626f62");
    assert_eq!(hex(&entry(&key, Seq(258))), "0464656d6f0105616c69636503626f620000000000000102");
    let id = ClientMessageId::at(1_800_000_000_000, [7; 10]);
    assert_eq!(
        hex(&dedup(&key, &bob, id)),
        "000051610464656d6f0105616c69636503626f6203626f6201a3185c500077078707070707070707"
    );
    assert_eq!(hex(&user(&app, &bob)), "0464656d6f03626f62");
    let lobby = RoomId::new("lobby").unwrap();
    let row = room(&app, &lobby, &[4, b'k']);
    assert_eq!(hex(&row), "0464656d6f056c6f626279046b");
    assert_eq!(room_of(&row).unwrap(), (app.clone(), lobby, vec![4, b'k']));
    let history = ConversationKey::Room(app.clone(), RoomId::new("lobby").unwrap(), Epoch(258));
    let stored = conversation(&history);
    assert_eq!(hex(&stored), "0464656d6f02056c6f6262790000000000000102");
    assert_eq!(conversation_of_room(&stored).unwrap(), history);
    assert!(conversation_of_room(&key).is_err() && conversation_of_room(&stored[1..]).is_err());
    assert_eq!(rooms_of(&key).unwrap(), (b"\x04demo\x02".to_vec(), b"\x04demo\xff".to_vec()));
    assert_eq!(hex(&encode_room(b"v")), "0176");
    assert_eq!(decode_room(&encode_room(b"v")).unwrap(), b"v");
    assert_eq!(hex(&encode_epoch(Epoch(258))), "010000000000000102");
    assert_eq!(decode_epoch(&encode_epoch(Epoch(258))).unwrap(), Epoch(258));

    let head = Head {
        position: Position { epoch: Epoch(1), seq: Seq(9) },
        last_by_priority: [Seq(0), Seq(3), Seq(9), Seq(4)],
        first: Seq(2),
        time: Timestamp(1_800_000_000_000),
        rev: Rev(6),
        countable: Countable { by_low: 5, by_high: 2 },
    };
    let bytes = encode_head(&head);
    assert_eq!(
        hex(&bytes),
        "01 0000000000000009 0000000000000002 000001a3185c5000 0000000000000006 0000000000000005 \
         0000000000000002 0000000000000000 0000000000000003 0000000000000009 0000000000000004"
            .replace(' ', "")
    );
    assert_eq!(decode_head(&bytes, Epoch(1)).unwrap(), head);

    let place = Place {
        id: MessageId([1; 16]),
        position: Position { epoch: Epoch(1), seq: Seq(9) },
        prev: Seq(3),
        rev: Rev(6),
        priority: Priority::Normal,
        time: Timestamp(1_800_000_000_000),
    };
    let row = Remembered { place, content: 0x1122_3344_5566_7788 };
    assert_eq!(
        hex(&encode_dedup(&row)),
        "01 0000000000000001 0000000000000009 0000000000000003 0000000000000006 0000000000000002 \
         000001a3185c5000 1122334455667788 \
         01010101010101010101010101010101"
            .replace(' ', "")
    );
    assert_eq!(decode_dedup(&encode_dedup(&row), Epoch(1)).unwrap(), row);

    assert_eq!(
        hex(&view(&user(&app, &bob), &Conversation::Peer(alice.clone()))),
        "0464656d6f03626f6201616c696365"
    );
    assert_eq!(
        viewed(&user(&app, &bob), b"\x04demo\x03bob\x01alice").unwrap(),
        Conversation::Peer(alice.clone())
    );
    assert!(viewed(&user(&app, &bob), b"\x04demo\x03bob\x09alice").is_err());
    let ends = Ends { head: Seq(9), first: Seq(3) };
    assert_eq!(hex(&encode_ends(&ends)), "0100000000000000090000000000000003");
    assert_eq!(decode_ends(&encode_ends(&ends)).unwrap(), ends);
    assert_eq!(hex(&news(&user(&app, &bob), Seq(258))), "0464656d6f03626f620000000000000102");
    let entry = FeedEntry {
        seq: Seq(9),
        time: Timestamp(1_800_000_000_000),
        kind: Kind(0x0201),
        body: Blob::new(vec![1, 2]).unwrap(),
    };
    assert_eq!(hex(&encode_news(&entry)), "010980a0f1c2b1348104020102");
    assert_eq!(decode_news(&encode_news(&entry)).unwrap(), entry);
    let view = View { marks: Marks { delivered: Seq(9), read: Seq(3) }, seen: 2 };
    let bytes = encode_view(Epoch(2), &view);
    assert_eq!(hex(&bytes), "010000000000000002000000000000000900000000000000030000000000000002");
    assert_eq!(decode_view(&bytes, Epoch(2)).unwrap(), view);
    assert_eq!(decode_view(&bytes, Epoch(3)).unwrap(), View::default());
    assert_eq!(hex(&change(&key, Rev(258))), "0464656d6f0105616c69636503626f620000000000000102");
    assert_eq!(changed(&change(&key, Rev(258))).unwrap(), Rev(258));
    assert_eq!(hex(&encode_change(Seq(9))), "010000000000000009");
    assert_eq!(decode_change(&encode_change(Seq(9))).unwrap(), Seq(9));

    let message = Message {
        id: MessageId([1; 16]),
        client_id: id,
        conversation: Conversation::Peer(bob.clone()),
        sender: alice,
        member: None,
        position: Position { epoch: Epoch(1), seq: Seq(9) },
        prev: Seq(3),
        ordinal: 7,
        rev: Rev(6),
        recall: None,
        priority: Priority::Normal,
        time: Timestamp(1_800_000_000_000),
        content: Content::new(MessageKind::Text, Text::encode("hi").unwrap()),
    };
    let entry = Entry { message, countable: Countable { by_low: 5, by_high: 2 }.into() };
    let bytes = encode_entry(&entry);
    assert_eq!(
        hex(&bytes),
        "01 01010101010101010101010101010101 01a3185c500077078707070707070707 0103626f62 05616c696365 00 0109 03 07 \
         06 00 02 80a0f1c2b134 01 01010000 03026869 00 0000 00 00 05 02"
            .replace(' ', "")
    );
    assert_eq!(decode_entry(&bytes, Epoch(1)).unwrap(), entry);
}

#[test]
fn what_is_cut_or_of_another_format_is_unreadable() {
    let head = encode_head(&Head::empty(Epoch(1)));
    for bytes in [&[][..], &head[..8], &[&head[..], &[0]].concat(), &[2]] {
        assert!(decode_head(bytes, Epoch(1)).is_err());
        assert!(decode_dedup(bytes, Epoch(1)).is_err());
        assert!(decode_view(bytes, Epoch(1)).is_err());
        assert!(decode_ends(bytes).is_err());
        assert!(decode_entry(bytes, Epoch(1)).is_err());
        assert!(decode_change(bytes).is_err());
    }
}

#[test]
fn no_conversation_begins_with_another() {
    let (app, ..) = users();
    let ids = ["a", "aa", "ab", "b"].map(|id| UserId::new(id).unwrap());
    let mut keys = vec![];
    for (i, one) in ids.iter().enumerate() {
        keys.extend(ids[i..].iter().map(|other| conversation(&ConversationKey::peer(&app, one, other))));
    }
    let room = |id, made| ConversationKey::Room(app.clone(), RoomId::new(id).unwrap(), Epoch(made));
    keys.extend([room("a", 1), room("a", 1 << 32), room("aa", 1)].iter().map(conversation));
    for (i, key) in keys.iter().enumerate() {
        assert!(keys.iter().enumerate().all(|(j, other)| i == j || !other.starts_with(key)));
    }
}
