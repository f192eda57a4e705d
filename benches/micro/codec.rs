//! Encoding and decoding a text message of 256 bytes, beside copying as many bytes: the floor in the same run.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use quail_protocol::{
    Conversation, Epoch, Event, Position, Priority, Rev, Seq, Timestamp,
    event::EventBody,
    frame::{Decoder, Head},
    id::{ClientMessageId, MessageId, UserId},
    message::{Content, Message, MessageKind, Text},
};

fn message() -> Message {
    let user = |id| UserId::new(id).unwrap_or_else(|_| unreachable!("a valid id"));
    Message {
        id: MessageId([1; 16]),
        client_id: ClientMessageId([2; 16]),
        conversation: Conversation::Peer(user("bob")),
        sender: user("alice"),
        member: None,
        position: Position { epoch: Epoch(1), seq: Seq(1000) },
        prev: Seq(999),
        priority: Priority::Normal,
        time: Timestamp(1_800_000_000_000),
        ordinal: 1,
        rev: Rev(0),
        recall: None,
        content: Content::new(
            MessageKind::Text,
            Text::encode("x".repeat(254)).unwrap_or_else(|_| unreachable!("a short text")),
        ),
    }
}

fn codec(criterion: &mut Criterion) {
    let message = message();
    let frame = message.to_frame();
    let mut group = criterion.benchmark_group("text of 256 bytes");
    group.bench_function("copy", |bencher| bencher.iter(|| Bytes::copy_from_slice(black_box(&frame))));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&message).to_frame()));
    group.bench_function("decode", |bencher| {
        let mut decoder = Decoder::new(1 << 16);
        bencher.iter(|| {
            decoder.extend(black_box(&frame));
            let Ok(Some(frame)) = decoder.next_frame() else { unreachable!("a whole frame") };
            let Head::Event { kind } = frame.head else { unreachable!("an event") };
            Event::decode(kind, frame.body)
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
