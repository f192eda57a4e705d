//! Rooms of a session that was lost, on simulated time.

use quail_protocol::{
    Epoch, Reject, Rev, Seq,
    bounded::List,
    id::RoomId,
    message::History,
    room::{Entered, EntryStatus, Join, Leave, Lifetime, RoomInfo, RoomState, Standing, StandingCause},
};

use super::{
    comeback::{Next, comeback, connection, dial, message},
    *,
};

fn entered(room: &str) -> Entered {
    let state = RoomState {
        room: RoomId::new(room).unwrap(),
        info: RoomInfo::default(),
        lifetime: Lifetime::default(),
        counters_for_members: false,
        omit_notes: false,
        history: Default::default(),
        owner: UserId::new("bob").unwrap(),
        members: 2,
        visitors: 0,
        head: Position { epoch: Epoch(1), seq: Seq(0) },
        first: Seq(1),
        rev: Rev(0),
        created: Timestamp(0),
        role: None,
        attributes_version: 0,
        member_attributes_version: 0,
        counters_version: 0,
    };
    Entered { status: EntryStatus::Joined, state, recent: List::default() }
}

fn answer(server: &mpsc::UnboundedSender<(Lane, Bytes)>, request_id: u32, room: &str) {
    let head = Head::Reply { request_id, outcome: Outcome::Ok };
    server.send((Lane::Control, frame::encode(&head, &entered(room)))).unwrap();
}

fn refuse(server: &mpsc::UnboundedSender<(Lane, Bytes)>, request_id: u32, reject: Reject) {
    let head = Head::Reply { request_id, outcome: Outcome::Reject(reject) };
    server.send((Lane::Control, frame::encode_raw(&head, &[]))).unwrap();
}

fn join(request_id: u32) -> Option<Did> {
    Some(Did::Wrote(Lane::Control, vec![(request_id, Join::INFO.opcode)]))
}

fn leave(request_id: u32) -> Option<Did> {
    Some(Did::Wrote(Lane::Control, vec![(request_id, Leave::INFO.opcode)]))
}

/// Joins the rooms `a` and `b`, and loses the session. The next one is returned.
async fn lose(capacity: usize) -> (Client, Events, Next) {
    let (next, away) = connection(7);
    let (dial, _) = dial(vec![next]);
    let Stage { client, events, mut did, server, .. } = stage_with(capacity, comeback(dial));
    for (request_id, room) in [(2, "a"), (3, "b")] {
        let room_handle = client.room(room).unwrap();
        let mut joining = Box::pin(room_handle.join(0));
        assert!((&mut joining).now_or_never().is_none());
        assert_eq!(did.recv().await, join(request_id));
        answer(&server, request_id, room);
        joining.await.unwrap();
    }
    drop(server);
    (client, events, away)
}

#[tokio::test(start_paused = true)]
async fn rooms_are_come_into_again_one_by_one_when_the_server_lets_them() {
    let (_client, mut events, Next { server, mut did }) = lose(16).await;
    assert_eq!(did.recv().await, join(2));
    let start = Instant::now();
    refuse(&server, 2, Reject { retry_after_ms: Some(3000), ..Code::RateLimited.into() });
    assert_eq!(did.recv().await, join(3), "the same once more");
    assert_eq!(start.elapsed().as_millis(), 3000, "not before the server said");
    answer(&server, 3, "b");
    assert_eq!(did.recv().await, join(4));
    assert_eq!(start.elapsed().as_millis(), 3200, "at half the rate of changes");
    answer(&server, 4, "a");
    let mut again = vec![];
    while again.len() < 2 {
        if let Some(Event::RoomStateChanged(changed)) = events.recv().await
            && changed.cause == StandingCause::Rejoined
        {
            again.push(changed.room.to_string());
        }
    }
    assert_eq!(again, ["b", "a"], "the last used first");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_has_to_wait_holds_back_no_page() {
    let (_client, _events, Next { server, mut did }) = lose(16).await;
    assert_eq!(did.recv().await, join(2));
    let start = Instant::now();
    refuse(&server, 2, Reject { retry_after_ms: Some(3000), ..Code::RateLimited.into() });
    for seq in [1, 4] {
        server.send((Lane::Normal, message(seq).to_frame())).unwrap();
    }
    assert_eq!(did.recv().await, Some(Did::Wrote(Lane::Control, vec![(3, History::INFO.opcode)])));
    assert_eq!(start.elapsed().as_millis(), 200, "at half the rate of queries");
    refuse(&server, 3, Code::InvalidArgument.into());
    assert_eq!(did.recv().await, join(4));
    assert_eq!(start.elapsed().as_millis(), 3000);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_the_app_left_while_the_client_came_in_again_is_left_again() {
    let (client, events, Next { server, mut did }) = lose(16).await;
    assert_eq!(did.recv().await, join(2));
    drop(events);
    let (a, b) = (client.room("a").unwrap(), client.room("b").unwrap());
    for (room, request_id) in [(b, 3), (a, 4)] {
        let mut leaving = Box::pin(room.leave());
        assert!((&mut leaving).now_or_never().is_none());
        assert_eq!(did.recv().await, leave(request_id));
        refuse(&server, request_id, Code::NotInRoom.into());
        leaving.await.unwrap_err();
    }
    answer(&server, 2, "b");
    assert_eq!(did.recv().await, leave(5), "and no other room is come into");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_wants_no_events_keeps_its_rooms() {
    let (_client, events, Next { server, mut did }) = lose(16).await;
    drop(events);
    assert_eq!(did.recv().await, join(2));
    answer(&server, 2, "b");
    assert_eq!(did.recv().await, join(3));
    answer(&server, 3, "a");
    let ping = Some(Did::Wrote(Lane::Control, vec![(4, Ping::INFO.opcode)]));
    assert_eq!(did.recv().await, ping, "and asks for nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_before_it_went_out_leaves_the_app_outside() {
    let Stage { client, mut events, server: _server, full, .. } = stage(8);
    full.lock().unwrap().push(Lane::Control);
    let (first, second) = (client.room("a").unwrap(), client.room("b").unwrap());
    let mut written = Box::pin(first.join(0));
    let mut withdrawn = Box::pin(second.join(0));
    assert!((&mut written).now_or_never().is_none());
    let stands = async |events: &mut Events| match events.recv().await {
        Some(Event::RoomStateChanged(changed)) => (changed.room.to_string(), changed.state, changed.cause),
        other => panic!("{other:?}"),
    };
    let entering = |room: &str| (room.to_owned(), Standing::Connecting, StandingCause::Entering);
    assert_eq!(stands(&mut events).await, entering("a"));
    assert!((&mut withdrawn).now_or_never().is_none());
    assert_eq!(stands(&mut events).await, entering("b"));
    drop(withdrawn);
    full.lock().unwrap().clear();
    // Something has to come for the driver to look again.
    let mut more = Box::pin(client.call(Ping {}));
    assert!((&mut more).now_or_never().is_none());
    let out = ("b".to_owned(), Standing::Disconnected, StandingCause::TimedOut);
    assert_eq!(stands(&mut events).await, out);
}
