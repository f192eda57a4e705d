//! Coming into rooms again after a session was lost.

use std::sync::{Arc, Mutex};

use quail_client::{Cause, State};
use quail_protocol::{
    Reject,
    id::RoomId,
    message::Behind,
    room::{
        RoomStateChanged,
        Standing::{Connected, Disconnected},
        StandingCause::*,
        StandingDetail,
    },
};
use tokio::{net::TcpStream, task::AbortHandle};

use super::{
    standing::{standing, standings},
    *,
};

/// A client whose line can be cut, and which comes back only when it is told to.
pub(super) struct Bob {
    pub(super) client: Client,
    pub(super) events: Events,
    lines: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Bob {
    async fn new(town: &Town) -> Self {
        Self::with(town, |builder| builder).await
    }

    pub(super) async fn with(
        town: &Town,
        change: impl FnOnce(quail_client::Builder) -> quail_client::Builder,
    ) -> Self {
        let lines = Arc::new(Mutex::new(Vec::<AbortHandle>::new()));
        let laid = lines.clone();
        let never = Reconnect::within([Duration::from_secs(24 * 3600)]);
        let builder = town.client(Carrier::WebSocket, "bob").reconnect(never).tcp_with(move |address| {
            let laid = laid.clone();
            async move {
                let mut tcp = TcpStream::connect(address).await?;
                let (near, mut far) = tokio::io::duplex(64 * 1024);
                let line =
                    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut tcp).await });
                laid.lock().unwrap().push(line.abort_handle());
                Ok(near)
            }
        });
        let (client, events) = within(change(builder).connect()).await.unwrap();
        Self { client, events, lines }
    }

    /// Cuts the line, and waits until the client has noticed.
    pub(super) async fn cut(&self) {
        let mut states = self.client.states();
        self.lines.lock().unwrap().pop().unwrap().abort();
        while !matches!(states.current(), State::Reconnecting { .. }) {
            within(states.changed()).await.unwrap();
        }
    }

    /// The next change of where it stands, and what else is told of rooms before.
    async fn stands(&mut self) -> RoomStateChanged {
        standing(&mut self.events).await
    }

    async fn behind(&mut self) -> Behind {
        next(&mut self.events, |event| if let Event::Behind(behind) = event { Some(behind) } else { None })
            .await
    }
}

/// A town that keeps no session whose connection is lost.
pub(super) async fn forgetful(change: impl FnOnce(&mut Config)) -> Town {
    Town::with(|config| {
        config.session.grace = Duration::ZERO;
        change(config);
    })
    .await
}

#[tokio::test]
async fn a_client_whose_session_was_lost_comes_into_its_room_again_and_gets_what_it_missed() {
    let town = forgetful(|_| {}).await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::new(&town).await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    room(&bob.client, "r").join(0).await.unwrap();
    joined(&mut to_alice).await;
    r.send("1").await.unwrap();
    assert_eq!(text(&message(&mut bob.events).await), "1");
    bob.cut().await;
    assert_eq!(left(&mut to_alice).await.left[0].cause, LeaveCause::Offline);
    for number in ["2", "3"] {
        r.send(number).await.unwrap();
    }
    bob.client.reconnect_now();
    assert_eq!(bob.stands().await.cause, Interrupted);
    let again = bob.stands().await;
    assert_eq!((again.state, again.cause), (Connected, Rejoined));
    let StandingDetail::Entered { status, state } = again.detail else { panic!("{:?}", again.detail) };
    assert_eq!((status, state.members, state.head.seq), (EntryStatus::Joined, 2, Seq(3)));
    for number in ["2", "3"] {
        assert_eq!(text(&message(&mut bob.events).await), number, "in order, nothing twice");
    }
    r.send("4").await.unwrap();
    assert_eq!(text(&message(&mut bob.events).await), "4");
    room(&bob.client, "r").send("5").await.unwrap();
    assert_eq!(text(&message(&mut to_alice).await), "5");
}

#[tokio::test]
async fn what_the_ring_does_not_hold_any_more_is_not_passed_over() {
    let town = forgetful(|config| config.apps.get_mut(FAST).unwrap().rooms.ring_entries = 2).await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::new(&town).await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    room(&bob.client, "r").join(0).await.unwrap();
    joined(&mut to_alice).await;
    bob.cut().await;
    left(&mut to_alice).await;
    for number in 1..=5 {
        r.send(number.to_string()).await.unwrap();
    }
    bob.client.reconnect_now();
    let behind = bob.behind().await;
    assert_eq!((behind.cause, behind.head.seq), (BehindCause::Trimmed, Seq(5)));
    for number in ["4", "5"] {
        assert_eq!(text(&message(&mut bob.events).await), number);
    }
}

#[tokio::test]
async fn what_the_ring_does_not_hold_any_more_is_told_if_it_is_kept() {
    let town = forgetful(|config| config.apps.get_mut(FAST).unwrap().rooms.ring_entries = 2).await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::new(&town).await;
    let r = room(&alice, "r");
    r.create(stored()).await.unwrap();
    room(&bob.client, "r").join(0).await.unwrap();
    joined(&mut to_alice).await;
    bob.cut().await;
    left(&mut to_alice).await;
    let recalled = r.send("1").await.unwrap();
    for number in 2..=9 {
        r.send(number.to_string()).await.unwrap();
    }
    r.recall(recalled.position).await.unwrap();
    bob.client.reconnect_now();
    let mut heard = vec![];
    while heard.len() < 9 {
        match within(bob.events.recv()).await.unwrap() {
            Event::MessageSent(message) => heard.push(message),
            Event::MembersJoined(_) | Event::RoomStateChanged(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let numbers: Vec<_> = heard.iter().map(|message| message.position.seq.0).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>(), "in order, nothing twice");
    assert!(heard[0].recall.is_some());
}

#[tokio::test]
async fn a_room_that_ended_meanwhile_is_made_again_by_who_entered_it_and_lost_to_who_joined_it() {
    let town = forgetful(|_| {}).await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::new(&town).await;
    let named = Settings { info: info("Lobby"), ..open() };
    let before = room(&bob.client, "mine").enter(named, 0).await.unwrap().state.head;
    room(&alice, "hers").create(open()).await.unwrap();
    room(&bob.client, "hers").join(0).await.unwrap();
    joined(&mut to_alice).await;
    bob.cut().await;
    left(&mut to_alice).await;
    // Bob was alone in it: it ended with him.
    within(async { while town.metric("quail_rooms").await > 1 {} }).await;
    room(&alice, "hers").leave().await.unwrap();
    bob.client.reconnect_now();
    let mut told = vec![];
    while told.len() < 4 {
        match within(bob.events.recv()).await.unwrap() {
            Event::RoomStateChanged(RoomStateChanged { cause: Interrupted | Entering | Success, .. }) => {}
            Event::RoomStateChanged(changed) => {
                told.push(format!("{} {:?}", changed.room, changed.cause));
                match changed.detail {
                    StandingDetail::Entered { status, state } => {
                        assert_eq!((status, state.info.name.as_str()), (EntryStatus::Created, "Lobby"));
                        assert!(state.head.epoch > before.epoch);
                    }
                    StandingDetail::Refused(reject) => {
                        assert_eq!(reject, Reject::from(Code::RoomNotFound));
                    }
                    other => panic!("{other:?}"),
                }
            }
            Event::Behind(behind) => told.push(format!("{} {:?}", behind.conversation, behind.cause)),
            _ => {}
        }
    }
    let conversation = |id: &str| Conversation::Room(RoomId::new(id).unwrap());
    told.sort();
    let mut expected = [
        "mine Rejoined".to_owned(),
        format!("{} EpochChanged", conversation("mine")),
        "hers NotFound".to_owned(),
        format!("{} NotMember", conversation("hers")),
    ];
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn who_was_banned_or_shut_out_meanwhile_learns_why_and_is_asked_for_no_more() {
    let town = forgetful(|config| {
        config.apps.get_mut(FAST).unwrap().rooms.members_max = NonZeroU64::new(2);
    })
    .await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let (carol, _events) = town.connect(Carrier::Quic, "carol").await;
    let mut bob = Bob::new(&town).await;
    for id in ["banned", "full"] {
        room(&alice, id).create(open()).await.unwrap();
        room(&bob.client, id).join(0).await.unwrap();
        joined(&mut to_alice).await;
    }
    bob.cut().await;
    for _ in 0..2 {
        left(&mut to_alice).await;
    }
    let banned = room(&alice, "banned");
    let ban = banned.ban(bob.client.user_id().clone(), quail_client::Until::End, Default::default());
    ban.await.unwrap();
    room(&carol, "full").join(0).await.unwrap();
    bob.client.reconnect_now();
    let mut refused = vec![];
    while refused.len() < 2 {
        let changed = bob.stands().await;
        if changed.state == Disconnected {
            let StandingDetail::Refused(reject) = changed.detail else { panic!("{changed:?}") };
            refused.push((changed.room.to_string(), changed.cause, reject.code));
        }
    }
    refused.sort();
    assert_eq!(
        refused,
        [
            ("banned".to_owned(), EnterFailed, Code::BannedFromRoom),
            ("full".to_owned(), EnterFailed, Code::RoomFull)
        ]
    );
}

#[tokio::test]
async fn a_room_that_was_left_or_whose_client_was_kicked_is_not_come_into_again() {
    let town = forgetful(|_| {}).await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::new(&town).await;
    for id in ["left", "kicked", "dismissed", "stays"] {
        room(&alice, id).create(kept()).await.unwrap();
        room(&bob.client, id).enter(open(), 0).await.unwrap();
        joined(&mut to_alice).await;
    }
    room(&bob.client, "left").leave().await.unwrap();
    room(&alice, "kicked").kick(bob.client.user_id().clone(), Default::default()).await.unwrap();
    room(&alice, "dismissed").dismiss().await.unwrap();
    while bob.stands().await.cause != Dismissed {}
    bob.cut().await;
    while left(&mut to_alice).await.room.as_str() != "stays" {}
    bob.client.reconnect_now();
    while bob.stands().await.cause != Rejoined {}
    assert_eq!(town.metric("quail_rooms").await, 3, "what was dismissed is not made again");
    for id in ["left", "kicked"] {
        assert_eq!(refused(room(&bob.client, id).info().await), Code::NotInRoom);
    }
    assert_eq!(room(&bob.client, "stays").info().await.unwrap().members, 2);
}

#[tokio::test]
async fn a_client_that_is_not_to_come_in_again_is_told_that_it_is_out() {
    let town = forgetful(|_| {}).await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::with(&town, |builder| builder.reenter_rooms(false)).await;
    room(&alice, "r").create(open()).await.unwrap();
    room(&bob.client, "r").join(0).await.unwrap();
    joined(&mut to_alice).await;
    bob.cut().await;
    left(&mut to_alice).await;
    bob.client.reconnect_now();
    let told = standings(&mut bob.events, 4).await;
    assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [Entering, Success, Interrupted, Lost]);
    assert_eq!(bob.behind().await.cause, BehindCause::NotMember);
    assert_eq!(refused(room(&bob.client, "r").info().await), Code::NotInRoom);
}

#[tokio::test]
async fn a_session_that_goes_on_is_in_its_rooms_unless_it_was_put_out_meanwhile() {
    let town = Town::new().await;
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Bob::new(&town).await;
    for id in ["stays", "kicked"] {
        room(&alice, id).create(open()).await.unwrap();
        room(&bob.client, id).join(0).await.unwrap();
        joined(&mut to_alice).await;
    }
    bob.cut().await;
    room(&alice, "kicked").kick(bob.client.user_id().clone(), Default::default()).await.unwrap();
    bob.client.reconnect_now();
    let mut told = standings(&mut bob.events, 8).await.split_off(6);
    told.sort();
    assert_eq!(
        told,
        [("kicked".to_owned(), Disconnected, OutMeanwhile), ("stays".to_owned(), Connected, Success)]
    );
}

#[tokio::test]
async fn a_connection_that_does_not_come_back_is_out_of_its_rooms() {
    let town = Town::new().await;
    let mut bob = Bob::with(&town, |builder| builder.reconnect(Reconnect::off())).await;
    room(&bob.client, "r").create(open()).await.unwrap();
    let mut states = bob.client.states();
    bob.lines.lock().unwrap().pop().unwrap().abort();
    let told = standings(&mut bob.events, 3).await;
    assert_eq!(told[2], ("r".to_owned(), Disconnected, Lost));
    assert_eq!(within(bob.events.recv()).await, None);
    assert_eq!(states.current(), State::Disconnected { cause: Cause::Interrupted });
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_server_a_client_is_in_its_rooms_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let start = move |addresses| Process::start_at(Path::new(QUAIL), &data, addresses, "");
    let server = start([SocketAddr::from(([127, 0, 0, 1], 0)); 2]);
    let addresses = [server.quic, server.websocket];
    let soon = Reconnect::within([Duration::from_millis(100)]);
    let alice = server.client_over(Carrier::WebSocket, "alice").reconnect(soon);
    let (alice, mut events) = within(alice.connect()).await.unwrap();
    let ids: Vec<String> = (0..20).map(|i| format!("r{i:02}")).collect();
    for id in &ids {
        room(&alice, id).create(open()).await.unwrap();
    }
    let replace = move || {
        server.kill();
        start(addresses)
    };
    let _server = tokio::task::spawn_blocking(replace).await.unwrap();
    let (mut again, mut changed) = (vec![], vec![]);
    while again.len() < ids.len() || changed.len() < ids.len() {
        match within(events.recv()).await.unwrap() {
            Event::RoomStateChanged(RoomStateChanged { room, cause: Rejoined, .. }) => again.push(room),
            Event::Behind(Behind { conversation, cause: BehindCause::EpochChanged, .. }) => {
                changed.push(conversation);
            }
            _ => {}
        }
    }
    again.sort();
    assert_eq!(again.iter().map(RoomId::as_str).collect::<Vec<_>>(), ids);
    assert!(changed.iter().all(|conversation| matches!(conversation, Conversation::Room(_))));
    for id in &ids {
        room(&alice, id).send("here again").await.unwrap();
    }
}
