use quail_protocol::{
    Epoch, Event, Seq,
    event::EventBody,
    frame::{Decoder, Head},
    id::UserId,
    message::Dropped,
};

use super::*;

const FIRST: Attachment = Attachment(0);

fn subject(user: &str, seq: u64) -> Subject {
    Subject {
        conversation: Conversation::Peer(UserId::new(user).unwrap()),
        head: Position { epoch: Epoch(1), seq: Seq(seq) },
        rev: Rev(seq / 2),
    }
}

fn small() -> Outbox {
    Outbox::new(Config { lane_items: 3, lane_bytes: ByteSize::b(100) })
}

fn frame(byte: u8, length: usize) -> Bytes {
    vec![byte; length].into()
}

#[test]
fn ready_frames_of_a_lane_leave_in_one_batch_in_order() {
    let outbox = small();
    outbox.push_reply(Lane::High, frame(1, 4));
    outbox.push_event(Lane::High, frame(2, 4), subject("a", 1));
    outbox.push_reply(Lane::Low, frame(3, 4));
    let batch = outbox.take(FIRST, Lane::High, 100).unwrap();
    assert_eq!(batch, Batch { bytes: [frame(1, 4), frame(2, 4)].concat().into(), replies: 1, slot: 0 });
    assert_eq!(outbox.take(FIRST, Lane::High, 100), None);
    assert_eq!(outbox.take(FIRST, Lane::Low, 100).unwrap().replies, 1);
    assert!(outbox.is_empty());
    assert_eq!(outbox.reply_bytes(), 0);
}

#[test]
fn before_the_login_is_answered_nothing_is_told_but_answers() {
    let outbox = small();
    let marked = |seq| (Kind(seq), Conversation::Peer(UserId::new("a").unwrap()), frame(9, 4));
    let push_latest = |(kind, conversation, frame)| outbox.push_latest(kind, conversation, frame);
    outbox.reply_only(true);
    outbox.push_reply(Lane::Control, frame(1, 4));
    push_latest(marked(1));
    assert_eq!(outbox.take(FIRST, Lane::Control, 100).unwrap().bytes, frame(1, 4));
    assert_eq!(outbox.take(FIRST, Lane::Control, 100), None, "it waits for the answer");
    outbox.push_reply(Lane::Control, frame(2, 4));
    push_latest(marked(2));
    outbox.reply_only(false);
    let batch = outbox.take(FIRST, Lane::Control, 100).unwrap();
    assert_eq!(batch.bytes, [frame(2, 4), frame(9, 4), frame(9, 4)].concat());
    assert!(outbox.is_empty());
}

#[test]
fn a_batch_is_bounded_but_never_empty() {
    let outbox = small();
    for byte in 1..=3 {
        outbox.push_reply(Lane::Normal, frame(byte, 40));
    }
    assert_eq!(outbox.take(FIRST, Lane::Normal, 90).unwrap().bytes.len(), 80);
    assert_eq!(outbox.take(FIRST, Lane::Normal, 10).unwrap().bytes.len(), 40);
}

#[test]
fn an_overflow_drops_the_lanes_events_and_names_each_conversation_once() {
    let outbox = small();
    assert_eq!(outbox.push_event(Lane::Normal, frame(1, 10), subject("a", 1)), 0);
    outbox.push_reply(Lane::Normal, frame(9, 10));
    assert_eq!(outbox.push_event(Lane::Normal, frame(2, 10), subject("b", 7)), 0);
    assert_eq!(outbox.push_event(Lane::Normal, frame(3, 10), subject("a", 2)), 0);
    assert_eq!(outbox.push_event(Lane::Normal, frame(4, 10), subject("a", 3)), 4);
    assert_eq!(outbox.push_event(Lane::Normal, frame(5, 10), subject("a", 4)), 1);
    assert_eq!(outbox.push_event(Lane::Normal, frame(6, 10), subject("c", 1)), 0);
    assert_eq!(outbox.dropped(), 5);

    let batch = outbox.take(FIRST, Lane::Normal, 1000).unwrap();
    assert_eq!(&batch.bytes[..10], &[9; 10]);
    assert_eq!(&batch.bytes[10..20], &[6; 10]);
    let mut decoder = Decoder::new(1000);
    decoder.extend(&batch.bytes[20..]);
    let mut told = vec![];
    while let Some(frame) = decoder.next_frame().unwrap() {
        let Head::Event { kind } = frame.head else { panic!("not an event") };
        let Event::Behind(behind) = Event::decode(kind, frame.body).unwrap() else { panic!("not behind") };
        told.push((behind.conversation.to_string(), behind.head.seq.0));
    }
    assert_eq!(told, [("peer a".to_owned(), 4), ("peer b".to_owned(), 7)]);
    assert_eq!(outbox.push_event(Lane::Normal, frame(7, 10), subject("a", 5)), 0);
}

#[test]
fn bytes_are_bounded_too_but_one_large_event_passes() {
    let outbox = small();
    assert_eq!(outbox.push_event(Lane::Low, frame(1, 500), subject("a", 1)), 0);
    assert_eq!(outbox.push_event(Lane::Low, frame(1, 1), subject("a", 2)), 2);
}

#[test]
fn a_newer_mark_takes_the_place_of_the_older_and_only_many_conversations_overrun_a_session() {
    let outbox = small();
    let peer = |name| Conversation::Peer(UserId::new(name).unwrap());
    outbox.push_latest(Kind(1), peer("a"), frame(1, 20));
    outbox.push_notice(frame(2, 10));
    for byte in 3..=100 {
        outbox.push_latest(Kind(1), peer("a"), frame(byte, 30));
    }
    outbox.push_latest(Kind(2), peer("a"), frame(101, 30));
    assert!(!outbox.is_overrun());
    let batch = outbox.take(FIRST, Lane::Control, 1000).unwrap();
    assert_eq!(batch.bytes, [frame(100, 30), frame(2, 10), frame(101, 30)].concat());
    for name in ["a", "b", "c"] {
        outbox.push_latest(Kind(1), peer(name), frame(1, 20));
    }
    assert!(!outbox.is_overrun());
    outbox.push_latest(Kind(1), peer("d"), frame(1, 20));
    assert!(outbox.is_overrun());
}

#[test]
fn what_has_no_number_is_dropped_one_by_one_and_counted_where_the_first_was() {
    let outbox = small();
    let peer = |name: &str| Conversation::Peer(UserId::new(name).unwrap());
    let dropped = |name, count| Dropped { conversation: peer(name), count }.to_frame();
    let push = |byte, name| outbox.push_passing(Lane::High, frame(byte, 30), &peer(name));
    assert!((1..=3).all(|byte| push(byte, "a") == Pushed::Queued));
    assert_eq!([push(4, "b"), push(5, "a"), push(6, "b")], [Pushed::Dropped; 3]);
    let batch = outbox.take(FIRST, Lane::High, 60).unwrap();
    assert_eq!(batch.bytes, [frame(1, 30), frame(2, 30)].concat());
    assert_eq!(push(7, "b"), Pushed::Queued, "there is room again");
    let batch = outbox.take(FIRST, Lane::High, 1000).unwrap();
    let rest = [frame(3, 30), dropped("b", 2), dropped("a", 1), frame(7, 30)];
    assert_eq!(batch.bytes, rest.concat());
    assert!(outbox.is_empty() && !outbox.is_overrun());

    // A stored message finds no room either, and takes none of what has no number.
    assert!((1..=3).all(|byte| push(byte, "a") == Pushed::Queued));
    assert_eq!(outbox.push_event(Lane::High, frame(8, 10), subject("c", 1)), 1);
    let batch = outbox.take(FIRST, Lane::High, 1000).unwrap();
    assert!(batch.bytes.starts_with(&[frame(1, 30), frame(2, 30), frame(3, 30)].concat()));
    assert!(batch.bytes.len() > 90, "and the client learns that it is behind");
}

#[test]
fn drops_of_more_conversations_than_are_noted_overrun_a_session() {
    let outbox = small();
    let push = |name: &str| {
        outbox.push_passing(Lane::Low, frame(1, 30), &Conversation::Peer(UserId::new(name).unwrap()))
    };
    for name in ["a", "a", "a", "b", "c", "d", "b", "c", "d"] {
        push(name);
        assert!(!outbox.is_overrun(), "{name}");
    }
    assert_eq!(push("e"), Pushed::Dropped);
    assert!(outbox.is_overrun());
}

#[test]
fn a_trickling_reader_with_many_conversations_piles_up_no_notices() {
    let outbox = small();
    for seq in 1..=100 {
        for user in 0..50 {
            outbox.push_event(Lane::Normal, frame(1, 50), subject(&format!("user{user}"), seq));
        }
        outbox.take(FIRST, Lane::Normal, 100).unwrap();
    }
    assert!(outbox.lock().lanes[Lane::Normal.index()].len() < 60);
}

#[test]
fn a_trickling_reader_piles_up_no_changes_of_its_user() {
    for length in [1, 40] {
        let outbox = small();
        for _ in 0..100 {
            outbox.push_notice(frame(1, length));
            outbox.push_event(Lane::Normal, frame(2, 1), subject("a", 1));
        }
        assert!(outbox.is_overrun());
        assert!(outbox.lock().lanes[Lane::Control.index()].len() <= 3);
        // The session goes on where the next connection reads.
        assert!(outbox.detach(FIRST));
        let second = outbox.attach().unwrap();
        outbox.push_notice(frame(1, 500));
        assert!(!outbox.is_overrun() && outbox.take(second, Lane::Control, 100).is_some());
        outbox.push_notice(frame(1, 40));
        assert!(!outbox.is_overrun());
    }
}

#[test]
fn a_closed_outbox_holds_nothing() {
    let outbox = small();
    outbox.push_reply(Lane::Control, frame(1, 1));
    assert!(outbox.expire(FIRST));
    outbox.push_reply(Lane::Control, frame(1, 1));
    outbox.push_event(Lane::Control, frame(1, 1), subject("a", 1));
    assert!(outbox.is_empty());
}

#[test]
fn an_outbox_serves_one_connection_after_the_other() {
    let outbox = small();
    outbox.push_reply(Lane::Control, frame(1, 1));
    assert!(outbox.detach(FIRST));
    outbox.push_event(Lane::Normal, frame(2, 1), subject("a", 1));
    assert!(outbox.is_empty() && outbox.is_away());

    let second = outbox.attach().unwrap();
    outbox.push_reply(Lane::Control, frame(3, 1));
    assert!(!outbox.serves(FIRST) && !outbox.detach(FIRST) && !outbox.expire(FIRST));
    assert_eq!(outbox.register(FIRST, Waker::noop()), Service::Superseded);
    assert_eq!(outbox.register(second, Waker::noop()), Service::On);
    assert_eq!(outbox.take(FIRST, Lane::Control, 100), None);
    assert_eq!(outbox.take(second, Lane::Control, 100).unwrap().bytes, frame(3, 1));

    assert!(outbox.detach(second) && outbox.expire(second));
    assert_eq!(outbox.attach(), None);
}

#[test]
fn with_several_streams_each_conversation_keeps_its_stream_and_its_order() {
    for streams in 1..=4 {
        let outbox = Outbox::new(Config { lane_items: 1000, lane_bytes: ByteSize::kib(64) });
        outbox.set_streams(FIRST, streams);
        let rooms: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].into_iter().enumerate().collect();
        for turn in 0..20 {
            for (room, name) in &rooms {
                let conversation = subject(name, turn).conversation;
                let bytes = Bytes::from(vec![*room as u8, turn as u8]);
                // All of what stands on a lane for a conversation, in turn.
                match (turn as usize + room) % 4 {
                    0 => _ = outbox.push_event(Lane::Normal, bytes, subject(name, turn)),
                    1 => _ = outbox.push_passing(Lane::Normal, bytes, &conversation),
                    2 => _ = outbox.push_run(Lane::Normal, bytes, 1, &conversation),
                    _ => {
                        let way = Way { lane: Lane::Normal, strand: Strand::of(&conversation) };
                        outbox.push_reply(way, bytes);
                    }
                }
            }
        }
        let (mut next, mut slots) = ([0; 7], [None; 7]);
        while let Some(batch) = outbox.take(FIRST, Lane::Normal, 16) {
            assert!(batch.bytes.len() <= 16 && batch.slot < streams);
            for frame in batch.bytes.chunks(2) {
                let room = usize::from(frame[0]);
                assert_eq!(frame[1], next[room], "in order");
                next[room] += 1;
                assert_eq!(*slots[room].get_or_insert(batch.slot), batch.slot, "on one stream");
            }
        }
        assert_eq!(next, [20; 7], "and all of it");
        assert!(outbox.is_empty());
    }
}

#[test]
fn control_has_one_stream_and_the_next_connection_says_its_own_number() {
    let outbox = small();
    outbox.set_streams(FIRST, 4);
    outbox.set_streams(Attachment(7), 2);
    for name in ["a", "b", "c"] {
        outbox.push_latest(Kind(1), subject(name, 1).conversation, frame(1, 1));
    }
    assert_eq!(outbox.take(FIRST, Lane::Control, 100).unwrap().bytes, frame(1, 3));
    assert!(outbox.detach(FIRST));
    let second = outbox.attach().unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(outbox.push_event(Lane::Low, frame(1, 1), subject(name, 1)), 0);
    }
    assert_eq!(outbox.take(second, Lane::Low, 100).unwrap().bytes, frame(1, 3), "one stream, and one batch");
}

#[test]
fn a_busy_conversation_passes_the_others_with_one_batch_and_no_more() {
    let outbox = Outbox::new(Config { lane_items: 1000, lane_bytes: ByteSize::kib(64) });
    outbox.set_streams(FIRST, 4);
    let slot = |name: &str| Strand::of(&subject(name, 1).conversation).slot(4);
    let quiet = ["b", "c", "d", "e", "f"].into_iter().find(|name| slot(name) != slot("a")).unwrap();
    for (byte, name) in [(1, "a"), (2, quiet), (3, "a"), (4, "a"), (5, "a")] {
        assert_eq!(outbox.push_event(Lane::Normal, frame(byte, 10), subject(name, byte.into())), 0);
    }
    let batches = std::iter::from_fn(|| outbox.take(FIRST, Lane::Normal, 25));
    let firsts: Vec<Vec<u8>> =
        batches.map(|batch| batch.bytes.chunks(10).map(|frame| frame[0]).collect()).collect();
    assert_eq!(firsts, [vec![1, 3], vec![2], vec![4, 5]]);
}
