//! What of rooms is there when the server was started again.

use std::collections::BTreeMap;

use quail_client::{AttributeOptions, Until};
use quail_protocol::{
    id::UserId,
    room::{Reason, RestrictionKind},
};

use super::*;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// A server that is ended by `end` and started again at the same place, and what `inside` did before.
pub(super) async fn ended_and_started<T>(
    end: fn(Process),
    more: &'static str,
    inside: impl AsyncFnOnce(&Process) -> T,
) -> (Process, T, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let nowhere = [SocketAddr::from(([127, 0, 0, 1], 0)); 2];
    let server = Process::start_at(Path::new(QUAIL), &data, nowhere, more);
    let before = inside(&server).await;
    let replace = move || {
        end(server);
        Process::start_at(Path::new(QUAIL), &data, nowhere, more)
    };
    (tokio::task::spawn_blocking(replace).await.unwrap(), before, directory)
}

pub(super) async fn connect(server: &Process, user: &str) -> (Client, Events) {
    within(server.client(user).connect()).await.unwrap()
}

/// Rooms, their roles, bans, mutes, attributes and counters.
async fn are_there_again(end: fn(Process)) {
    let inside = async |server: &Process| {
        let (alice, _a) = connect(server, "alice").await;
        let (bob, _b) = connect(server, "bob").await;
        let (carol, _c) = connect(server, "carol").await;
        let r = room(&alice, "kept");
        r.create(Settings { info: info("before"), counters_for_members: true, ..kept() }).await.unwrap();
        room(&bob, "kept").join(0).await.unwrap();
        room(&carol, "kept").join(0).await.unwrap();
        r.update_info(UpdateInfo { name: Some(Text::new("after").unwrap()), ..update(&r) }).await.unwrap();
        r.set_role(user("bob"), Role::Admin, Default::default()).await.unwrap();
        r.set_role(user("carol"), Role::Admin, Default::default()).await.unwrap();
        r.set_role(user("carol"), Role::Member, Default::default()).await.unwrap();
        let why = || Reason::new("noise").unwrap();
        r.ban(user("dave"), Until::Lifted, why()).await.unwrap();
        r.ban(user("dave"), Until::End, why()).await.unwrap();
        r.ban(user("erin"), Until::End, why()).await.unwrap();
        r.ban(user("erin"), Until::Lifted, why()).await.unwrap();
        r.mute(user("frank"), Until::End, why()).await.unwrap();
        r.mute_all(Until::End, [Role::Admin], why()).await.unwrap();
        let stays = AttributeOptions::default();
        let seat = AttributeOptions { delete_after_owner_left: true, ..stays };
        r.set_attributes([("topic", "birds"), ("gone", "x")], stays).await.unwrap();
        r.delete_attributes(["gone"], false).await.unwrap();
        room(&bob, "kept").set_attributes([("seat", "bob")], seat).await.unwrap();
        r.increase_counters([("votes", 2)]).await.unwrap();
        r.increase_counters([("votes", 3)]).await.unwrap();
        r.message("lost with the server").send().await.unwrap();
        room(&alice, "lived-in").create(open()).await.unwrap();
        room(&alice, "over").create(open()).await.unwrap();
        room(&alice, "over").leave().await.unwrap();
        room(&alice, "dismissed").create(kept()).await.unwrap();
        room(&alice, "dismissed").dismiss().await.unwrap();
        let restrictions = r.restrictions(RestrictionKind::Ban, None, 10).await.unwrap();
        let before = r.info().await.unwrap();
        let (attributes, counters) = (r.attributes().await.unwrap(), r.counters().await.unwrap());
        // Still in it when the server ends.
        (before, attributes, counters, restrictions, [alice, bob, carol])
    };
    let (server, (before, attributes, counters, banned, _inside), _data) =
        ended_and_started(end, "", inside).await;
    let (alice, _a) = connect(&server, "alice").await;
    let (bob, _b) = connect(&server, "bob").await;
    let r = room(&alice, "kept");
    let entered = r.join(10).await.unwrap();
    let now = entered.state.clone();
    assert_eq!(
        (entered.status, now.role, now.info.name.as_str()),
        (EntryStatus::Joined, Some(Role::Owner), "after")
    );
    assert!(now.head.epoch > before.head.epoch && now.head.seq == Seq(0) && entered.recent.is_empty());
    assert_eq!((now.created, now.lifetime, now.members), (before.created, before.lifetime, 1));
    assert_eq!(now.attributes_version, before.attributes_version);
    assert_eq!(r.attributes().await.unwrap(), attributes);
    assert_eq!(r.counters().await.unwrap(), counters);
    assert_eq!(r.restrictions(RestrictionKind::Ban, None, 10).await.unwrap(), banned);
    assert_eq!(room(&bob, "kept").join(0).await.unwrap().state.role, Some(Role::Admin));
    room(&bob, "kept").send("an admin may").await.unwrap();
    let (carol, _c) = connect(&server, "carol").await;
    assert_eq!(room(&carol, "kept").join(0).await.unwrap().state.role, Some(Role::Member));
    assert_eq!(refused(room(&carol, "kept").send("all are muted").await), Code::MutedInRoom);
    let (dave, _d) = connect(&server, "dave").await;
    assert_eq!(refused(room(&dave, "kept").join(0).await), Code::BannedFromRoom);
    let (frank, _f) = connect(&server, "frank").await;
    room(&frank, "kept").join(0).await.unwrap();
    r.mute_all(Until::Lifted, [], Reason::default()).await.unwrap();
    assert_eq!(refused(room(&frank, "kept").send("muted").await), Code::MutedInRoom);
    // Those who were in a room when the server ended come back to it as what they were.
    let lived_in = room(&alice, "lived-in").join(0).await.unwrap();
    assert_eq!(lived_in.state.role, Some(Role::Owner));
    for gone in ["over", "dismissed"] {
        assert_eq!(refused(room(&alice, gone).join(0).await), Code::RoomNotFound);
    }
}

fn update(room: &Room) -> UpdateInfo {
    UpdateInfo { room: room.id().clone(), name: None, notice: None, avatar: None, extension: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_rooms_is_there_after_the_server_was_killed() {
    are_there_again(Process::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_rooms_is_there_after_the_server_was_asked_to_end() {
    are_there_again(Process::stop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lived_in_room_ends_if_nobody_comes_back() {
    let inside = async |server: &Process| {
        let (alice, _a) = connect(server, "alice").await;
        room(&alice, "left-behind").create(open()).await.unwrap();
    };
    let more = "[apps.demo.rooms]\nreturn_grace = \"0s\"\n";
    let (server, (), _data) = ended_and_started(Process::kill, more, inside).await;
    let (alice, _a) = connect(&server, "alice").await;
    // With nobody in it and no grace it is over at once, whoever asks first.
    let made = room(&alice, "left-behind").enter(open(), 0).await.unwrap();
    assert_eq!(made.status, EntryStatus::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increase_that_may_have_counted_before_a_start_is_refused_as_stale() {
    let inside = async |server: &Process| {
        let (alice, _a) = connect(server, "alice").await;
        let r = room(&alice, "r");
        r.create(kept()).await.unwrap();
        let increase = r.increase([("votes", 1)]).unwrap();
        alice.call(increase.clone()).await.unwrap();
        increase
    };
    let (server, increase, _data) = ended_and_started(Process::kill, "", inside).await;
    let (alice, _a) = connect(&server, "alice").await;
    let r = room(&alice, "r");
    r.join(0).await.unwrap();
    assert_eq!(refused(alice.call(increase).await), Code::MessageIdStale);
    let counters: BTreeMap<_, _> =
        r.counters().await.unwrap().counters.iter().map(|one| (one.key.to_string(), one.value)).collect();
    assert_eq!(counters, BTreeMap::from([("votes".into(), 1)]));
}
