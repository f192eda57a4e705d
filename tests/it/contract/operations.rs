//! Every operation.

mod room;

use futures_util::FutureExt;
use quail_client::{CallError, Cause, State};
use quail_protocol::{
    Code, Seq,
    bounded::{List, Text},
    message::{Ack, Changes},
    operations,
    session::{Cursor, Missed, Ping, RenewToken, Resume},
    user::{Feed, Update},
};
use quail_tests::{FAST, Town, token::Token, within};

use super::{Case, at, play};

const CASES: &[Case] = &[
    ("session.login", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            assert_eq!(alice.states().current(), State::Connected);
        }
        .boxed_local()
    }),
    ("session.logout", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            within(alice.close()).await;
            assert_eq!(alice.states().current(), State::Disconnected { cause: Cause::LoggedOut });
        }
        .boxed_local()
    }),
    ("session.ping", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            let pong = alice.call(Ping {}).await.unwrap();
            assert!(pong.time.0.abs_diff(alice.server_time().0) < 60_000);
        }
        .boxed_local()
    }),
    ("session.renew_token", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            let later = Token::new(FAST, &stage.user("alice"))
                .with(|token| token.claims.exp = token.claims.exp.map(|exp| exp + 1000));
            let renew = RenewToken { token: Text::new(later.sign()).unwrap() };
            let renewed = alice.call(renew).await.unwrap();
            assert_eq!(renewed.token_expires.0, later.claims.exp.unwrap() * 1000);
        }
        .boxed_local()
    }),
    ("session.visit", |stage| {
        async {
            let room = stage.room().await;
            let (visitor, _events) = stage.visit().await;
            let entered = visitor.room(room.alices.id().as_str()).unwrap().join(0).await.unwrap();
            assert_eq!((entered.state.members, entered.state.visitors, entered.state.role), (2, 1, None));
        }
        .boxed_local()
    }),
    ("session.resume", |stage| {
        async {
            let pair = stage.pair().await;
            let sent = pair.say("1").await;
            pair.say("2").await;
            let cursor = |seq| Cursor {
                conversation: pair.peer.message("x").conversation().clone(),
                position: at(sent.position, seq),
                ahead: List::default(),
                rev: sent.rev,
            };
            let cursors = List::new(vec![cursor(1), cursor(2)]).unwrap();
            let resumed = pair.alice.call(Resume { cursors }).await.unwrap();
            let missed: Vec<_> = resumed.answers.iter().map(|answer| answer.missed).collect();
            assert_eq!(missed, [Missed::Replay, Missed::CaughtUp]);
        }
        .boxed_local()
    }),
    ("user.query", |stage| {
        async {
            let pair = stage.pair().await;
            let users = [pair.bob.user_id().clone(), pair.alice.user_id().clone()];
            let profiles = pair.alice.profiles(users.clone()).await.unwrap();
            assert_eq!(profiles.into_iter().map(|profile| profile.user).collect::<Vec<_>>(), users);
        }
        .boxed_local()
    }),
    ("user.update", |stage| {
        async {
            let pair = stage.pair().await;
            let update = Update {
                name: Some(Text::new("Alice").unwrap()),
                avatar: Some(Text::new("a.png").unwrap()),
                extension: Some(quail_protocol::user::ProfileExtension::new(&b"\x00\xff"[..]).unwrap()),
            };
            let updated = pair.alice.call(update).await.unwrap().profile;
            let seen = pair.bob.profiles([pair.alice.user_id().clone()]).await.unwrap();
            assert_eq!(seen[0], updated);
            assert_eq!((updated.avatar.as_str(), &updated.extension[..]), ("a.png", &b"\x00\xff"[..]));
        }
        .boxed_local()
    }),
    ("user.feed", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            let name = Some(Text::new("Al").unwrap());
            alice.call(Update { name, avatar: None, extension: None }).await.unwrap();
            let page = alice.call(Feed { after: Seq(0), limit: 10 }).await.unwrap();
            assert_eq!((page.entries.len(), page.head.seq), (1, Seq(1)));
        }
        .boxed_local()
    }),
    ("conversation.mark", |stage| {
        async {
            let pair = stage.pair().await;
            for text in ["1", "2", "3"] {
                pair.say(text).await;
            }
            let sent = pair.say("4").await;
            let marked = pair.back.mark_delivered(at(sent.position, 3)).await.unwrap();
            assert_eq!((marked.delivered, marked.read, marked.unread), (Seq(3), Seq(0), 4));
            let marked = pair.back.mark_read(at(sent.position, 2)).await.unwrap();
            assert_eq!((marked.delivered, marked.read, marked.unread), (Seq(3), Seq(2), 2));
        }
        .boxed_local()
    }),
    ("conversation.sync", |stage| {
        async {
            let pair = stage.pair().await;
            let sent = pair.say("1").await;
            pair.back.mark_read(sent.position).await.unwrap();
            let page = pair.alice.conversations(None).await.unwrap();
            let [summary] = &page.conversations[..] else { panic!("{page:?}") };
            assert_eq!((summary.head, summary.unread), (sent.position, 0), "one's own is never unread");
            assert_eq!((summary.peer_delivered, summary.peer_read), (Seq(1), Seq(1)));
        }
        .boxed_local()
    }),
    ("message.send", |stage| {
        async {
            let pair = stage.pair().await;
            assert_eq!(pair.say("hi").await.ack, Ack::Durable);
        }
        .boxed_local()
    }),
    ("message.history", |stage| {
        async {
            let pair = stage.pair().await;
            for text in ["1", "2", "3"] {
                pair.say(text).await;
            }
            let seqs = |page: quail_protocol::message::Page| {
                let seqs: Vec<_> = page.messages.iter().map(|message| message.position.seq.0).collect();
                (seqs, page.next.map(|next| next.0))
            };
            assert_eq!(seqs(pair.peer.history(1..=2).await.unwrap()), (vec![1, 2], None));
            assert_eq!(seqs(pair.back.history_backwards(..=2).await.unwrap()), (vec![1, 2], None));
        }
        .boxed_local()
    }),
    ("message.recall", |stage| {
        async {
            let pair = stage.pair().await;
            let sent = pair.say("oh no").await;
            let recalled = pair.peer.recall(sent.position).await.unwrap();
            assert_eq!(recalled.rev.0, 1);
            assert_eq!(pair.peer.recall(sent.position).await.unwrap(), recalled, "once more");
            let page = pair.back.history(..).await.unwrap();
            assert!(page.messages[0].content.body.is_empty() && page.messages[0].recall.is_some());
            let by_bob = pair.back.recall(sent.position).await;
            assert!(matches!(by_bob, Err(CallError::Reject(reject)) if reject.code == Code::NotSender));
        }
        .boxed_local()
    }),
    ("message.changes", |stage| {
        async {
            let pair = stage.pair().await;
            let sent = [pair.say("1").await, pair.say("2").await, pair.say("3").await];
            for seq in [2, 0] {
                pair.peer.recall(sent[seq].position).await.unwrap();
            }
            let conversation = pair.back.message("x").conversation().clone();
            let read = async |since, limit| {
                let since = quail_protocol::Rev(since);
                let query = Changes { conversation: conversation.clone(), since, limit };
                let page = pair.bob.call(query).await.unwrap();
                let seqs: Vec<_> = page.messages.iter().map(|message| message.position.seq.0).collect();
                (seqs, page.rev.0, page.more)
            };
            assert_eq!(read(0, 100).await, (vec![3, 1], 2, false));
            assert_eq!(read(0, 1).await, (vec![3], 1, true));
            assert_eq!(read(1, 100).await, (vec![1], 2, false));
            assert_eq!(read(2, 100).await, (vec![], 2, false));
        }
        .boxed_local()
    }),
];

#[tokio::test]
async fn every_operation_is_served_through_the_client() {
    let town = Town::new().await;
    play(&town, operations().map(|info| info.name.to_owned()), &[CASES, room::CASES].concat()).await;
}
