//! What a server would say: answers login, ping, logout and sends, and echoes each message as an event. It knows no
//! conversations.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use quail_client::protocol::{
    Close, Code, Epoch, Event, Lane, Operation, Position, Reject, Rev, Seq, Timestamp,
    event::EventBody,
    frame::{self, Frame, Head, Outcome},
    id::{MessageId, SessionId, UserId},
    message::{Ack, Message, Send, Sent, Text},
    session::{Limits, LoggedIn, LoggedOut, Login, Logout, Ping, Pong, ResumeToken},
};
use tokio::sync::mpsc;

/// The fake clock of the server, in milliseconds.
pub(crate) const TIME: Timestamp = Timestamp(1_700_000_000_000);

/// The token that the fake refuses.
pub(crate) const BAD_TOKEN: &str = "expired";

/// Texts that the fake does not just answer.
pub(crate) const CLOSE: &str = "close with Draining";
pub(crate) const IGNORE: &str = "do not reply";

/// What the fake does next.
pub(crate) enum Act {
    Write(Bytes),
    Close(Close),
}

/// A request as it was seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lane: Lane,
    pub(crate) request_id: u32,
    pub(crate) name: &'static str,
}

#[derive(Clone)]
pub(crate) struct Fake {
    seq: Arc<AtomicU64>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl Fake {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (seen, receiver) = mpsc::unbounded_channel();
        (Self { seq: Arc::default(), seen }, receiver)
    }

    /// What a frame on `lane` leads to, on the same lane.
    pub(crate) fn serve(&self, lane: Lane, frame: Frame) -> Vec<Act> {
        let Head::Request { request_id, opcode } = frame.head else {
            panic!("not a request: {:?}", frame.head)
        };
        let ok = Head::Reply { request_id, outcome: Outcome::Ok };
        let info = quail_client::protocol::operations().find(|info| info.opcode == opcode).unwrap();
        self.seen.send(Seen { lane, request_id, name: info.name }).ok();
        if opcode == Login::INFO.opcode {
            let login: Login = frame::decode(&frame.body).unwrap();
            return vec![Act::Write(log_in(request_id, &login))];
        }
        if opcode == Ping::INFO.opcode {
            return vec![Act::Write(frame::encode(&ok, &Pong { time: TIME }))];
        }
        if opcode == Logout::INFO.opcode {
            return vec![Act::Write(frame::encode(&ok, &LoggedOut {}))];
        }
        assert_eq!(opcode, Send::INFO.opcode);
        let send: Send = frame::decode(&frame.body).unwrap();
        match Text::decode(&send.content.body).unwrap().text.as_str() {
            CLOSE => vec![Act::Close(Close::Draining)],
            IGNORE => Vec::new(),
            _ => self.echo(&ok, send),
        }
    }

    fn echo(&self, ok: &Head, send: Send) -> Vec<Act> {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let message = Message {
            id: MessageId::at(TIME.0, [1; 10]),
            client_id: send.id,
            conversation: send.conversation,
            sender: UserId::new("echo").unwrap(),
            member: None,
            position: Position { epoch: Epoch(1), seq: Seq(seq) },
            prev: Seq(seq - 1),
            ordinal: 0,
            rev: Rev(0),
            recall: None,
            priority: send.priority,
            time: TIME,
            content: send.content,
        };
        let sent = Sent {
            id: message.id,
            position: message.position,
            prev: message.prev,
            rev: message.rev,
            priority: message.priority,
            time: TIME,
            ack: Ack::Durable,
        };
        vec![Act::Write(message.to_frame()), Act::Write(frame::encode(ok, &sent))]
    }
}

fn log_in(request_id: u32, login: &Login) -> Bytes {
    if login.token.as_str() == BAD_TOKEN {
        let outcome = Outcome::Reject(Reject::from(Code::TokenExpired));
        return frame::encode_raw(&Head::Reply { request_id, outcome }, &[]);
    }
    let limits = Limits {
        frame_bytes: 64 * 1024,
        requests_in_flight: 8,
        text_bytes: 32 * 1024,
        texts_per_second: 10,
        queries_per_second: 20,
        changes_per_second: 10,
        ping_after_ms: 10_000,
        idle_timeout_ms: 30_000,
        grace_ms: 30_000,
        ..Limits::default()
    };
    let logged_in = LoggedIn {
        session: SessionId([7; 16]),
        resumed: false,
        resume_token: ResumeToken([7; 16]),
        revision: 1,
        time: TIME,
        token_expires: Timestamp(TIME.0 + 3_600_000),
        limits,
        feed: Position::default(),
        conversations: Default::default(),
    };
    frame::encode(&Head::Reply { request_id, outcome: Outcome::Ok }, &logged_in)
}

/// The text of an echoed message.
pub(crate) fn text_of(event: Option<Event>) -> String {
    match event {
        Some(Event::MessageSent(message)) => Text::decode(&message.content.body).unwrap().text,
        other => panic!("no message: {other:?}"),
    }
}
