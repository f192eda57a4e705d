//! Every limit that a login tells of.

use futures_util::{FutureExt, future::join_all};
use postcard_schema::{Schema, schema::DataModelType};
use quail_client::{CallError, Peer, SignalError};
use quail_protocol::{
    Code, Event, Seq,
    bounded::{Blob, Text as Bounded},
    message::{Command, Custom, Image, MessageBody, Send, SignalBody, SignalKind, Text},
    session::{Limits, Ping},
    user::{Feed, Update},
};
use quail_server::apps::Rates;
use quail_tests::{FAST, Town, within};

use super::{Case, next, play};

/// Per second, for everything on the stage of rates.
const RATE: u32 = 20;

fn rejected(result: Result<impl std::fmt::Debug, CallError>) -> Option<Code> {
    match result {
        Err(CallError::Reject(reject)) => {
            assert_eq!(reject.code == Code::RateLimited, reject.retry_after_ms.is_some(), "{reject}");
            Some(reject.code)
        }
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

async fn send(peer: &Peer, body: &impl MessageBody) -> Option<Code> {
    rejected(within(peer.compose(body).send()).await.map_err(CallError::from))
}

/// The largest body passes and one byte more does not.
async fn bounded<B: MessageBody>(peer: &Peer, max: u32, body: impl Fn(usize) -> B) {
    let beside = body(0).to_content().unwrap().body.len();
    // A longer body has a longer length prefix.
    let largest = (0..4).map(|more| body(max as usize - beside - more));
    let largest =
        largest.into_iter().find(|body| body.to_content().unwrap().body.len() == max as usize).unwrap();
    assert_eq!(send(peer, &largest).await, None);
    assert_eq!(send(peer, &body(max as usize - beside + 1)).await, Some(Code::MessageTooLarge));
}

/// Asks more often than is allowed: as many as that pass, and the others learn when to come back.
async fn throttled(rate: u32, ask: impl AsyncFn(u32) -> Option<Code>) {
    assert_eq!(rate, RATE);
    let asked = join_all((0..3 * rate).map(|i| ask(i))).await;
    let passed = asked.iter().filter(|code| code.is_none()).count() as u32;
    // While they were asked the bucket may have got a few more.
    assert!((rate..2 * rate).contains(&passed), "{passed} of {}", asked.len());
    assert!(asked.into_iter().flatten().all(|code| code == Code::RateLimited));
}

fn custom(bytes: usize) -> Custom {
    Custom { type_name: Bounded::new("t").unwrap(), subtype: 0, data: Blob::new(vec![0; bytes]).unwrap() }
}

fn command(bytes: usize) -> Command {
    Command { name: Default::default(), data: Blob::new(vec![0; bytes]).unwrap() }
}

fn image(bytes: usize) -> Image {
    let thumbnail = Blob::new(vec![0; bytes]).unwrap();
    Image { thumbnail, url: Default::default(), width: 0, height: 0, size: 0 }
}

const CASES: &[Case] = &[
    ("frame_bytes", |stage| {
        async {
            let pair = stage.pair().await;
            let content = custom(0).to_content().unwrap();
            let to = pair.peer.message("x");
            let (conversation, id, max) =
                (to.conversation().clone(), to.id(), pair.alice.limits().frame_bytes);
            assert_eq!(max, 256 * 1024);
            let mut send = Send { conversation, id, priority: Default::default(), content };
            send.content.body = Blob::new(vec![0; 160 * 1024]).unwrap();
            assert_eq!(rejected(pair.alice.call(send).await), Some(Code::MessageTooLarge), "it fits a frame");
        }
        .boxed_local()
    }),
    ("requests_in_flight", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            let max = alice.limits().requests_in_flight;
            let pings = join_all((0..10 * max).map(|_| alice.call(Ping {}))).await;
            assert!(pings.iter().all(Result::is_ok), "what is over {max} waits its turn");
        }
        .boxed_local()
    }),
    ("text_bytes", |stage| {
        async {
            let pair = stage.pair().await;
            let text = |bytes| Text { text: "x".repeat(bytes) };
            let max = pair.alice.limits().text_bytes as usize;
            assert_eq!(send(&pair.peer, &text(max)).await, None);
            assert_eq!(send(&pair.peer, &text(max + 1)).await, Some(Code::MessageTooLarge));
        }
        .boxed_local()
    }),
    ("media_bytes", |stage| {
        async {
            let pair = stage.pair().await;
            bounded(&pair.peer, pair.alice.limits().media_bytes, image).await;
        }
        .boxed_local()
    }),
    ("custom_bytes", |stage| {
        async {
            let pair = stage.pair().await;
            bounded(&pair.peer, pair.alice.limits().custom_bytes, custom).await;
        }
        .boxed_local()
    }),
    ("command_bytes", |stage| {
        async {
            let pair = stage.pair().await;
            bounded(&pair.peer, pair.alice.limits().command_bytes, command).await;
        }
        .boxed_local()
    }),
    ("barrage_bytes", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            assert_eq!(alice.limits().barrage_bytes, 64, "told, for the conversations that carry them");
        }
        .boxed_local()
    }),
    ("signal_bytes", |stage| {
        async {
            let mut pair = stage.pair().await;
            let max = pair.alice.limits().signal_bytes as usize;
            let body = |bytes| SignalBody::new(vec![0; bytes]).unwrap();
            pair.peer.signal(SignalKind::Custom, body(max)).unwrap();
            let told = next(&mut pair.to_bob, |event| match event {
                Event::Signaled(signaled) => Some(signaled.body.len()),
                _ => None,
            });
            assert_eq!(told.await, max);
            let refused = pair.peer.signal(SignalKind::Custom, body(max + 1));
            assert!(matches!(refused, Err(SignalError::TooLarge(_))));
        }
        .boxed_local()
    }),
    ("texts_per_second", |stage| {
        async {
            let pair = stage.pair().await;
            throttled(pair.alice.limits().texts_per_second, async |_| {
                send(&pair.peer, &Text { text: "x".into() }).await
            })
            .await;
        }
        .boxed_local()
    }),
    ("customs_per_second", |stage| {
        async {
            let pair = stage.pair().await;
            // Structured kinds share the rate of custom messages.
            throttled(pair.alice.limits().customs_per_second, async |i| {
                if i % 2 == 0 {
                    send(&pair.peer, &custom(1)).await
                } else {
                    send(&pair.peer, &image(1)).await
                }
            })
            .await;
            assert_eq!(send(&pair.peer, &Text { text: "x".into() }).await, None, "texts have their own");
        }
        .boxed_local()
    }),
    ("commands_per_second", |stage| {
        async {
            let pair = stage.pair().await;
            let rate = pair.alice.limits().commands_per_second;
            throttled(rate, async |_| send(&pair.peer, &command(1)).await).await;
        }
        .boxed_local()
    }),
    ("barrages_per_second", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            assert_eq!(
                alice.limits().barrages_per_second,
                RATE,
                "told, for the conversations that carry them"
            );
        }
        .boxed_local()
    }),
    ("signals_per_second", |stage| {
        async {
            let mut pair = stage.pair().await;
            let rate = pair.alice.limits().signals_per_second;
            let sent = (0..3 * rate).filter(|_| pair.peer.typing().is_ok()).count();
            assert!((rate as usize..2 * rate as usize).contains(&sent), "the client keeps the limit: {sent}");
            assert_eq!(pair.peer.typing(), Err(SignalError::TooOften));
            next(&mut pair.to_bob, |event| matches!(event, Event::Signaled(_)).then_some(())).await;
        }
        .boxed_local()
    }),
    ("queries_per_second", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            throttled(alice.limits().queries_per_second, async |_| {
                rejected(alice.call(Feed { after: Seq(0), limit: 1 }).await)
            })
            .await;
        }
        .boxed_local()
    }),
    ("changes_per_second", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            throttled(alice.limits().changes_per_second, async |_| {
                rejected(alice.call(Update { name: None, avatar: None, extension: None }).await)
            })
            .await;
        }
        .boxed_local()
    }),
    ("ping_after_ms", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            assert_eq!(alice.limits().ping_after_ms, 10_000);
        }
        .boxed_local()
    }),
    ("idle_timeout_ms", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            assert_eq!(alice.limits().idle_timeout_ms, 30_000);
        }
        .boxed_local()
    }),
    ("recall_window_ms", |stage| {
        async {
            let pair = stage.pair().await;
            assert_eq!(pair.alice.limits().recall_window_ms, 1);
            let sent = pair.say("too late").await;
            // A message later the server's clock has gone on.
            while pair.alice.call(Ping {}).await.unwrap().time.0 <= sent.time.0 + 1 {}
            assert_eq!(rejected(pair.peer.recall(sent.position).await), Some(Code::RecallTooLate));
        }
        .boxed_local()
    }),
    ("grace_ms", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            assert_eq!(alice.limits().grace_ms, 30_000);
        }
        .boxed_local()
    }),
];

#[tokio::test]
async fn every_limit_is_told_at_login_and_holds() {
    let town = Town::with(|config| {
        let app = config.apps.get_mut(FAST).unwrap();
        app.rates = Rates::all(RATE);
        app.sizes.barrage = bytesize::ByteSize(64);
        app.sizes.signal = bytesize::ByteSize(100);
        app.recall_window = std::time::Duration::from_millis(1);
    })
    .await;
    let DataModelType::Struct(fields) = Limits::SCHEMA.ty else { panic!("limits are a struct") };
    play(&town, fields.iter().map(|field| field.name.to_owned()), CASES).await;
}
