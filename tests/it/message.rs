use std::{num::NonZeroU64, sync::LazyLock, time::Duration};

use quail_client::{CallError, Client};
use quail_protocol::{
    Code, Conversation, Event, Lane, Operation, Priority, Seq,
    frame::{self, Head},
    id::{ClientMessageId, UserId},
    limits::TEXT_BYTES_MAX,
    message::{Ack, Body, Content, Direction, History, Message, MessageKind, Send, Text},
    session::Ping,
};
use quail_server::config::Config;
use quail_tests::{
    Carrier, FAST, STRICT, Town, next_message,
    raw::{Raw, Said},
    token::now,
    within,
};

fn peer(user: &str) -> Conversation {
    Conversation::Peer(UserId::new(user).unwrap())
}

fn text(message: &Message) -> String {
    Text::decode(&message.content.body).unwrap().text
}

/// One time for all ids, so that the same number is the same id.
static START: LazyLock<u64> = LazyLock::new(|| now() * 1000);

fn send_to(user: &str, id: u8, body: &str) -> Send {
    Send {
        conversation: peer(user),
        id: ClientMessageId::at(*START, [id; 10]),
        priority: Priority::Normal,
        content: Content::new(MessageKind::Text, Text::encode(body).unwrap()),
    }
}

fn refused(result: Result<impl std::fmt::Debug, CallError>) -> Code {
    match result {
        Err(CallError::Reject(reject)) => reject.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn two_users_talk_whatever_carries_them() {
    for (left, right) in [
        (Carrier::Quic, Carrier::Quic),
        (Carrier::Quic, Carrier::WebSocket),
        (Carrier::WebSocket, Carrier::Quic),
        (Carrier::WebSocket, Carrier::WebSocket),
    ] {
        let town = Town::new().await;
        let (alice, mut to_alice) = town.connect(left, "alice").await;
        let (bob, mut to_bob) = town.connect(right, "bob").await;

        let sent = alice.peer("bob").unwrap().send("hi").await.unwrap();
        let heard = next_message(&mut to_bob).await;
        assert_eq!(text(&heard), "hi");
        assert_eq!((heard.sender.as_str(), &heard.conversation), ("alice", &peer("bob")));
        assert_eq!((heard.id, heard.position, heard.prev), (sent.id, sent.position, Seq(0)));
        assert_eq!((sent.position.seq, sent.ack), (Seq(1), Ack::Durable));

        bob.peer("alice").unwrap().send("hello").await.unwrap();
        let heard = next_message(&mut to_alice).await;
        assert_eq!((text(&heard).as_str(), heard.position.seq, heard.prev), ("hello", Seq(2), Seq(1)));
        town.stop().await;
    }
}

#[tokio::test]
async fn the_sending_session_gets_the_reply_and_the_senders_others_get_the_event() {
    let town = Town::new().await;
    let (phone, mut to_phone) = town.connect(Carrier::Quic, "alice").await;
    let (_laptop, mut to_laptop) = town.connect(Carrier::WebSocket, "alice").await;
    let (bob, _to_bob) = town.connect(Carrier::Quic, "bob").await;

    phone.peer("bob").unwrap().send("from the phone").await.unwrap();
    let heard = next_message(&mut to_laptop).await;
    assert_eq!((text(&heard).as_str(), &heard.conversation), ("from the phone", &peer("bob")));
    bob.peer("alice").unwrap().send("to both").await.unwrap();
    assert_eq!(text(&next_message(&mut to_phone).await), "to both");
    assert_eq!(text(&next_message(&mut to_laptop).await), "to both");
}

#[tokio::test]
async fn a_note_to_oneself_reaches_ones_other_sessions_once() {
    let town = Town::new().await;
    let (phone, mut to_phone) = town.connect(Carrier::Quic, "alice").await;
    let (laptop, mut to_laptop) = town.connect(Carrier::Quic, "alice").await;
    phone.peer("alice").unwrap().send("milk").await.unwrap();
    laptop.peer("alice").unwrap().send("eggs").await.unwrap();
    assert_eq!(text(&next_message(&mut to_laptop).await), "milk");
    assert_eq!(text(&next_message(&mut to_phone).await), "eggs");
}

#[tokio::test]
async fn a_retry_gets_the_first_result_and_no_second_event() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (elsewhere, _events) = town.connect(Carrier::WebSocket, "alice").await;
    let (_bob, mut to_bob) = town.connect(Carrier::Quic, "bob").await;

    let first = alice.call(send_to("bob", 1, "once")).await.unwrap();
    assert_eq!(alice.call(send_to("bob", 1, "once")).await.unwrap(), first);
    assert_eq!(elsewhere.call(send_to("bob", 1, "once")).await.unwrap(), first);
    assert_eq!(refused(alice.call(send_to("bob", 1, "twice")).await), Code::MessageConflict);
    let second = alice.call(send_to("bob", 2, "again")).await.unwrap();
    assert_eq!(second.position.seq, first.position.seq.next());
    assert_eq!(text(&next_message(&mut to_bob).await), "once");
    assert_eq!(text(&next_message(&mut to_bob).await), "again");
}

#[tokio::test]
async fn prev_is_the_last_number_of_the_same_priority() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let bob = alice.peer("bob").unwrap();
    let mut told = vec![];
    for priority in [Priority::Normal, Priority::High, Priority::Normal, Priority::Low, Priority::High] {
        let sent = bob.message("x").priority(priority).send().await.unwrap();
        told.push((sent.position.seq.0, sent.prev.0));
    }
    assert_eq!(told, [(1, 0), (2, 0), (3, 1), (4, 0), (5, 2)]);
}

#[tokio::test]
async fn messages_of_one_session_keep_their_order() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (_bob, mut to_bob) = town.connect(Carrier::Quic, "bob").await;
    let bob = alice.peer("bob").unwrap();
    let sends = (0..300).map(|i| bob.message(i.to_string()).send());
    let all = futures_util::future::join_all(sends);
    let heard = async {
        let mut heard = vec![];
        while heard.len() < 300 {
            heard.push(text(&next_message(&mut to_bob).await).parse::<u32>().unwrap());
        }
        heard
    };
    let (sent, heard) = within(futures_util::future::join(all, heard)).await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(heard, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn history_is_read_by_range_from_either_side() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (bob, _events) = town.connect(Carrier::WebSocket, "bob").await;
    for i in 1..=7 {
        let (from, to) = if i % 2 == 0 { (&alice, "bob") } else { (&bob, "alice") };
        from.peer(to).unwrap().send(i.to_string()).await.unwrap();
    }
    let read = async |client: &Client, with: &str, from, to, limit| {
        let query = History {
            conversation: peer(with),
            from: Seq(from),
            to: Seq(to),
            limit,
            direction: Direction::Forwards,
        };
        let page = client.call(query).await.unwrap();
        let texts: Vec<_> = page.messages.iter().map(text).collect();
        (page.head.seq.0, texts.join(" "), page.next.map(|seq| seq.0))
    };
    assert_eq!(read(&alice, "bob", 1, 100, 100).await, (7, "1 2 3 4 5 6 7".into(), None));
    assert_eq!(read(&bob, "alice", 3, 5, 100).await, (7, "3 4 5".into(), None));
    assert_eq!(read(&alice, "bob", 0, u64::MAX, 3).await, (7, "1 2 3".into(), Some(4)));
    assert_eq!(read(&alice, "bob", 6, 7, 1).await, (7, "6".into(), Some(7)));
    assert_eq!(read(&alice, "bob", 8, 9, 1).await, (7, String::new(), None));
    assert_eq!(read(&alice, "bob", 5, 4, 1).await, (7, String::new(), None));
    assert_eq!(read(&alice, "carol", 1, 9, 1).await, (0, String::new(), None));
}

#[tokio::test]
async fn a_long_history_comes_in_pages_that_fit_a_frame() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let bob = alice.peer("bob").unwrap();
    for i in 0..20 {
        bob.send(i.to_string().repeat(15_000)).await.unwrap();
    }
    let (mut from, mut read, mut pages) = (Seq(1), 0, 0);
    loop {
        let query = History {
            conversation: peer("bob"),
            from,
            to: Seq(20),
            limit: 100,
            direction: Direction::Forwards,
        };
        let page = alice.call(query).await.unwrap();
        read += page.messages.len();
        pages += 1;
        let Some(next) = page.next else { break };
        from = next;
    }
    assert_eq!(read, 20);
    assert!(pages > 1);
}

#[tokio::test]
async fn what_is_no_message_is_refused_by_its_own_code() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let with = |change: fn(&mut Send)| {
        let mut send = send_to("bob", 9, "x");
        change(&mut send);
        send
    };
    let huge = || Body::new([vec![0x81, 0x80, 0x02], vec![b'x'; TEXT_BYTES_MAX + 1]].concat()).unwrap();
    let mut too_large = send_to("bob", 9, "x");
    too_large.content.body = huge();
    for (send, code) in [
        (too_large, Code::MessageTooLarge),
        (with(|send| send.content.body = Body::new(vec![0]).unwrap()), Code::InvalidArgument),
        (with(|send| send.content.body = Body::new(vec![]).unwrap()), Code::Malformed),
        (with(|send| send.content.kind = MessageKind::Barrage), Code::MessageKindRefused),
        (with(|send| send.id = ClientMessageId([1; 16])), Code::MessageIdStale),
        (with(|send| send.id = ClientMessageId([255; 16])), Code::MessageIdStale),
        (
            with(|send| {
                send.conversation = Conversation::Room(quail_protocol::id::RoomId::new("r").unwrap());
            }),
            Code::NotInRoom,
        ),
    ] {
        assert_eq!(refused(alice.call(send).await), code);
    }
    let limit = |limit| History {
        conversation: peer("bob"),
        from: Seq(1),
        to: Seq(9),
        limit,
        direction: Direction::Forwards,
    };
    assert_eq!(refused(alice.call(limit(0)).await), Code::InvalidArgument);
    assert_eq!(refused(alice.call(limit(101)).await), Code::InvalidArgument);
    let largest = "x".repeat(TEXT_BYTES_MAX);
    assert!(alice.peer("bob").unwrap().send(largest).await.is_ok());
}

#[tokio::test]
async fn over_the_rate_a_text_is_refused_with_the_time_to_wait_and_a_retry_is_not() {
    let town = Town::new().await;
    let (alice, _events) = within(town.client_of(Carrier::Quic, STRICT, "alice").connect()).await.unwrap();
    let first = alice.call(send_to("bob", 0, "x")).await.unwrap();
    let mut reject = None;
    for i in 1..=40 {
        if let Err(CallError::Reject(refusal)) = alice.call(send_to("bob", i, "x")).await {
            reject = Some(refusal);
            break;
        }
    }
    let reject = reject.expect("forty texts at once are over ten a second");
    assert_eq!(reject.code, Code::RateLimited);
    assert!((1..=1000).contains(&reject.retry_after_ms.unwrap()));
    assert_eq!(alice.call(send_to("bob", 0, "x")).await.unwrap(), first);
    assert!(alice.call(quail_protocol::session::Ping {}).await.is_ok(), "the session lives on");
}

#[tokio::test]
async fn history_begins_where_the_app_stopped_keeping_it() {
    let keep_two = |config: &mut Config| {
        config.apps.values_mut().for_each(|app| app.history.entries_max = NonZeroU64::new(2));
    };
    let town = Town::with(keep_two).await;
    for carrier in Carrier::ALL {
        let to = format!("bob-over-{carrier:?}");
        let (alice, _events) = town.connect(carrier, "alice").await;
        let first = alice.call(send_to(&to, 1, "1")).await.unwrap();
        for id in 2..=5 {
            alice.call(send_to(&to, id, "x")).await.unwrap();
        }
        let query = History {
            conversation: peer(&to),
            from: Seq(1),
            to: Seq(99),
            limit: 100,
            direction: Direction::Forwards,
        };
        let page = alice.call(query).await.unwrap();
        let seqs: Vec<_> = page.messages.iter().map(|message| message.position.seq.0).collect();
        assert_eq!((page.first, page.head.seq, seqs), (Seq(4), Seq(5), vec![4, 5]));
        assert_eq!(
            alice.call(send_to(&to, 1, "1")).await.unwrap(),
            first,
            "its entry is gone, its place is not"
        );
    }
}

#[tokio::test]
async fn a_reader_that_stalls_is_told_that_it_is_behind_and_misses_nothing_in_history() {
    let town = Town::with(|config| config.session.outbox.lane_items = 4).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Raw::log_in(&town, Carrier::Quic, FAST, "bob").await;
    let to = alice.peer("bob").unwrap();
    for i in 0..200 {
        to.send(format!("{i} {}", "x".repeat(20_000))).await.unwrap();
    }
    let mut behind = None;
    while behind.is_none() {
        let Said::Frame(frame) = bob.next().await else { panic!("closed") };
        let Head::Event { kind } = frame.head else { panic!("{frame:?}") };
        match Event::decode(kind, frame.body).unwrap() {
            Event::MessageSent(_) => {}
            Event::Behind(event) => behind = Some(event),
            other => panic!("{other:?}"),
        }
    }
    let behind = behind.unwrap();
    assert_eq!(behind.conversation, peer("alice"));
    assert!(behind.head.seq <= Seq(200) && behind.head.seq > Seq(4));
    let query = History {
        conversation: peer("bob"),
        from: behind.head.seq,
        to: Seq(200),
        limit: 1,
        direction: Direction::Forwards,
    };
    let page = within(alice.call(query)).await.unwrap();
    assert_eq!(page.messages[0].position, behind.head);
    let patience = Duration::from_secs(1);
    assert!(tokio::time::timeout(patience, alice.call(quail_protocol::session::Ping {})).await.is_ok());
}

#[tokio::test]
async fn a_lane_that_is_opened_late_does_not_overtake_what_went_over_control() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let mut bob = Raw::log_in(&town, Carrier::Quic, FAST, "bob").await;
    let to = alice.peer("bob").unwrap();
    let (mut numbers, mut late) = (vec![], None);
    for request_id in 2..4 {
        to.send("x").await.unwrap();
        let Said::Frame(frame) = bob.next().await else { panic!("closed") };
        let Head::Event { kind } = frame.head else { panic!("not an event on Control: {frame:?}") };
        let Event::MessageSent(message) = Event::decode(kind, frame.body).unwrap() else {
            panic!("{kind:?}")
        };
        numbers.push(message.position.seq.0);
        if request_id == 2 {
            let Raw::Quic { connection, .. } = &bob else { unreachable!() };
            let (send, _receive) = late.insert(connection.open_bi().await.unwrap());
            let ping = frame::encode(&Head::Request { request_id, opcode: Ping::INFO.opcode }, &Ping {});
            send.write_all(&[&[Lane::Normal.tag()], &ping[..]].concat()).await.unwrap();
            bob.reply(request_id).await.unwrap();
        }
    }
    assert_eq!(numbers, [1, 2]);
}
