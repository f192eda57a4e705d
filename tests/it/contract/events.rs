//! Every event.

use std::time::Duration;

use futures_util::FutureExt;
use quail_client::{Until, storage::Memory};
use quail_protocol::{
    Event, Rev, Seq, Timestamp,
    bounded::Text,
    event::EVENTS,
    message::{BehindCause, Command, SignalBody, SignalKind},
    room::{LeaveCause, RestrictionKind, Role, UpdateInfo},
    user::Update,
};
use quail_tests::{FAST, Town, next_message, token::Token, within};

use super::{Case, next, play};

/// Entries that each conversation keeps on this stage.
const KEPT: u64 = 3;

const CASES: &[Case] = &[
    ("session.draining", |stage| {
        async {
            // A town of its own: it is stopped.
            let town = Town::new().await;
            let (_alice, mut events) = town.connect(stage.carrier, "alice").await;
            let stopping = town.stop();
            let told = next(&mut events, |event| match event {
                Event::Draining(draining) => Some(draining),
                _ => None,
            });
            let (draining, ()) = futures_util::future::join(told, stopping).await;
            assert!((1000..60_000).contains(&draining.retry_after_ms));
        }
        .boxed_local()
    }),
    ("session.token_will_expire", |stage| {
        async {
            let token = Token::new(FAST, &stage.user("alice"))
                .with(|token| token.claims.exp = Some(quail_tests::token::now() + 20));
            let alice = stage.town.client(stage.carrier, &stage.user("alice")).token(token.sign());
            let (_alice, mut events) = within(alice.connect()).await.unwrap();
            let seconds = next(&mut events, |event| match event {
                Event::TokenWillExpire(soon) => Some(soon.seconds),
                _ => None,
            });
            assert!((10..=21).contains(&seconds.await));
        }
        .boxed_local()
    }),
    ("user.updated", |stage| {
        async {
            let (phone, _events) = stage.connect("alice").await;
            let (_laptop, mut to_laptop) = stage.connect("alice").await;
            let name = Some(Text::new("Al").unwrap());
            let updated = phone.call(Update { name, avatar: None, extension: None }).await.unwrap();
            let told = next(&mut to_laptop, |event| match event {
                Event::ProfileUpdated(told) => Some(told.profile),
                _ => None,
            });
            assert_eq!(told.await, updated.profile);
        }
        .boxed_local()
    }),
    ("conversation.marked", |stage| {
        async {
            let pair = stage.pair().await;
            let (_laptop, mut to_laptop) = stage.connect("bob").await;
            pair.say("1").await;
            let sent = pair.say("2").await;
            pair.back.mark_read(super::at(sent.position, 1)).await.unwrap();
            let told = next(&mut to_laptop, |event| match event {
                Event::ConversationMarked(marked) => Some((marked.delivered, marked.read, marked.unread)),
                _ => None,
            });
            assert_eq!(told.await, (Seq(1), Seq(1), 1));
        }
        .boxed_local()
    }),
    ("conversation.peer_marked", |stage| {
        async {
            let mut pair = stage.pair().await;
            let sent = pair.say("1").await;
            pair.back.mark_delivered(sent.position).await.unwrap();
            pair.back.mark_read(sent.position).await.unwrap();
            for expected in [(Seq(1), Seq(0)), (Seq(1), Seq(1))] {
                let told = next(&mut pair.to_alice, |event| match event {
                    Event::PeerMarked(marked) => Some((marked.delivered, marked.read)),
                    _ => None,
                });
                assert_eq!(told.await, expected);
            }
        }
        .boxed_local()
    }),
    ("message.sent", |stage| {
        async {
            let mut pair = stage.pair().await;
            let sent = pair.say("hi").await;
            let heard = next_message(&mut pair.to_bob).await;
            assert_eq!((heard.id, heard.position, heard.ordinal), (sent.id, sent.position, 1));
            assert!(!pair.to_bob.waited(), "bob was there");
        }
        .boxed_local()
    }),
    ("message.behind", |stage| {
        async {
            let storage = Memory::default();
            let bob = || stage.town.client(stage.carrier, &stage.user("bob")).storage(storage.clone());
            let (alice, _events) = stage.connect("alice").await;
            let peer = alice.peer(stage.user("bob")).unwrap();
            let (first, mut events) = within(bob().connect()).await.unwrap();
            peer.send("1").await.unwrap();
            next_message(&mut events).await;
            within(first.close()).await;
            drop((first, events));
            for _ in 0..2 * KEPT {
                peer.send("x").await.unwrap();
            }
            let (_again, mut events) = within(bob().connect()).await.unwrap();
            let cause = next(&mut events, |event| match event {
                Event::Behind(behind) => Some(behind.cause),
                _ => None,
            });
            assert_eq!(cause.await, BehindCause::Trimmed);
            assert_eq!(next_message(&mut events).await.position.seq.0, 2 * KEPT + 1 - KEPT + 1);
            assert!(events.waited(), "it was placed before bob was back");
        }
        .boxed_local()
    }),
    ("message.changed", |stage| {
        async {
            let mut pair = stage.pair().await;
            let (_laptop, mut to_laptop) = stage.connect("alice").await;
            let sent = pair.say("oh no").await;
            pair.peer.recall(sent.position).await.unwrap();
            for events in [&mut pair.to_bob, &mut to_laptop] {
                assert_eq!(next_message(events).await.position, sent.position);
                let changed = next(events, |event| match event {
                    Event::MessageChanged(changed) => Some(changed),
                    _ => None,
                });
                let changed = changed.await;
                assert_eq!((changed.prev, changed.message.rev), (Rev(0), Rev(1)));
                assert_eq!(changed.message.recall.unwrap().operator, *pair.alice.user_id());
            }
        }
        .boxed_local()
    }),
    ("message.passed", |stage| {
        async {
            let mut pair = stage.pair().await;
            let sent = pair.say("hi").await;
            let command = Command { name: Text::new("dim").unwrap(), data: Default::default() };
            pair.peer.compose(&command).send().await.unwrap();
            let passed = next(&mut pair.to_bob, |event| match event {
                Event::MessagePassed(passed) => Some(passed),
                _ => None,
            });
            let passed = passed.await;
            assert_eq!((passed.sender, passed.follows), (pair.alice.user_id().clone(), sent.position));
        }
        .boxed_local()
    }),
    ("message.dropped", |stage| {
        async {
            let bob = stage.town.client(stage.carrier, &stage.user("bob")).event_capacity(1);
            let (_bob, mut to_bob) = within(bob.connect()).await.unwrap();
            let (alice, _events) = stage.connect("alice").await;
            let peer = alice.peer(stage.user("bob")).unwrap();
            let data = quail_protocol::bounded::Blob::new(vec![0; 5000]).unwrap();
            let command = Command { name: Text::new("dim").unwrap(), data };
            let (mut sent, mut told) = (0, 0);
            let dropped = || stage.town.try_metric("quail_unnumbered_total{outcome=\"dropped\"}");
            let before = dropped().await;
            // Until more is on its way than carriers and kernel hold.
            while dropped().await == before {
                for _ in 0..200 {
                    peer.compose(&command).send().await.unwrap();
                    sent += 1;
                }
            }
            // What was told and what was dropped is all there was.
            while told < sent {
                told += next(&mut to_bob, |event| match event {
                    Event::MessagePassed(_) => Some(1),
                    Event::MessagesDropped(dropped) => Some(dropped.count),
                    _ => None,
                })
                .await;
            }
            assert_eq!(told, sent);
        }
        .boxed_local()
    }),
    ("message.signaled", |stage| {
        async {
            let mut pair = stage.pair().await;
            pair.peer.typing().unwrap();
            let body = SignalBody::new(&b"more"[..]).unwrap();
            pair.peer.signal(SignalKind::Custom, body.clone()).unwrap();
            for expected in [(SignalKind::Typing, SignalBody::default()), (SignalKind::Custom, body)] {
                let told = next(&mut pair.to_bob, |event| match event {
                    Event::Signaled(signaled) => Some((signaled.kind, signaled.body)),
                    _ => None,
                });
                assert_eq!(told.await, expected);
            }
        }
        .boxed_local()
    }),
    ("message.gap", |stage| {
        async {
            let room = stage.room().await;
            let slow = stage.town.client(stage.carrier, &stage.user("slow")).event_capacity(1);
            let (slow, mut to_slow) = within(slow.connect()).await.unwrap();
            slow.room(stage.user("room")).unwrap().join(0).await.unwrap();
            let dropped = || {
                stage.town.try_metric("quail_room_deliveries_total{priority=\"Normal\",outcome=\"dropped\"}")
            };
            let before = dropped().await;
            let mut last = Default::default();
            while dropped().await == before {
                for _ in 0..50 {
                    last = room.alices.send("x".repeat(20_000)).await.unwrap().position;
                }
            }
            let gap = next(&mut to_slow, |event| match event {
                Event::MessageGap(gap) => Some(gap),
                _ => None,
            });
            let gap = gap.await;
            assert!(gap.count > 0 && gap.through <= last);
        }
        .boxed_local()
    }),
    ("room.members_joined", |stage| {
        async {
            let mut room = stage.room().await;
            let bob = room.bob.user_id().clone();
            let told = next(&mut room.to_alice, |event| match event {
                Event::MembersJoined(told) if told.joined.iter().any(|member| member.user == bob) => {
                    Some(told)
                }
                _ => None,
            });
            assert_eq!(told.await.members, 2);
        }
        .boxed_local()
    }),
    ("room.members_left", |stage| {
        async {
            let mut room = stage.room().await;
            room.bobs.leave().await.unwrap();
            let told = next(&mut room.to_alice, |event| match event {
                Event::MembersLeft(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!((told.left[0].cause, told.members), (LeaveCause::Left, 1));
        }
        .boxed_local()
    }),
    ("room.info_updated", |stage| {
        async {
            let mut room = stage.room().await;
            let (notice, id) = (Some(Text::new("quiet, please").unwrap()), room.alices.id().clone());
            let update = UpdateInfo { room: id, name: None, notice, avatar: None, extension: None };
            let changed = room.alices.update_info(update).await.unwrap();
            let told = next(&mut room.to_bob, |event| match event {
                Event::RoomInfoUpdated(told) => Some(told.info),
                _ => None,
            });
            assert_eq!(told.await, changed.info);
        }
        .boxed_local()
    }),
    ("room.role_changed", |stage| {
        async {
            let mut room = stage.room().await;
            let reason = Text::new("trusted").unwrap();
            room.alices.set_role(room.bob.user_id().clone(), Role::Admin, reason.clone()).await.unwrap();
            let told = next(&mut room.to_bob, |event| match event {
                Event::RoomRoleChanged(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!((told.role, &told.user, told.reason), (Role::Admin, room.bob.user_id(), reason));
            assert_eq!((told.operator.role, &told.operator.user), (Role::Owner, room.alice.user_id()));
        }
        .boxed_local()
    }),
    ("room.restriction_changed", |stage| {
        async {
            let mut room = stage.room().await;
            let reason = Text::new("spam").unwrap();
            room.alices.mute(room.bob.user_id().clone(), Until::End, reason.clone()).await.unwrap();
            let told = next(&mut room.to_bob, |event| match event {
                Event::RoomRestrictionChanged(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!((told.kind, told.until), (RestrictionKind::Mute, Some(Timestamp(0))));
            assert_eq!((told.operator.unwrap().user, told.reason), (room.alice.user_id().clone(), reason));
        }
        .boxed_local()
    }),
    ("room.mute_all_changed", |stage| {
        async {
            let mut room = stage.room().await;
            for until in [Until::End, Until::Lifted] {
                room.alices.mute_all(until, [Role::Admin], Default::default()).await.unwrap();
                let told = next(&mut room.to_bob, |event| match event {
                    Event::RoomMuteAllChanged(told) => Some(told),
                    _ => None,
                });
                let told = told.await;
                assert_eq!(
                    (told.until.is_some(), &told.exempt[..]),
                    (until == Until::End, &[Role::Admin][..])
                );
            }
        }
        .boxed_local()
    }),
    ("room.left", |stage| {
        async {
            let mut room = stage.room().await;
            room.alices.dismiss().await.unwrap();
            let told = next(&mut room.to_bob, |event| match event {
                Event::RoomLeft(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!(
                (told.cause, told.operator.as_ref()),
                (LeaveCause::Dismissed, Some(room.alice.user_id()))
            );
        }
        .boxed_local()
    }),
    ("room.attributes_updated", |stage| {
        async {
            let mut room = stage.room().await;
            let set = room.bobs.set_attributes([("seat", "bob")], Default::default()).await.unwrap();
            let told = next(&mut room.to_alice, |event| match event {
                Event::AttributesUpdated(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!((told.version, told.set[0].key.as_str()), (set.version, "seat"));
            assert_eq!((&told.operator, told.role), (room.bob.user_id(), Role::Member));
        }
        .boxed_local()
    }),
    ("room.member_attributes_updated", |stage| {
        async {
            let mut room = stage.room().await;
            let set = room.bobs.set_own_attributes([("hand", "up")]).await.unwrap();
            let told = next(&mut room.to_alice, |event| match event {
                Event::MemberAttributesUpdated(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!((told.version, &told.set[0].value[..]), (set.version, &b"up"[..]));
            assert_eq!((&told.users[..], &told.operator), (&[told.operator.clone()][..], room.bob.user_id()));
        }
        .boxed_local()
    }),
    ("room.counters_updated", |stage| {
        async {
            let mut room = stage.room().await;
            let set = room.alices.increase_counters([("right", 1)]).await.unwrap();
            let told = next(&mut room.to_bob, |event| match event {
                Event::CountersUpdated(told) => Some(told),
                _ => None,
            });
            let told = told.await;
            assert_eq!((told.version, &told.counters), (set.version, &set.counters));
            assert_eq!(told.operator, *room.alice.user_id());
        }
        .boxed_local()
    }),
];

#[tokio::test]
async fn every_event_reaches_an_app() {
    let town = Town::with(|config| {
        config.session.outbox.lane_items = 8;
        config.session.token_warning = Duration::from_secs(60);
        for app in config.apps.values_mut() {
            app.rooms.budget.normal = u32::MAX;
            app.rooms.budget.high = u32::MAX;
            app.history.entries_max = std::num::NonZeroU64::new(KEPT);
        }
    })
    .await;
    play(&town, EVENTS.iter().map(|event| event.name.to_owned()), CASES).await;
}
