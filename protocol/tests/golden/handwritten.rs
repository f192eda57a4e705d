//! Values worth seeing as bytes that the generated samples do not show.

use std::fmt::Debug;

use quail_protocol::{
    Code, Conversation, Epoch, Lane, Operation, Position, Priority, Reject, Rev, Seq, Timestamp,
    bounded::{List, Text},
    event::EventBody,
    frame::{self, Head, Outcome},
    id::{AppId, ClientMessageId, DeviceId, GroupId, MessageId, RoomId, UserId},
    message::{
        self, Ack, Behind, BehindCause, Content, Direction, History, Message, MessageKind, Page, Send, Sent,
    },
    session::{Login, Ping, Platform},
    user::{Profile, Profiles, Query},
};

use crate::rows::Vector;

/// Vectors beyond the generated ones, named after their row and a word.
pub(crate) fn vectors() -> Vec<Vector> {
    let mut all = vec![
        request(
            "session.login.request/no_options",
            1,
            &login(),
            "a first login: no name, no avatar, browser",
        ),
        request(
            "user.query.request/nobody",
            2,
            &Query { users: valid(List::new(Vec::new())) },
            "an empty list",
        ),
        reply("user.query.reply/nameless", 2, &nameless(), "alice, with an empty name and avatar"),
        request(
            "message.send.request/text",
            300,
            &hello(),
            "the text \"Hello, Bob\" to peer bob, priority Normal, no ext",
        ),
        reply("message.send.reply/text", 300, &hello_sent(), "placed as 1:42, after 41, durable"),
        event("message.sent.event/text", &hello_placed(), "the same message as bob sees it"),
        event("message.behind.event/peer", &behind(), "peer alice, head 1:99"),
        reply("message.history.reply/empty", 3, &empty_page(), "head 1:0, no message, no next"),
    ];
    for (word, conversation) in conversations() {
        let (from, to, direction) = (Seq(1), Seq(100), Direction::Forwards);
        let history = History { conversation, from, to, limit: 50, direction };
        let meaning = format!("{}, entries 1 to 100, at most 50", history.conversation);
        all.push(request(&format!("message.history.request/{word}"), 3, &history, &meaning));
    }
    all.push(refusal(
        "reject.RateLimited/retry_after",
        Reject { retry_after_ms: Some(750), ..Reject::from(Code::RateLimited) },
    ));
    all.push(refusal(
        "reject.Internal/trace_id",
        Reject { trace_id: Some((1 << 53) - 1), ..Reject::from(Code::Internal) },
    ));
    all.push(websocket_ping());
    all
}

fn login() -> Login {
    Login {
        revision: 1,
        app: valid(AppId::new("demo")),
        user: valid(UserId::new("alice")),
        token: valid(Text::new("header.claims.signature")),
        name: None,
        avatar: None,
        device: valid(DeviceId::new("tab-1")),
        platform: Platform::Web,
        client: valid(Text::new("quail-web/0.1.0")),
        stream_window_bytes: 65_536,
        streams_per_lane: 1,
        conversations: 0,
        resume: None,
    }
}

fn nameless() -> Profiles {
    let (name, avatar) = (valid(Text::new("")), valid(Text::new("")));
    let user = valid(UserId::new("alice"));
    let profile = Profile { user, name, avatar, extension: Default::default() };
    Profiles { profiles: valid(List::new(vec![profile])) }
}

fn peer(user: &str) -> Conversation {
    Conversation::Peer(valid(UserId::new(user)))
}

fn conversations() -> [(&'static str, Conversation); 3] {
    [
        ("peer", peer("bob")),
        ("room", Conversation::Room(valid(RoomId::new("lobby")))),
        ("group", Conversation::Group(valid(GroupId::new("climbers")))),
    ]
}

const SENT_AT: u64 = 1_750_000_000_123;

fn at(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

fn client_id() -> ClientMessageId {
    ClientMessageId::at(SENT_AT - 23, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
}

fn message_id() -> MessageId {
    MessageId::at(SENT_AT, [11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
}

fn hello() -> Send {
    Send {
        conversation: peer("bob"),
        id: client_id(),
        priority: Priority::Normal,
        content: Content::new(MessageKind::Text, valid(message::Text::encode("Hello, Bob"))),
    }
}

fn hello_sent() -> Sent {
    Sent {
        id: message_id(),
        position: at(42),
        prev: Seq(41),
        rev: Rev(0),
        priority: Priority::Normal,
        time: Timestamp(SENT_AT),
        ack: Ack::Durable,
    }
}

fn hello_placed() -> Message {
    let (Send { conversation, id, priority, content }, sent) = (hello(), hello_sent());
    Message {
        id: sent.id,
        client_id: id,
        conversation,
        sender: valid(UserId::new("alice")),
        member: None,
        position: sent.position,
        prev: sent.prev,
        ordinal: 40,
        rev: sent.rev,
        recall: None,
        priority,
        time: sent.time,
        content,
    }
}

fn behind() -> Behind {
    Behind { conversation: peer("alice"), head: at(99), rev: Rev(0), cause: BehindCause::SlowReader }
}

fn empty_page() -> Page {
    Page { head: at(0), first: Seq(1), rev: Rev(0), messages: List::default(), next: None }
}

fn websocket_ping() -> Vector {
    let head = Head::Request { request_id: 2, opcode: Ping::INFO.opcode };
    let frame = frame::encode(&head, &Ping {});
    let bytes = [&[Lane::Control.tag()], &frame[..]].concat();
    vector("lane.control/websocket", bytes, "a WebSocket message: Control, then a ping with id 2")
}

fn request<O: Operation>(name: &str, request_id: u32, body: &O, meaning: &str) -> Vector {
    let head = Head::Request { request_id, opcode: O::INFO.opcode };
    let meaning = format!("on {:?}, id {request_id}: {meaning}", body.lane());
    vector(name, frame::encode(&head, body).to_vec(), &meaning)
}

fn reply<R: serde::Serialize>(name: &str, request_id: u32, body: &R, meaning: &str) -> Vector {
    let head = Head::Reply { request_id, outcome: Outcome::Ok };
    vector(name, frame::encode(&head, body).to_vec(), &format!("id {request_id}: {meaning}"))
}

fn event<E: EventBody>(name: &str, body: &E, meaning: &str) -> Vector {
    vector(name, body.to_frame().to_vec(), meaning)
}

fn refusal(name: &str, reject: Reject) -> Vector {
    let head = Head::Reply { request_id: 1, outcome: Outcome::Reject(reject) };
    vector(name, frame::encode_raw(&head, &[]).to_vec(), &format!("{reject:?}"))
}

fn vector(name: &str, bytes: Vec<u8>, meaning: &str) -> Vector {
    Vector { name: name.to_owned(), bytes, meaning: meaning.to_owned() }
}

fn valid<T, E: Debug>(value: Result<T, E>) -> T {
    value.unwrap_or_else(|error| panic!("{error:?}"))
}
