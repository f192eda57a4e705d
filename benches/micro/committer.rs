//! Batches of messages through the committer into the store that forgets; beside it the store alone.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use quail_protocol::{
    Conversation, Priority, Timestamp,
    id::{AppId, ClientMessageId, MessageId, UserId},
    message::{Content, MessageKind, Text},
};
use quail_server::{
    clock::Clock,
    entropy::Entropy,
    store::{
        Append, ConversationKey, Store, Write, Written,
        commit::{Committer, Stage, Submission},
        memory::Memory,
    },
};

fn message(number: u64) -> Write {
    let user = |id| UserId::new(id).unwrap_or_else(|_| unreachable!("a valid id"));
    let app = AppId::new("demo").unwrap_or_else(|_| unreachable!("a valid id"));
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Write::Append(Append {
        key: ConversationKey::peer(&app, &user("alice"), &user("bob")),
        conversation: Conversation::Peer(user("bob")),
        sender: user("alice"),
        member: None,
        id: MessageId::at(1, random),
        client_id: ClientMessageId::at(1, random),
        time: Timestamp(1),
        asked: Priority::Normal,
        priority: Priority::Normal,
        content: Content::new(
            MessageKind::Text,
            Text::encode("x".repeat(254)).unwrap_or_else(|_| unreachable!("a short text")),
        ),
        known: None,
        keep: None,
    })
}

/// Tells nobody.
struct Nobody;

impl Stage<()> for Nobody {
    fn admits(&self, (): &()) -> bool {
        true
    }

    fn refuse(&self, (): ()) {}

    fn deliver(&self, (): (), _: Option<Written>) {}
}

fn committer(criterion: &mut Criterion) {
    let hasher = || Entropy::seeded(1).hasher();
    for messages in [1, 64, 1024] {
        let batch = || (0..messages).map(message).collect::<Vec<_>>();
        let mut group = criterion.benchmark_group(format!("a batch of {messages}"));
        group.throughput(Throughput::Elements(messages));
        group.bench_function("store", |bencher| {
            let setup = || (Memory::new(hasher()), batch());
            let run = |(store, batch): (Memory, Vec<Write>)| {
                let written = store.write_batch(batch).now_or_never();
                (store, written)
            };
            bencher.iter_batched(setup, run, BatchSize::SmallInput);
        });
        group.bench_function("committer", |bencher| {
            let setup = || (Arc::new(Memory::new(hasher())), Committer::default(), batch());
            let run = |(store, committer, batch): (Arc<Memory>, Committer<()>, Vec<Write>)| {
                for write in batch {
                    _ = committer.submit(Submission { write, ticket: () });
                }
                committer.close();
                let ended = committer.run(store.clone(), Nobody, Clock::system()).now_or_never();
                assert!(ended.is_some_and(|ended| ended.is_ok()), "a closed committer ends");
                store
            };
            bencher.iter_batched(setup, run, BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, committer);
criterion_main!(benches);
