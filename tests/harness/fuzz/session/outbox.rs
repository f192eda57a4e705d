//! The outbox of a session, filled and emptied, over one connection after the other.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use bytesize::ByteSize;
use quail_protocol::{
    Conversation, Epoch, Event, Lane, Position, Seq,
    event::Kind,
    frame::{self, Decoder, Head, Outcome},
    id::UserId,
};
use quail_server::session::outbox::{Attachment, Config, Outbox, Subject};

use super::Choices;

const ITEMS_MAX: usize = 8;
const BYTES_MAX: usize = 512;

/// Events of a message, and notices.
const EVENT: Kind = Kind(0x7f01);
const NOTICE: Kind = Kind(0x7f02);

/// What waits on a lane, as far as it can be seen from outside.
#[derive(Default)]
struct Waiting {
    replies: VecDeque<u32>,
    events: VecDeque<(Conversation, Seq)>,
    /// What the client has to be told that it is behind.
    owed: BTreeMap<Conversation, Seq>,
}

struct Model {
    outbox: Outbox,
    attachment: Attachment,
    lanes: [Waiting; Lane::COUNT],
    reply_bytes: BTreeMap<u32, usize>,
    away: bool,
    closed: bool,
    dropped: u64,
    number: u32,
}

/// Replies come out once and in order; no event goes without a word; what waits is bounded; whole frames come out.
pub(super) fn run(mut choices: Choices<'_>) {
    let config = Config { lane_items: ITEMS_MAX, lane_bytes: ByteSize(BYTES_MAX as u64) };
    let mut model = Model {
        outbox: Outbox::new(config),
        attachment: Attachment::default(),
        lanes: Default::default(),
        reply_bytes: BTreeMap::new(),
        away: false,
        closed: false,
        dropped: 0,
        number: 0,
    };
    while let (Some(choice), Some(value)) = (choices.next(), choices.next()) {
        model.step(choice, value);
    }
    if !model.takes_in() {
        model.attach();
    }
    for lane in 0..Lane::COUNT {
        while model.take(lane, 16) {}
        let Waiting { replies, events, owed } = &model.lanes[lane];
        assert!(replies.is_empty() && events.is_empty() && owed.is_empty(), "dropped without a word");
    }
    assert!(model.outbox.is_empty());
}

impl Model {
    fn takes_in(&self) -> bool {
        !self.away && !self.closed && !self.outbox.is_overrun()
    }

    fn step(&mut self, choice: u8, value: u8) {
        let lane = usize::from(choice >> 4) % Lane::COUNT;
        self.number += 1;
        match choice % 16 {
            0..=2 => self.reply(lane, value),
            3..=7 => self.event(lane, value),
            8 => {
                let body = vec![0; usize::from(value) * 2];
                self.outbox.push_notice(frame::encode_raw(&Head::Event { kind: NOTICE }, &body));
            }
            9..=12 => _ = self.take(lane, usize::from(value) * 4),
            13 => self.attach(),
            14 if self.outbox.detach(self.attachment) => {
                self.away = true;
                self.forget();
            }
            15 if value < 8 && self.outbox.expire(self.attachment) => {
                self.closed = true;
                self.forget();
            }
            _ => {}
        }
        assert_eq!(self.outbox.reply_bytes(), self.reply_bytes.values().sum::<usize>());
        assert_eq!(self.outbox.dropped(), self.dropped);
    }

    fn reply(&mut self, lane: usize, value: u8) {
        let head = Head::Reply { request_id: self.number, outcome: Outcome::Ok };
        let frame = frame::encode_raw(&head, &vec![0; value.into()]);
        if self.takes_in() {
            self.lanes[lane].replies.push_back(self.number);
            self.reply_bytes.insert(self.number, frame.len());
        }
        self.outbox.push_reply(Lane::ALL[lane], frame);
    }

    fn event(&mut self, lane: usize, value: u8) {
        let user = ["alice", "bob", "carol"][usize::from(value) % 3];
        let conversation = Conversation::Peer(UserId::new(user).expect("an id"));
        let seq = Seq(self.number.into());
        let position = Position { epoch: Epoch(1), seq };
        let subject = Subject { conversation: conversation.clone(), head: position, rev: Default::default() };
        let frame = frame::encode_raw(&Head::Event { kind: EVENT }, &vec![0; value.into()]);
        let took_in = self.takes_in();
        let dropped = self.outbox.push_event(Lane::ALL[lane], frame, subject);
        self.dropped += dropped as u64;
        let waiting = &mut self.lanes[lane];
        match dropped {
            0 if took_in => waiting.events.push_back((conversation, seq)),
            0 => {}
            _ => {
                let all = if dropped > 1 { std::mem::take(&mut waiting.events) } else { VecDeque::new() };
                assert_eq!(dropped, all.len() + 1);
                waiting.owed.extend(all);
                waiting.owed.insert(conversation, seq);
            }
        }
        assert!(waiting.events.len() <= ITEMS_MAX);
    }

    /// Takes a batch. False if there was none.
    fn take(&mut self, lane: usize, bytes_max: usize) -> bool {
        let waits = self.outbox.waiting(self.attachment).on(Lane::ALL[lane]);
        let Some(batch) = self.outbox.take(self.attachment, Lane::ALL[lane], bytes_max) else { return false };
        assert!(waits, "a driver would not have looked");
        let mut decoder = Decoder::new(1 << 20);
        let length = batch.bytes.len();
        decoder.extend(&batch.bytes);
        let (mut frames, mut replies) = (0, 0);
        while let Some(frame) = decoder.next_frame().expect("whole frames") {
            frames += 1;
            replies += usize::from(matches!(frame.head, Head::Reply { .. }));
            self.took(lane, frame.head, frame.body);
        }
        assert!(decoder.is_between_frames() && frames > 0 && replies == batch.replies);
        assert!(length <= bytes_max || frames == 1, "{length} bytes in {frames} frames, not {bytes_max}");
        true
    }

    fn took(&mut self, lane: usize, head: Head, body: Bytes) {
        let waiting = &mut self.lanes[lane];
        match head {
            Head::Reply { request_id, .. } => {
                assert_eq!(waiting.replies.pop_front(), Some(request_id));
                self.reply_bytes.remove(&request_id);
            }
            Head::Event { kind: EVENT } => assert!(waiting.events.pop_front().is_some()),
            Head::Event { kind: NOTICE } => {}
            Head::Event { kind } => {
                let Ok(Event::Behind(behind)) = Event::decode(kind, body) else { panic!("{kind:?}") };
                let owed = waiting.owed.get(&behind.conversation).copied().expect("something was dropped");
                // Of what was dropped since this was queued another word will be said.
                if owed <= behind.head.seq {
                    waiting.owed.remove(&behind.conversation);
                }
            }
            Head::Request { .. } | Head::Signal => panic!("a server asks nothing"),
        }
    }

    fn attach(&mut self) {
        let attached = self.outbox.attach();
        assert_eq!(attached.is_none(), self.closed);
        if let Some(attachment) = attached {
            assert_ne!(attachment, self.attachment);
            assert!(self.outbox.take(self.attachment, Lane::Control, 100).is_none(), "it was superseded");
            self.attachment = attachment;
            self.away = false;
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.lanes = Default::default();
        self.reply_bytes.clear();
    }
}
