//! Events of 256 bytes through an outbox, taken one, sixteen and sixty-four at a time; beside it a bare queue of the
//! same bytes, and joining them alone.

use std::{collections::VecDeque, hint::black_box};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quail_protocol::{Conversation, Epoch, Lane, Position, Seq, id::UserId};
use quail_server::session::outbox::{self, Attachment, Outbox, Subject};

const TAKE_BYTES_MAX: usize = 16 * 1024;

fn outbox(criterion: &mut Criterion) {
    let frame = Bytes::from(vec![7; 256]);
    let bob = UserId::new("bob").unwrap_or_else(|_| unreachable!("a valid id"));
    let position = Position { epoch: Epoch(1), seq: Seq(1) };
    let subject = Subject { conversation: Conversation::Peer(bob), head: position, rev: Default::default() };
    for frames in [1, 16, 64] {
        let mut group = criterion.benchmark_group(format!("{frames} events of 256 bytes"));
        group.throughput(Throughput::Elements(frames));
        group.bench_function("queue", |bencher| {
            let mut queue = VecDeque::new();
            bencher.iter(|| {
                queue.extend((0..frames).map(|_| black_box(&frame).clone()));
                queue.drain(..).map(|frame| frame.len()).sum::<usize>()
            });
        });
        group.bench_function("join", |bencher| {
            bencher.iter(|| {
                let mut joined = BytesMut::with_capacity(1024);
                (0..frames).for_each(|_| joined.extend_from_slice(black_box(&frame)));
                joined.freeze()
            });
        });
        group.bench_function("outbox", |bencher| {
            let outbox = Outbox::new(outbox::Config::default());
            bencher.iter(|| {
                for _ in 0..frames {
                    outbox.push_event(Lane::Normal, black_box(&frame).clone(), subject.clone());
                }
                outbox.take(Attachment::default(), Lane::Normal, TAKE_BYTES_MAX)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, outbox);
criterion_main!(benches);
