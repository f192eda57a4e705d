//! Requests on their way out, per lane, gathered into few large writes.

use std::{any::Any, collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};
use quail_protocol::{
    Class, Conversation, Info, Lane, Operation,
    frame::{self, Head},
    id::{ClientMessageId, RoomId},
    message::{Recall, Send},
    room::{Create, Dismiss, Enter, Join, Leave, LeaveAll, Settings, Switch},
};

use crate::{
    error::CallError,
    pending::{Pending, Waiting},
    state::Cause,
};

/// Frames are gathered up to this size: small segments cost the carrier far more than the copy.
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// Length prefix, tag, request id and opcode at their longest.
pub(crate) const HEAD_BYTES_MAX: usize = 4 + 1 + 5 + 3;

/// A request without its number, which it gets when it is written.
pub(crate) struct Request {
    pub(crate) lane: Lane,
    pub(crate) info: Info,
    pub(crate) body: Bytes,
    pub(crate) own: Option<Own>,
    pub(crate) waiting: Waiting,
}

/// Which place the reply to a request fills, that no event tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Of a message.
    Message(OwnMessage),
    /// Of a change.
    Recall(Conversation),
    /// Where a room is begun to be followed.
    Enter(Box<Entry>),
    /// Where it ends for this client.
    Leave(RoomId),
    /// Where it ends for everybody.
    Dismiss(RoomId),
    /// Where all that this session is in end.
    LeaveAll,
    /// None: a message without a number. It must not be sent again unasked.
    Unnumbered,
}

/// A way into a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Only if the room has to be made.
    Create(Settings),
    /// Only if the room is there.
    Join,
    /// Either way.
    Enter(Settings),
}

/// The app wants to come into a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) room: RoomId,
    pub(crate) door: Door,
    /// What it leaves for that.
    pub(crate) from: Option<RoomId>,
}

/// A message that gets a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnMessage {
    pub(crate) conversation: Conversation,
    pub(crate) id: ClientMessageId,
}

impl OwnMessage {
    /// What `send` is.
    pub(crate) fn of(send: &Send) -> Self {
        let Send { conversation, id, .. } = send;
        Self { conversation: conversation.clone(), id: *id }
    }
}

impl Own {
    /// Whether it says where this client stands with a room.
    pub(crate) fn is_of_rooms(&self) -> bool {
        match self {
            Self::Enter(_) | Self::Leave(_) | Self::Dismiss(_) | Self::LeaveAll => true,
            Self::Message(_) | Self::Recall(_) | Self::Unnumbered => false,
        }
    }

    /// What `operation` adds.
    pub(crate) fn of(operation: &dyn Any) -> Option<Self> {
        if let Some(Recall { conversation, .. }) = operation.downcast_ref() {
            return Some(Self::Recall(conversation.clone()));
        }
        if let Some(entry) = Entry::of(operation) {
            return Some(Self::Enter(Box::new(entry)));
        }
        if let Some(Leave { room, .. }) = operation.downcast_ref() {
            return Some(Self::Leave(room.clone()));
        }
        if let Some(Dismiss { room, .. }) = operation.downcast_ref() {
            return Some(Self::Dismiss(room.clone()));
        }
        if operation.is::<LeaveAll>() {
            return Some(Self::LeaveAll);
        }
        let send: &Send = operation.downcast_ref()?;
        let numbered = send.content.options.persist;
        Some(if numbered { Self::Message(OwnMessage::of(send)) } else { Self::Unnumbered })
    }
}

impl Entry {
    /// The room that `operation` comes into, and how.
    fn of(operation: &dyn Any) -> Option<Self> {
        let way = |room: &RoomId, door| Some(Self { room: room.clone(), door, from: None });
        if let Some(Create { room, settings }) = operation.downcast_ref() {
            return way(room, Door::Create(settings.clone()));
        }
        if let Some(Enter { room, settings, .. }) = operation.downcast_ref() {
            return way(room, Door::Enter(settings.clone()));
        }
        if let Some(Switch { from, to, settings, .. }) = operation.downcast_ref() {
            let entry = way(to, settings.clone().map_or(Door::Join, Door::Enter))?;
            return Some(Self { from: Some(from.clone()), ..entry });
        }
        let Join { room, .. } = operation.downcast_ref()?;
        way(room, Door::Join)
    }
}

/// A request of the driver's own.
pub(crate) fn own<O: Operation>(waiting: Waiting, body: Bytes) -> Request {
    Request { lane: Lane::Control, info: O::INFO, body, own: None, waiting }
}

#[derive(Default)]
pub(crate) struct Outbox {
    queues: [VecDeque<Request>; Lane::COUNT],
    /// The numbers of requests that are written once more, before anything new.
    again: [VecDeque<u32>; Lane::COUNT],
    /// What each lane is writing.
    batches: [Bytes; Lane::COUNT],
    /// Signals that no datagram carries.
    signals: VecDeque<Bytes>,
    /// What of rooms was asked and is never answered: it was not written, or its reply was lost.
    unanswered: Vec<Own>,
}

/// So many signals may wait for the Low lane.
const SIGNALS_MAX: usize = 64;

impl Outbox {
    pub(crate) fn push(&mut self, request: Request) {
        self.queues[request.lane.index()].push_back(request);
    }

    /// Queues a signal for the Low lane, unless too many wait.
    pub(crate) fn push_signal(&mut self, frame: Bytes) {
        if self.signals.len() < SIGNALS_MAX {
            self.signals.push_back(frame);
        }
    }

    /// What `lane` has to write: the rest of its last batch, or a new one. Empty if there is nothing to write, or no
    /// number to be had.
    pub(crate) fn batch(&mut self, lane: Lane, pending: &mut Pending) -> &mut Bytes {
        let batch = &mut self.batches[lane.index()];
        if batch.is_empty()
            && lane == Lane::Low
            && let Some(signal) = self.signals.pop_front()
        {
            *batch = signal;
        }
        if batch.is_empty() {
            let (again, queue) = (&mut self.again[lane.index()], &mut self.queues[lane.index()]);
            *batch = gather(again, queue, pending, &mut self.unanswered);
        }
        batch
    }

    /// Gets ready to go on with a session: what was written without a reply is written once more under its number.
    pub(crate) fn go_on(&mut self, pending: &Pending) {
        (self.batches, self.again, self.signals) = Default::default();
        for (id, lane) in pending.lanes() {
            self.again[lane.index()].push_back(id);
        }
    }

    /// Gets ready for a new session: what was written without a reply and may be repeated goes to the front in its old
    /// order, a change ends, and the driver's own requests are forgotten.
    pub(crate) fn repeat(&mut self, written: impl DoubleEndedIterator<Item = Request>) {
        (self.batches, self.again, self.signals) = Default::default();
        for request in written.rev() {
            match request.info.class {
                // Nothing remembers that it was sent.
                Class::Send if request.own == Some(Own::Unnumbered) => {
                    request.waiting.finish(Err(CallError::Unknown));
                }
                Class::Query | Class::Send => self.queues[request.lane.index()].push_front(request),
                Class::Change => {
                    self.unanswered.extend(request.own.clone().filter(Own::is_of_rooms));
                    request.waiting.finish(Err(CallError::Unknown));
                }
            }
        }
        for queue in &mut self.queues {
            queue.retain(|request| {
                let stays = request.waiting.is_of_the_app() && !request.waiting.is_gone();
                if !stays {
                    self.unanswered.extend(request.own.clone().filter(Own::is_of_rooms));
                }
                stays
            });
        }
    }

    /// What of rooms was asked and is never answered, since this was called last.
    pub(crate) fn take_unanswered(&mut self) -> Vec<Own> {
        mem::take(&mut self.unanswered)
    }

    /// Ends every call that was not written, and forgets what was half written.
    pub(crate) fn fail(&mut self, cause: Cause) {
        for request in self.queues.iter_mut().flat_map(|queue| queue.drain(..)) {
            request.waiting.finish(Err(CallError::Disconnected(cause)));
        }
        (self.batches, self.again, self.signals) = Default::default();
    }
}

/// The ready frames of one lane as one piece; a frame longer than a batch goes alone.
fn gather(
    again: &mut VecDeque<u32>,
    queue: &mut VecDeque<Request>,
    pending: &mut Pending,
    unanswered: &mut Vec<Own>,
) -> Bytes {
    let mut next =
        |room| next_again(again, pending, room).unwrap_or_else(|| next(queue, pending, unanswered, room));
    let Some(first) = next(usize::MAX) else { return Bytes::new() };
    let Some(second) = next(room(&first)) else { return first };
    let mut batch = BytesMut::with_capacity(BATCH_BYTES_MAX);
    batch.extend_from_slice(&first);
    batch.extend_from_slice(&second);
    while let Some(frame) = next(room(&batch)) {
        batch.extend_from_slice(&frame);
    }
    batch.freeze()
}

fn room(batch: &[u8]) -> usize {
    BATCH_BYTES_MAX.saturating_sub(batch.len())
}

/// Encodes the next request that is to be written once more and has no reply yet. `None` if there is no such request,
/// `Some(None)` if it does not fit into `room`.
fn next_again(again: &mut VecDeque<u32>, pending: &Pending, room: usize) -> Option<Option<Bytes>> {
    loop {
        let request_id = *again.front()?;
        let Some(request) = pending.get(request_id) else {
            again.pop_front();
            continue;
        };
        if request.body.len().saturating_add(HEAD_BYTES_MAX) > room {
            return Some(None);
        }
        again.pop_front();
        let head = Head::Request { request_id, opcode: request.info.opcode };
        return Some(Some(frame::encode_raw(&head, &request.body)));
    }
}

/// Numbers and encodes the next request that somebody still waits for, if it fits into `room`.
fn next(
    queue: &mut VecDeque<Request>,
    pending: &mut Pending,
    unanswered: &mut Vec<Own>,
    room: usize,
) -> Option<Bytes> {
    while queue.front()?.waiting.is_gone() {
        let gone = queue.pop_front().and_then(|request| request.own);
        unanswered.extend(gone.filter(Own::is_of_rooms));
    }
    if queue.front()?.body.len().saturating_add(HEAD_BYTES_MAX) > room || !pending.admits() {
        return None;
    }
    let request = queue.pop_front()?;
    let (opcode, body) = (request.info.opcode, request.body.clone());
    let request_id = pending.add(request);
    Some(frame::encode_raw(&Head::Request { request_id, opcode }, &body))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use quail_protocol::{frame::Decoder, session::Ping};
    use tokio::sync::oneshot;

    use super::*;
    use crate::window::Window;

    fn ping(lane: Lane, bytes: usize) -> Request {
        Request { lane, ..own::<Ping>(Waiting::Ping, vec![0; bytes].into()) }
    }

    fn ids(batch: &[u8]) -> Vec<u32> {
        let mut decoder = Decoder::new(1 << 20);
        decoder.extend(batch);
        std::iter::from_fn(|| decoder.next_frame().unwrap())
            .map(|frame| match frame.head {
                Head::Request { request_id, .. } => request_id,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn ready_frames_of_a_lane_become_one_batch_of_bounded_size() {
        let (mut outbox, mut pending) = (Outbox::default(), Pending::new(1, 64));
        for bytes in [100, 8000, 8000, 40_000, 10, 10] {
            outbox.push(ping(Lane::Normal, bytes));
        }
        let mut batches = Vec::new();
        loop {
            let batch = std::mem::take(outbox.batch(Lane::Normal, &mut pending));
            if batch.is_empty() {
                break;
            }
            assert!(batch.len() <= BATCH_BYTES_MAX || ids(&batch).len() == 1);
            batches.push(ids(&batch));
        }
        assert_eq!(batches, [vec![1, 2, 3], vec![4], vec![5, 6]]);
    }

    #[test]
    fn a_batch_stays_until_it_is_written_and_a_number_is_given_when_it_is_made() {
        let (mut outbox, mut pending) = (Outbox::default(), Pending::new(1, 64));
        outbox.push(ping(Lane::Low, 5));
        outbox.push(ping(Lane::High, 5));
        assert_eq!(ids(outbox.batch(Lane::High, &mut pending)), [1]);
        outbox.push(ping(Lane::High, 5));
        assert_eq!(ids(outbox.batch(Lane::High, &mut pending)), [1]);
        assert_eq!(ids(outbox.batch(Lane::Low, &mut pending)), [2]);
    }

    #[test]
    fn a_call_whose_caller_left_is_never_written_and_takes_no_number() {
        let (mut outbox, mut pending) = (Outbox::default(), Pending::new(1, 64));
        let window = Window::new(64);
        let slot = window.turn(Lane::Normal).now_or_never().unwrap().unwrap().slot;
        let (reply, caller) = oneshot::channel();
        let waiting = Waiting::Call { reply, slot };
        outbox.push(Request { lane: Lane::Normal, ..own::<Ping>(waiting, Bytes::new()) });
        outbox.push(ping(Lane::Normal, 1));
        drop(caller);
        assert_eq!(ids(outbox.batch(Lane::Normal, &mut pending)), [1]);
        assert!(matches!(pending.take(1), Some(Request { waiting: Waiting::Ping, .. })));
    }

    #[test]
    fn a_session_that_goes_on_writes_what_has_no_reply_once_more_under_its_number() {
        let (mut outbox, mut pending) = (Outbox::default(), Pending::new(1, 64));
        for bytes in [10, 9000, 9000] {
            outbox.push(ping(Lane::Normal, bytes));
        }
        assert_eq!(ids(outbox.batch(Lane::Normal, &mut pending)), [1, 2]);
        assert!(pending.take(1).is_some());
        outbox.go_on(&pending);
        outbox.push(ping(Lane::Normal, 10));
        assert_eq!(ids(&std::mem::take(outbox.batch(Lane::Normal, &mut pending))), [2]);
        outbox.go_on(&pending);
        assert!(pending.take(2).is_some(), "answered before it was written once more");
        assert_eq!(ids(&std::mem::take(outbox.batch(Lane::Normal, &mut pending))), [3, 4]);
    }

    #[test]
    fn a_full_window_holds_the_rest_back() {
        let (mut outbox, mut pending) = (Outbox::default(), Pending::new(1, 2));
        for _ in 0..3 {
            outbox.push(ping(Lane::Control, 0));
        }
        assert_eq!(ids(&std::mem::take(outbox.batch(Lane::Control, &mut pending))), [1, 2]);
        assert!(outbox.batch(Lane::Control, &mut pending).is_empty());
        drop(pending.take(1));
        assert_eq!(ids(outbox.batch(Lane::Control, &mut pending)), [3]);
    }
}
