//! Who may ask what about a room. Each operation of rooms and of messages is asked by everybody; one without a row fails.

use std::collections::BTreeSet;

use futures_util::{FutureExt, future::LocalBoxFuture};
use quail_client::{AttributeOptions, Until};
use quail_protocol::{
    Position,
    bounded::{Blob, List},
    id::UserId,
    message::{Changes, History, Recall},
    operations,
    room::{
        Counters, Join, LeaveAll, MemberAttribute, MemberAttributeKey, MemberAttributes, Reason,
        RestrictionKind, SetMemberAttributes,
    },
};

use super::*;

/// Who asks, in the order of the columns.
const ASKING: [&str; 5] = ["owner", "admin", "member", "visitor", "outsider"];

/// The answers: served, or how it is refused.
const SERVED: &str = "+";
const RIGHT: &str = "RightMissing";
const LOGIN: &str = "NotLoggedIn";
const OUT: &str = "NotInRoom";

struct Asking<'a> {
    client: &'a Client,
    room: Room,
    /// Another member.
    subject: UserId,
    /// A message of theirs.
    position: Position,
    /// A room that nobody has made.
    other: Room,
}

type Asked = fn(Asking<'_>) -> LocalBoxFuture<'_, Result<(), CallError>>;

/// The operation, what everybody is answered, and how it is asked.
type Row = (&'static str, [&'static str; 5], Asked);

macro_rules! row {
    ($name:literal, $answers:expr, |$asking:ident| $ask:expr) => {
        ($name, $answers, |$asking| {
            async move { ($ask).await.map(|_| ()).map_err(CallError::from) }.boxed_local()
        })
    };
}

/// For everybody with a name.
const USERS: [&str; 5] = [SERVED, SERVED, SERVED, LOGIN, SERVED];
/// For everybody who is there.
const ANYBODY: [&str; 5] = [SERVED, SERVED, SERVED, SERVED, SERVED];
/// For whoever is in the room and has a name.
const MEMBERS: [&str; 5] = [SERVED, SERVED, SERVED, LOGIN, OUT];
/// For whoever is in the room.
const INSIDE: [&str; 5] = [SERVED, SERVED, SERVED, SERVED, OUT];
const MODERATORS: [&str; 5] = [SERVED, SERVED, RIGHT, LOGIN, OUT];
const OWNER: [&str; 5] = [SERVED, RIGHT, RIGHT, LOGIN, OUT];

fn none() -> Reason {
    Reason::default()
}

const ROWS: &[Row] = &[
    row!("room.create", USERS, |asking| asking.other.create(open())),
    row!("room.join", ANYBODY, |asking| asking.room.join(5)),
    row!("room.enter", USERS, |asking| asking.room.enter(open(), 5)),
    row!("room.leave", INSIDE, |asking| asking.room.leave()),
    row!("room.leave_all", ANYBODY, |asking| asking.client.call(LeaveAll { all_devices: true })),
    row!("room.dismiss", [SERVED, RIGHT, RIGHT, LOGIN, RIGHT], |asking| asking.room.dismiss()),
    row!("room.update_info", MODERATORS, |asking| asking.room.update_info(UpdateInfo {
        room: asking.room.id().clone(),
        name: Some(Text::new("new").unwrap()),
        notice: None,
        avatar: None,
        extension: None,
    })),
    row!("room.info", INSIDE, |asking| asking.room.info()),
    row!("room.members", MEMBERS, |asking| asking.room.members(0, 10)),
    row!("room.switch", MEMBERS, |asking| asking.room.switch_to(&asking.other, Some(open()), 0)),
    row!("room.query", MEMBERS, |asking| asking.room.members_of([asking.subject.clone()])),
    row!("room.set_role", OWNER, |asking| asking.room.set_role(
        asking.subject.clone(),
        Role::Admin,
        Default::default()
    )),
    row!("room.transfer", OWNER, |asking| asking.room.transfer(asking.subject.clone(), Default::default())),
    row!("room.kick", MODERATORS, |asking| asking.room.kick(asking.subject.clone(), none())),
    row!("room.ban", MODERATORS, |asking| asking.room.ban(asking.subject.clone(), Until::End, none())),
    row!("room.mute", MODERATORS, |asking| asking.room.mute(asking.subject.clone(), Until::End, none())),
    row!("room.mute_all", MODERATORS, |asking| asking.room.mute_all(Until::End, [], none())),
    row!("room.restrictions", MODERATORS, |asking| asking.room.restrictions(RestrictionKind::Ban, None, 10)),
    row!("room.set_attributes", MEMBERS, |asking| asking
        .room
        .set_attributes([("own", "v")], AttributeOptions::default())),
    row!("room.delete_attributes", MODERATORS_OF_ATTRIBUTES, |asking| asking
        .room
        .delete_attributes(["subjects"], false)),
    row!("room.attributes", INSIDE, |asking| asking.room.attributes()),
    row!("room.set_member_attributes", MODERATORS, |asking| {
        let (key, value) = (MemberAttributeKey::new("k").unwrap(), Blob::new("v").unwrap());
        asking.client.call(SetMemberAttributes {
            room: asking.room.id().clone(),
            users: List::new(vec![asking.subject.clone()]).unwrap(),
            set: List::new(vec![MemberAttribute { key, value }]).unwrap(),
            deleted: List::default(),
        })
    }),
    row!("room.member_attributes", MEMBERS, |asking| asking.client.call(MemberAttributes {
        room: asking.room.id().clone(),
        users: List::new(vec![asking.subject.clone()]).unwrap(),
    })),
    row!("room.set_counters", MODERATORS, |asking| asking.room.set_counters([("k", 1)])),
    row!("room.increase_counters", MODERATORS, |asking| asking.room.increase_counters([("k", 1)])),
    row!("room.counters", INSIDE, |asking| asking.client.call(Counters { room: asking.room.id().clone() })),
    row!("message.send", MEMBERS, |asking| async move {
        asking.room.send("x").await.map_err(|unsent| unsent.error)
    }),
    row!("message.history", INSIDE, |asking| asking.client.call(History {
        conversation: Conversation::Room(asking.room.id().clone()),
        from: Seq(1),
        to: Seq(9),
        limit: 10,
        direction: Default::default(),
    })),
    row!("message.recall", [SERVED, SERVED, "NotSender", LOGIN, OUT], |asking| asking.client.call(Recall {
        conversation: Conversation::Room(asking.room.id().clone()),
        position: asking.position,
    })),
    row!("message.changes", INSIDE, |asking| asking.client.call(Changes {
        conversation: Conversation::Room(asking.room.id().clone()),
        since: quail_protocol::Rev(0),
        limit: 10,
    })),
];

/// Members keep off attributes of others.
const MODERATORS_OF_ATTRIBUTES: [&str; 5] = [SERVED, SERVED, "AttributeNotOwned", LOGIN, OUT];

/// Everybody of a carrier. Each row and asker has a room of its own.
struct Company {
    clients: Vec<(&'static str, Client)>,
}

impl Company {
    fn client(&self, who: &str) -> &Client {
        &self.clients.iter().find(|client| client.0 == who).expect("a client of that name").1
    }

    async fn ask(&self, who: &str, id: &str, ask: Asked) -> String {
        let owners = room(self.client("owner"), id);
        owners.create(open()).await.unwrap();
        for who in ["admin", "member", "visitor", "subject"] {
            self.client(who).call(Join { room: owners.id().clone(), recent: 0 }).await.unwrap();
        }
        owners
            .set_role(self.client("admin").user_id().clone(), Role::Admin, Default::default())
            .await
            .unwrap();
        let subjects = room(self.client("subject"), id);
        subjects.set_attributes([("subjects", "v")], AttributeOptions::default()).await.unwrap();
        let position = subjects.send("1").await.unwrap().position;
        let client = self.client(who);
        let subject = self.client("subject").user_id().clone();
        let other = room(client, &format!("{id}-other"));
        let asked = ask(Asking { client, room: room(client, id), subject, position, other: other.clone() });
        let answer = match within(asked).await {
            Ok(()) => SERVED.to_owned(),
            Err(CallError::Reject(reject)) => format!("{:?}", reject.code),
            Err(other) => panic!("{id}: {other}"),
        };
        // Whoever owns it by now ends it, and the other is empty then.
        _ = other.leave().await;
        _ = owners.dismiss().await;
        _ = subjects.dismiss().await;
        answer
    }
}

#[tokio::test]
async fn everybody_may_ask_of_a_room_what_the_table_says_and_no_more() {
    let is_of_rooms = |name: &str| name.starts_with("room.") || name.starts_with("message.");
    let rows: BTreeSet<_> = ROWS.iter().map(|row| row.0).collect();
    let asked: BTreeSet<_> = operations().map(|info| info.name).filter(|name| is_of_rooms(name)).collect();
    assert_eq!(rows, asked, "each operation has a row, each row an operation");
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let mut clients = vec![];
        for who in ["owner", "admin", "member", "subject", "outsider"] {
            clients.push((who, town.connect(carrier, who).await.0));
        }
        clients.push(("visitor", within(town.visitor(carrier).connect()).await.unwrap().0));
        let company = Company { clients };
        for (name, expected, ask) in ROWS {
            for (who, expected) in ASKING.into_iter().zip(expected) {
                let id = format!("{name}-{who}-{carrier:?}");
                assert_eq!(company.ask(who, &id, *ask).await, *expected, "{name} asked by {who}");
            }
        }
    }
}
