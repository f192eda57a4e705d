//! Every operation.

use futures_util::FutureExt;
use quail_client::{CallError, Cause, State};
use quail_protocol::{
    Code, Seq,
    bounded::{List, Text},
    id::UserId,
    message::{Ack, Changes},
    operations,
    room::{EntryStatus, Role, Settings, UpdateInfo},
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
    ("room.create", |stage| {
        async {
            let room = stage.room().await;
            let exists = room.bobs.create(Settings::default()).await;
            assert!(matches!(exists, Ok(entered) if entered.status == EntryStatus::AlreadyIn));
            assert_eq!(room.alices.info().await.unwrap().owner, *room.alice.user_id());
        }
        .boxed_local()
    }),
    ("room.join", |stage| {
        async {
            let room = stage.room().await;
            room.alices.send("1").await.unwrap();
            assert_eq!(room.bobs.join(5).await.unwrap().recent.len(), 1);
        }
        .boxed_local()
    }),
    ("room.enter", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            let entered =
                alice.room(stage.user("room")).unwrap().enter(Settings::default(), 5).await.unwrap();
            assert_eq!(entered.status, EntryStatus::Created);
        }
        .boxed_local()
    }),
    ("room.leave", |stage| {
        async {
            let room = stage.room().await;
            let sent = room.alices.send("1").await.unwrap();
            assert_eq!(room.bobs.leave().await.unwrap().last, sent.position);
            assert_eq!(room.alices.info().await.unwrap().members, 1);
        }
        .boxed_local()
    }),
    ("room.leave_all", |stage| {
        async {
            let room = stage.room().await;
            assert_eq!(room.bob.leave_rooms().await.unwrap(), 1);
            assert_eq!(room.bob.leave_rooms().await.unwrap(), 0);
        }
        .boxed_local()
    }),
    ("room.dismiss", |stage| {
        async {
            let room = stage.room().await;
            let sent = room.bobs.send("1").await.unwrap();
            assert_eq!(room.alices.dismiss().await.unwrap().last, sent.position);
        }
        .boxed_local()
    }),
    ("room.update_info", |stage| {
        async {
            let room = stage.room().await;
            let name = Some(Text::new("Lobby").unwrap());
            let id = room.alices.id().clone();
            let update = UpdateInfo { room: id, name, notice: None, avatar: None, extension: None };
            assert_eq!(room.alices.update_info(update).await.unwrap().info.name.as_str(), "Lobby");
        }
        .boxed_local()
    }),
    ("room.info", |stage| {
        async {
            let state = stage.room().await.bobs.info().await.unwrap();
            assert_eq!((state.members, state.role), (2, Some(Role::Member)));
        }
        .boxed_local()
    }),
    ("room.members", |stage| {
        async {
            let room = stage.room().await;
            let page = room.bobs.members(0, 1).await.unwrap();
            assert_eq!((page.count, &page.members[0].user), (2, room.alice.user_id()));
            let page = room.bobs.members(page.next.unwrap(), 1).await.unwrap();
            assert_eq!((&page.members[0].user, page.next), (room.bob.user_id(), None));
        }
        .boxed_local()
    }),
    ("room.set_attributes", |stage| {
        async {
            let room = stage.room().await;
            let set = room.bobs.set_attributes([("seat", "bob")], Default::default()).await.unwrap();
            assert_eq!((set.version, room.alices.info().await.unwrap().attributes_version), (1, 1));
        }
        .boxed_local()
    }),
    ("room.delete_attributes", |stage| {
        async {
            let room = stage.room().await;
            room.bobs.set_attributes([("seat", "bob")], Default::default()).await.unwrap();
            assert_eq!(room.bobs.delete_attributes(["seat", "none"], false).await.unwrap().version, 2);
            assert!(room.bobs.attributes().await.unwrap().attributes.is_empty());
        }
        .boxed_local()
    }),
    ("room.attributes", |stage| {
        async {
            let room = stage.room().await;
            room.bobs.set_attributes([("b", "2"), ("a", "1")], Default::default()).await.unwrap();
            let page = room.alices.attributes().await.unwrap();
            let pairs: Vec<_> = page
                .attributes
                .iter()
                .map(|held| (held.key.as_str(), &held.value[..], &held.owner))
                .collect();
            let bob = room.bob.user_id();
            assert_eq!((page.version, pairs), (1, vec![("a", &b"1"[..], bob), ("b", &b"2"[..], bob)]));
        }
        .boxed_local()
    }),
    ("room.set_member_attributes", |stage| {
        async {
            let room = stage.room().await;
            let users = [room.bob.user_id().clone(), UserId::new("nobody").unwrap()];
            let set = room.alices.set_member_attributes(users, [("hand", "up")], []).await.unwrap();
            assert_eq!((set.version, set.missing[0].as_str()), (1, "nobody"));
        }
        .boxed_local()
    }),
    ("room.member_attributes", |stage| {
        async {
            let room = stage.room().await;
            room.bobs.set_own_attributes([("hand", "up")]).await.unwrap();
            let users = [room.alice.user_id().clone(), room.bob.user_id().clone()];
            let page = room.alices.member_attributes(users).await.unwrap();
            assert_eq!((page.version, page.answered, page.members[0].attributes.len()), (1, 2, 0));
            assert_eq!(&page.members[1].attributes[0].value[..], b"up");
        }
        .boxed_local()
    }),
    ("room.set_counters", |stage| {
        async {
            let room = stage.room().await;
            let set = room.alices.set_counters([("right", -3), ("wrong", 0)]).await.unwrap();
            assert_eq!((set.version, set.counters[0].value), (1, -3));
            room.alices.delete_counters(["right"]).await.unwrap();
            assert_eq!(room.alices.counters().await.unwrap().counters[..], set.counters[1..]);
        }
        .boxed_local()
    }),
    ("room.increase_counters", |stage| {
        async {
            let room = stage.room().await;
            let increase = room.alices.increase([("right", 2)]).unwrap();
            for told in [1, 2] {
                let stand = room.alice.call(increase.clone()).await.unwrap();
                assert_eq!((stand.version, stand.counters[0].value), (1, 2), "told {told} times");
            }
            assert_eq!(room.alices.increase_counters([("right", -5)]).await.unwrap().counters[0].value, -3);
        }
        .boxed_local()
    }),
    ("room.counters", |stage| {
        async {
            let room = stage.room().await;
            let set = room.alices.set_counters([("right", 1)]).await.unwrap();
            let page = room.bobs.counters().await.unwrap();
            assert_eq!((page.version, page.counters), (set.version, set.counters));
        }
        .boxed_local()
    }),
];

#[tokio::test]
async fn every_operation_is_served_through_the_client() {
    let town = Town::new().await;
    play(&town, operations().map(|info| info.name.to_owned()), CASES).await;
}
