//! Attributes and counters.

use quail_client::AttributeOptions;
use quail_protocol::{
    limits::{ATTRIBUTE_VALUE_BYTES_MAX, MEMBER_ATTRIBUTE_KEY_BYTES_MAX},
    room::{AttributesCause, AttributesUpdated, CountersUpdated, LeaveAll, MemberAttributesUpdated},
};

use super::*;

async fn attributes(events: &mut Events) -> AttributesUpdated {
    next(events, |event| if let Event::AttributesUpdated(told) = event { Some(told) } else { None }).await
}

async fn of_members(events: &mut Events) -> MemberAttributesUpdated {
    next(events, |event| if let Event::MemberAttributesUpdated(told) = event { Some(told) } else { None })
        .await
}

async fn counters(events: &mut Events) -> CountersUpdated {
    next(events, |event| if let Event::CountersUpdated(told) = event { Some(told) } else { None }).await
}

fn seat() -> AttributeOptions {
    AttributeOptions { delete_after_owner_left: true, ..Default::default() }
}

fn force() -> AttributeOptions {
    AttributeOptions { force: true, ..Default::default() }
}

#[tokio::test]
async fn of_two_who_want_a_seat_one_gets_it_and_gives_it_free_by_leaving() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let id = format!("r-{carrier:?}");
        let (teacher, mut to_teacher) = town.connect(carrier, "teacher").await;
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let (bob, _to_bob) = town.connect(carrier, "bob").await;
        let [teachers, alices, bobs] = [&teacher, &alice, &bob].map(|client| room(client, &id));
        teachers.create(open()).await.unwrap();
        for client in [&alices, &bobs] {
            client.join(0).await.unwrap();
        }
        let (hers, his) = tokio::join!(
            alices.set_attributes([("seat", "alice")], seat()),
            bobs.set_attributes([("seat", "bob")], seat())
        );
        let (winner, loser) = if hers.is_ok() { (&alices, &bobs) } else { (&bobs, &alices) };
        assert_eq!(refused(if hers.is_ok() { his } else { hers }), Code::AttributeNotOwned);
        assert_eq!(attributes(&mut to_teacher).await.version, 1);
        winner.leave().await.unwrap();
        let told = attributes(&mut to_teacher).await;
        assert_eq!((told.version, told.cause), (2, AttributesCause::OwnerLeft));
        assert_eq!(told.deleted[0].as_str(), "seat");
        loser.set_attributes([("seat", "at last")], seat()).await.unwrap();
        assert_eq!(attributes(&mut to_teacher).await.set[0].value[..], b"at last"[..]);
        // Whoever the room trusts needs no force; a member does.
        teachers.set_attributes([("seat", "for a guest")], Default::default()).await.unwrap();
        teachers.set_attributes([("topic", "owls")], Default::default()).await.unwrap();
        assert_eq!(
            refused(loser.set_attributes([("topic", "newts")], Default::default()).await),
            Code::AttributeNotOwned
        );
        assert_eq!(refused(loser.delete_attributes(["topic"], false).await), Code::AttributeNotOwned);
        let forced = loser.set_attributes([("topic", "newts")], force()).await.unwrap();
        assert_eq!((forced.version, attributes(&mut to_teacher).await.version), (6, 6));
        let page = teachers.attributes().await.unwrap();
        assert_eq!((page.version, page.attributes[1].owner.as_str()), (6, "teacher"), "not taken over");
        assert_eq!(refused(winner.attributes().await), Code::NotInRoom);
        for client in [teacher, alice, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn a_batch_is_one_event_and_none_for_the_session_that_did_it() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let id = format!("r-{carrier:?}");
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let (tablet, mut to_tablet) = town.connect(carrier, "alice").await;
        let [phones, tablets] = [&alice, &tablet].map(|client| room(client, &id));
        phones.create(open()).await.unwrap();
        tablets.join(0).await.unwrap();
        let many = (0..20).map(|number| (format!("{number}"), "x".repeat(3000)));
        phones.set_attributes(many, Default::default()).await.unwrap();
        let told = attributes(&mut to_tablet).await;
        assert_eq!((told.version, told.set.len(), told.role), (1, 20, Role::Owner));
        assert_eq!(tablets.attributes().await.unwrap().attributes, {
            let mut set = told.set.into_vec();
            set.sort_by(|a, b| a.key.cmp(&b.key));
            quail_protocol::bounded::List::new(set).unwrap()
        });
        // The same again is no change.
        let again = (0..20).map(|number| (format!("{number}"), "x".repeat(3000)));
        assert_eq!(phones.set_attributes(again, Default::default()).await.unwrap().version, 1);
        tablets.set_attributes([("0", "y")], Default::default()).await.unwrap();
        let told = attributes(&mut to_alice).await;
        assert_eq!((told.version, told.set.len()), (2, 1), "the first it is told of");
        let large = "x".repeat(ATTRIBUTE_VALUE_BYTES_MAX + 1);
        let large = phones.set_attributes([("k", large)], Default::default()).await;
        assert!(matches!(large, Err(CallError::TooLarge(_))), "{large:?}");
        for client in [alice, tablet] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn what_members_say_of_themselves_is_told_and_gone_when_they_leave() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let id = format!("r-{carrier:?}");
        let (teacher, mut to_teacher) = town.connect(carrier, "teacher").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let [teachers, bobs] = [&teacher, &bob].map(|client| room(client, &id));
        teachers.create(open()).await.unwrap();
        bobs.join(0).await.unwrap();
        let [us, him] =
            [[teacher.user_id(), bob.user_id()].map(Clone::clone).to_vec(), vec![bob.user_id().clone()]];
        bobs.set_own_attributes([("hand", "up")]).await.unwrap();
        let told = of_members(&mut to_teacher).await;
        assert_eq!((told.version, &told.users[..], &told.set[0].value[..]), (1, &him[..], &b"up"[..]));
        assert_eq!(
            refused(bobs.set_member_attributes(us.clone(), [("hand", "up")], []).await),
            Code::RightMissing
        );
        teachers.set_member_attributes(us.clone(), [("group", "owls")], ["hand"]).await.unwrap();
        let told = of_members(&mut to_bob).await;
        assert_eq!((told.version, &told.users[..], told.role), (2, &us[..], Role::Owner));
        let said = |page: quail_protocol::room::MemberAttributesPage| {
            let of = page.members.into_vec().into_iter().map(|of| (of.user.to_string(), of.attributes.len()));
            of.collect::<Vec<_>>()
        };
        let page = bobs.member_attributes(us.clone()).await.unwrap();
        assert_eq!(said(page), [("teacher".to_owned(), 1), ("bob".to_owned(), 1)]);
        bob.call(LeaveAll { all_devices: true }).await.unwrap();
        assert_eq!(said(teachers.member_attributes(us.clone()).await.unwrap()), [("teacher".to_owned(), 1)]);
        bobs.join(0).await.unwrap();
        assert_eq!(said(teachers.member_attributes(him).await.unwrap()), [("bob".to_owned(), 0)]);
        let long = "k".repeat(MEMBER_ATTRIBUTE_KEY_BYTES_MAX + 1);
        assert!(matches!(bobs.set_own_attributes([(long, "")]).await, Err(CallError::TooLarge(_))));
        for client in [teacher, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn a_tally_is_exact_and_out_of_reach_for_those_it_counts() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (teacher, _to_teacher) = town.connect(carrier, "teacher").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let id = format!("r-{carrier:?}");
        let [teachers, bobs] = [&teacher, &bob].map(|client| room(client, &id));
        teachers.create(open()).await.unwrap();
        assert!(!bobs.join(0).await.unwrap().state.counters_for_members);
        teachers.set_counters([("right", 0), ("wrong", 0)]).await.unwrap();
        assert_eq!(refused(bobs.increase_counters([("right", 1)]).await), Code::RightMissing);
        assert_eq!(refused(bobs.set_counters([("right", 100)]).await), Code::RightMissing);
        join_all((0..5).map(|_| teachers.increase_counters([("right", 1), ("wrong", -1)]))).await;
        for version in 1..=6 {
            let told = counters(&mut to_bob).await;
            let values: Vec<_> = told.counters.iter().map(|counter| counter.value).collect();
            let n = version as i64 - 1;
            assert_eq!((told.version, values), (version, vec![n, -n]));
        }
        assert_eq!(bobs.info().await.unwrap().counters_version, 6);

        // Everybody may where the room says so.
        let likes = format!("likes-{carrier:?}");
        let [teachers, bobs] = [&teacher, &bob].map(|client| room(client, &likes));
        teachers.create(Settings { counters_for_members: true, ..open() }).await.unwrap();
        bobs.join(0).await.unwrap();
        let stand = bobs.increase_counters([("likes", 1)]).await.unwrap();
        assert_eq!((stand.version, stand.counters[0].value), (1, 1));
        for client in [teacher, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn a_reader_that_is_too_slow_for_attributes_learns_that_it_missed_some_and_is_not_closed() {
    let town = Town::with(|config| config.apps.get_mut(FAST).unwrap().rates.change = u32::MAX).await;
    for carrier in Carrier::ALL {
        let id = format!("r-{carrier:?}");
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let (slow, mut to_slow) =
            within(town.client(carrier, "slow").event_capacity(1).connect()).await.unwrap();
        let [alices, slows] = [&alice, &slow].map(|client| room(client, &id));
        alices.create(open()).await.unwrap();
        slows.join(0).await.unwrap();
        let dropped = || town.try_metric("quail_unnumbered_total{outcome=\"dropped\"}");
        let (before, mut last) = (dropped().await, 0);
        while dropped().await == before {
            let large = (0..15).map(|number| (format!("{number}"), format!("{last:04000}")));
            last = alices.set_attributes(large, Default::default()).await.unwrap().version;
        }
        let (mut known, mut missed) = (0, 0);
        while known + missed < last {
            let told = next(&mut to_slow, |event| match event {
                Event::AttributesUpdated(told) => Some(Ok(told.version)),
                Event::MessagesDropped(dropped) => Some(Err(dropped.count)),
                _ => None,
            });
            match told.await {
                Ok(version) => known = version,
                Err(count) => missed += u64::from(count),
            }
        }
        assert!(missed > 0 && known < last);
        assert_eq!(slows.attributes().await.unwrap().version, last);
        for client in [alice, slow] {
            within(client.close()).await;
        }
    }
}
