//! Conversations spread over the streams of a lane.

use std::collections::{BTreeMap, BTreeSet};

use quail_protocol::{
    Lane,
    frame::{Decoder, Head},
    limits::FRAME_BYTES_MAX,
    room::Join,
    session::Login,
};
use quail_tests::raw::login;

use super::*;

const ROOMS: usize = 20;
const MESSAGES: u64 = 6;

async fn hall(client: &Client) -> Vec<Room> {
    let rooms: Vec<_> = (0..ROOMS).map(|i| room(client, &format!("hall-{i}"))).collect();
    for room in &rooms {
        room.enter(open(), 0).await.unwrap();
    }
    rooms
}

#[tokio::test]
async fn over_several_streams_of_a_lane_each_room_is_heard_in_order_and_without_a_gap() {
    let town = Town::new().await;
    for streams in [2, 4] {
        let client = |user| town.client(Carrier::Quic, user).streams_per_lane(streams).connect();
        let (alice, mut to_alice) = within(client("alice")).await.unwrap();
        let (bob, mut to_bob) = within(client("bob")).await.unwrap();
        let (of_alice, of_bob) = (hall(&alice).await, hall(&bob).await);
        // Both speak in every room, so that each is answered among what the other said.
        let speak = async |rooms: &[Room]| {
            for i in 0..MESSAGES {
                let sent = join_all(rooms.iter().map(|room| room.send(format!("{i}")))).await;
                sent.into_iter().for_each(|sent| _ = sent.unwrap());
            }
        };
        let heard = async |events: &mut Events| {
            let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
            while heard.values().map(Vec::len).sum::<usize>() < ROOMS * MESSAGES as usize {
                match within(events.recv()).await.unwrap() {
                    Event::MessageSent(message) => {
                        heard.entry(message.conversation.to_string()).or_default().push(text(&message));
                    }
                    Event::MessageGap(gap) => panic!("nothing was left out: {gap:?}"),
                    _ => {}
                }
            }
            heard
        };
        let (_, _, by_alice, by_bob) =
            tokio::join!(speak(&of_alice), speak(&of_bob), heard(&mut to_alice), heard(&mut to_bob));
        let all: Vec<_> = (0..MESSAGES).map(|i| i.to_string()).collect();
        for heard in [by_alice, by_bob] {
            assert_eq!(heard.len(), ROOMS);
            heard.into_iter().for_each(|(room, heard)| assert_eq!(heard, all, "{room}"));
        }
        for client in [alice, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn what_is_said_in_a_room_comes_on_one_stream_of_its_lane_and_rooms_use_all_of_them() {
    let town = Town::new().await;
    let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
    let rooms = hall(&alice).await;
    let mut raw = Raw::connect(&town, Carrier::Quic).await;
    raw.request(1, &Login { streams_per_lane: 4, ..login(FAST, "bob") }).await;
    raw.reply(1).await.unwrap();
    let mut streams = vec![];
    for _ in 0..4 {
        let (mut send, receive) = raw.connection().open_bi().await.unwrap();
        send.write_all(&[Lane::Normal.tag()]).await.unwrap();
        streams.push((send, receive));
    }
    for (request_id, room) in (2..).zip(&rooms) {
        let join = Join { room: room.id().clone(), recent: 0 };
        raw.request(request_id, &join).await;
        while !matches!(raw.next().await, quail_tests::raw::Said::Frame(frame)
            if matches!(frame.head, Head::Reply { request_id: it, .. } if it == request_id))
        {}
    }
    for room in rooms.iter().chain(&rooms) {
        room.send("hello").await.unwrap();
    }
    let mut heard: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut decoders: Vec<_> = streams.iter().map(|_| Decoder::new(FRAME_BYTES_MAX)).collect();
    let mut messages = 0;
    while messages < 2 * ROOMS {
        let read = streams.iter_mut().map(|(_, receive)| Box::pin(receive.read_chunk(usize::MAX, true)));
        let (chunk, at, _) = within(futures_util::future::select_all(read)).await;
        decoders[at].extend(&chunk.unwrap().unwrap().bytes);
        while let Some(frame) = decoders[at].next_frame().unwrap() {
            let Head::Event { kind } = frame.head else { panic!("nothing was asked") };
            if let Ok(Event::MessageSent(message)) = Event::decode(kind, frame.body) {
                heard.entry(message.conversation.to_string()).or_default().insert(at);
                messages += 1;
            }
        }
    }
    assert!(heard.len() == ROOMS && heard.values().all(|streams| streams.len() == 1), "{heard:?}");
    let used: BTreeSet<_> = heard.values().flatten().collect();
    assert_eq!(used.len(), 4, "{heard:?}");
    raw.lose().await;
    within(alice.close()).await;
}
