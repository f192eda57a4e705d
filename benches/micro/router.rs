//! A request from its body to its reply in the outbox; beside it the same done by hand.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use quail_protocol::{
    Lane, Operation,
    bounded::List,
    frame::{self, Head, Outcome},
    id::{AppId, DeviceId, SessionId, UserId},
    session::{Ping, PlatformClass, Pong},
    user::{Profiles, Query},
};
use quail_server::{
    addresses::Addresses,
    apps::{self, Rates, Seats},
    clock::Clock,
    context::{Context, Shared},
    entropy::Entropy,
    hub::{Hub, rooms::Rooms},
    services,
    session::{self, Identity, Session, Streams, outbox::Attachment},
    store::{ProfileChange, Store, Write, commit::Committer, memory::Memory},
    telemetry::Metrics,
};

const TAKE_BYTES_MAX: usize = 16 * 1024;

fn ids() -> (AppId, UserId, DeviceId) {
    let (app, user, device) = (AppId::new("demo"), UserId::new("alice"), DeviceId::new("bench"));
    let (Ok(app), Ok(user), Ok(device)) = (app, user, device) else { unreachable!("valid ids") };
    (app, user, device)
}

/// A logged-in session of a server whose rates are out of the way.
fn context() -> Context {
    let (app, user, device) = ids();
    let entropy = Entropy::seeded(1);
    let rates = Rates::all(u32::MAX);
    let store = Memory::new(entropy.hasher());
    let profile = ProfileChange {
        app: app.clone(),
        user: user.clone(),
        name: None,
        avatar: None,
        extension: None,
        time: Clock::system().timestamp(),
    };
    let kept = store.write_batch(vec![Write::Profile(profile)]).now_or_never();
    assert!(kept.is_some_and(|kept| kept.is_ok()), "a user is known");
    let config = session::Config::default();
    let session = Arc::new(Session::new(config.outbox.clone()));
    let identity = Identity {
        app: app.clone(),
        user,
        device,
        class: PlatformClass::Other,
        session: SessionId::at(1, [1; 10]),
    };
    assert!(session.log_in(identity, Streams::default()).is_ok(), "nobody else is there");
    let (committer, metrics) = (Committer::default(), Metrics::new());
    let addresses = Addresses::new(Default::default(), false, entropy.hasher(), metrics.clone());
    let shared = Shared {
        addresses: Arc::new(addresses),
        seats: Seats::default(),
        visitor_seats: Seats::default(),
        apps: BTreeMap::from([(app, apps::Config { rates, ..apps::Config::default() })]),
        clock: Clock::system(),
        hub: Arc::new(Hub::new(entropy.hasher())),
        rooms: Arc::new(Rooms::new(entropy.hasher(), committer.clone(), metrics.clone())),
        store: Arc::new(store),
        entropy,
        committer,
        metrics,
        session: config,
    };
    Context { session, shared: Arc::new(shared) }
}

/// Puts a reply into the outbox and takes it out again.
fn reply(context: &Context, reply: &impl serde::Serialize) -> usize {
    let head = Head::Reply { request_id: 1, outcome: Outcome::Ok };
    context.session.outbox.push_reply(Lane::Control, frame::encode(&head, reply));
    taken(context)
}

fn taken(context: &Context) -> usize {
    let taken = context.session.outbox.take(Attachment::default(), Lane::Control, TAKE_BYTES_MAX);
    taken.map_or(0, |taken| taken.bytes.len())
}

fn router(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| unreachable!("a runtime: {error}"));
    let _entered = runtime.enter();
    let (context, router) = (context(), services::routes());
    let (app, user, _) = ids();
    let users = List::new(vec![user]).unwrap_or_else(|_| unreachable!("one user"));
    let query = Bytes::from(frame::encode_body(&Query { users }));
    let served = |opcode, body: &Bytes| {
        let served = router.serve(context.clone(), 1, opcode, body.clone()).now_or_never();
        assert!(served.is_some(), "nothing is waited for");
        taken(&context)
    };

    let mut group = criterion.benchmark_group("a ping");
    let ping = || Pong { time: context.shared.clock.timestamp() };
    group.bench_function("by hand", |bencher| bencher.iter(|| reply(&context, black_box(&ping()))));
    group.bench_function("router", |bencher| {
        bencher.iter(|| served(Ping::INFO.opcode, black_box(&Bytes::new())));
    });
    group.finish();

    let mut group = criterion.benchmark_group("a query for one user");
    group.bench_function("by hand", |bencher| {
        bencher.iter(|| {
            let Ok(query) = frame::decode::<Query>(black_box(&query)) else { unreachable!("a query") };
            let found = context.shared.store.profiles(&app, &query.users).now_or_never();
            let Some(Ok(found)) = found else { unreachable!("in memory") };
            let profiles = List::new(found).unwrap_or_else(|_| unreachable!("one user"));
            reply(&context, &Profiles { profiles })
        });
    });
    group.bench_function("router", |bencher| {
        bencher.iter(|| served(Query::INFO.opcode, black_box(&query)));
    });
    group.finish();
}

criterion_group!(benches, router);
criterion_main!(benches);
