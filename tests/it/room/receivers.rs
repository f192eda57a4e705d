//! Who is told of what happens in a room, and who is not. An event without a row fails.

use std::collections::BTreeSet;

use futures_util::{FutureExt, future::LocalBoxFuture};
use quail_client::{AttributeOptions, Until};
use quail_protocol::{
    event::EVENTS,
    id::UserId,
    room::{MemberAttribute, MemberAttributeKey, Reason, SetMemberAttributes},
};

use super::*;

/// A room and sessions in it and outside: its owner, who acts, and another terminal of theirs; somebody who is acted
/// upon; somebody else, and a terminal of theirs that is not in the room; somebody who is not in it yet, an outsider, and a
/// visitor.
struct Play {
    id: String,
    sessions: Vec<(&'static str, Client, Events)>,
}

impl Play {
    fn client(&self, who: &str) -> &Client {
        &self.sessions.iter().find(|session| session.0 == who).expect("a session of that name").1
    }

    fn room_of(&self, who: &str) -> Room {
        room(self.client(who), &self.id)
    }

    fn subject(&self) -> UserId {
        self.client("subject").user_id().clone()
    }
}

/// The event's name, what it is called in Rust, who is told, and what happens.
type Row = (&'static str, &'static str, &'static str, fn(&Play) -> LocalBoxFuture<'_, ()>);

const OTHERS: &str = "terminal member subject visitor";

const ROWS: &[Row] = &[
    ("room.members_joined", "MembersJoined", "owner terminal member newcomer subject visitor", |play| {
        async { _ = play.room_of("newcomer").join(0).await.unwrap() }.boxed_local()
    }),
    ("room.members_left", "MembersLeft", "owner terminal member visitor", |play| {
        async { _ = play.room_of("subject").leave().await.unwrap() }.boxed_local()
    }),
    ("room.info_updated", "RoomInfoUpdated", OTHERS, |play| {
        async {
            let r = play.room_of("owner");
            let name = Some(Text::new("new").unwrap());
            let update =
                UpdateInfo { room: r.id().clone(), name, notice: None, avatar: None, extension: None };
            _ = r.update_info(update).await.unwrap();
        }
        .boxed_local()
    }),
    ("room.left", "RoomLeft", "subject", |play| {
        async { play.room_of("owner").kick(play.subject(), Reason::default()).await.unwrap() }.boxed_local()
    }),
    ("room.left", "RoomLeft", OTHERS, |play| {
        async { _ = play.room_of("owner").dismiss().await.unwrap() }.boxed_local()
    }),
    ("room.role_changed", "RoomRoleChanged", OTHERS, |play| {
        async {
            play.room_of("owner").set_role(play.subject(), Role::Admin, Default::default()).await.unwrap();
        }
        .boxed_local()
    }),
    ("room.restriction_changed", "RoomRestrictionChanged", OTHERS, |play| {
        async { play.room_of("owner").mute(play.subject(), Until::End, Reason::default()).await.unwrap() }
            .boxed_local()
    }),
    ("room.restriction_changed", "RoomRestrictionChanged", "terminal member visitor", |play| {
        async { play.room_of("owner").ban(play.subject(), Until::End, Reason::default()).await.unwrap() }
            .boxed_local()
    }),
    ("room.mute_all_changed", "RoomMuteAllChanged", OTHERS, |play| {
        async { play.room_of("owner").mute_all(Until::End, [], Reason::default()).await.unwrap() }
            .boxed_local()
    }),
    ("room.attributes_updated", "AttributesUpdated", OTHERS, |play| {
        async {
            let r = play.room_of("owner");
            _ = r.set_attributes([("k", "v")], AttributeOptions::default()).await.unwrap();
        }
        .boxed_local()
    }),
    ("room.member_attributes_updated", "MemberAttributesUpdated", OTHERS, |play| {
        async {
            let r = play.room_of("owner");
            let key = MemberAttributeKey::new("k").unwrap();
            let value = quail_protocol::bounded::Blob::new("v").unwrap();
            let list = |users| quail_protocol::bounded::List::new(users).unwrap();
            let set = SetMemberAttributes {
                room: r.id().clone(),
                users: list(vec![play.subject()]),
                set: quail_protocol::bounded::List::new(vec![MemberAttribute { key, value }]).unwrap(),
                deleted: Default::default(),
            };
            _ = play.client("owner").call(set).await.unwrap();
        }
        .boxed_local()
    }),
    ("room.counters_updated", "CountersUpdated", OTHERS, |play| {
        async { _ = play.room_of("owner").increase_counters([("k", 1)]).await.unwrap() }.boxed_local()
    }),
    ("message.sent", "MessageSent", OTHERS, |play| {
        async { _ = play.room_of("owner").send("x").await.unwrap() }.boxed_local()
    }),
    ("message.passed", "MessagePassed", OTHERS, |play| {
        async {
            let barrage = Barrage { text: Text::new("x").unwrap() };
            _ = play.room_of("owner").compose(&barrage).send().await.unwrap();
        }
        .boxed_local()
    }),
    ("message.changed", "MessageChanged", OTHERS, |play| {
        async {
            let r = play.room_of("owner");
            let sent = r.send("x").await.unwrap();
            _ = r.recall(sent.position).await.unwrap();
        }
        .boxed_local()
    }),
];

/// Events of rooms that say how a session fares, and not what somebody did.
const OF_ONE_SESSION: &[&str] = &["message.gap", "message.behind", "message.dropped"];

/// What a session is told before it is told the end, by what each event is called.
async fn told(client: &Client, events: &mut Events) -> BTreeSet<String> {
    // What was queued before the answer has come with it, on its lane.
    client.call(quail_protocol::session::Ping {}).await.unwrap();
    let mut told = BTreeSet::new();
    loop {
        let event = within(events.recv()).await.expect("the end");
        if matches!(&event, Event::MessageSent(sent) if text(sent) == "end") {
            return told;
        }
        told.insert(called(&event));
    }
}

fn called(event: &Event) -> String {
    format!("{event:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
}

async fn play(town: &Town, carrier: Carrier, number: usize, row: &Row) {
    let (name, event, expected, act) = row;
    let user = |who: &str| format!("{who}-{number}-{carrier:?}");
    let id = user("room");
    let (owner, to_owner) = town.connect(carrier, &user("owner")).await;
    room(&owner, &id).create(open()).await.unwrap();
    let mut play = Play { id, sessions: vec![("owner", owner, to_owner)] };
    for (who, of, is_in) in [
        ("terminal", "owner", true),
        ("subject", "subject", true),
        ("member", "member", true),
        ("elsewhere", "member", false),
        ("newcomer", "newcomer", false),
        ("outsider", "outsider", false),
    ] {
        let (client, mut events) = town.connect(carrier, &user(of)).await;
        if is_in {
            room(&client, &play.id).join(0).await.unwrap();
            // Who is there is told a moment late.
            let users = BTreeSet::from([of, "owner"]).len();
            while users == 2
                && !joined(&mut events).await.joined.iter().any(|one| one.user == *client.user_id())
            {
            }
        }
        play.sessions.push((who, client, events));
    }
    let (visitor, events) = within(town.visitor(carrier).connect()).await.unwrap();
    room(&visitor, &play.id).join(0).await.unwrap();
    play.sessions.push(("visitor", visitor, events));
    let member = play.client("member").user_id().clone();
    for (_, _, events) in &mut play.sessions[..3] {
        while !joined(events).await.joined.iter().any(|one| one.user == member) {}
    }
    act(&play).await;
    let (herald, _events) = town.connect(carrier, &user("herald")).await;
    for of in ["owner", "subject", "member", "newcomer", "outsider"] {
        herald.peer(user(of)).unwrap().send("end").await.unwrap();
    }
    if !expected.contains("visitor") {
        // Nobody can send them anything but in the room.
        play.room_of("owner").send("end").await.unwrap();
    }
    for (who, client, events) in &mut play.sessions {
        if expected.split(' ').any(|one| one == *who) {
            while called(&within(events.recv()).await.expect(name)) != *event {}
        } else {
            let told = told(client, events).await;
            assert!(!told.contains(*event), "{name} {number} {carrier:?}: {who} is told, too");
        }
    }
}

#[tokio::test]
async fn every_event_of_a_room_reaches_those_whom_it_is_for_and_nobody_else() {
    let covered: BTreeSet<_> = ROWS.iter().map(|row| row.0).chain(OF_ONE_SESSION.iter().copied()).collect();
    let missing: Vec<_> = EVENTS
        .iter()
        .filter(|event| event.name.starts_with("room.") && !covered.contains(event.name))
        .map(|event| event.name)
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        join_all(ROWS.iter().enumerate().map(|(number, row)| play(&town, carrier, number, row))).await;
    }
}
