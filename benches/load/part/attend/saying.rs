//! Messages as they are written: to a Quail, and as a Quail would tell them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use quail_protocol::{
    Conversation, Epoch, Operation, Position, Priority, Rev, Seq, Timestamp,
    event::EventBody,
    frame::{self, Head},
    id::{ClientMessageId, MessageId, UserId},
    message::{Content, Message, Send, SenderNote},
    room::Role,
};

fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64)
}

fn random(nth: u64) -> [u8; 10] {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&nth.to_be_bytes());
    random
}

/// The id of message number `nth` of its sender.
pub(crate) fn id(nth: u64) -> anyhow::Result<ClientMessageId> {
    Ok(ClientMessageId::at(now()?, random(nth)))
}

/// The frame of a request to send a message.
pub(crate) fn request(request_id: u32, send: &Send) -> Bytes {
    frame::encode(&Head::Request { request_id, opcode: Send::INFO.opcode }, send)
}

/// The frame of the event that a Quail would make of message number `nth` of its sender.
pub(crate) fn event(
    conversation: Conversation,
    sender: &UserId,
    (client_id, nth): (ClientMessageId, u64),
    priority: Priority,
    content: Content,
) -> anyhow::Result<Bytes> {
    let now = now()?;
    let (name, avatar) = Default::default();
    let message = Message {
        id: MessageId::at(now, random(nth)),
        client_id,
        conversation,
        sender: sender.clone(),
        member: Some(SenderNote { name, avatar, role: Role::Member }),
        position: Position { epoch: Epoch(now), seq: Seq(nth) },
        prev: Seq(nth - 1),
        ordinal: nth,
        rev: Rev(0),
        recall: None,
        priority,
        time: Timestamp(now),
        content,
    };
    Ok(message.to_frame())
}

/// Batches for the bare loop, which begin with their length.
pub(crate) fn framed(batch: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(4 + batch.len());
    framed.put_u32(batch.len() as u32);
    framed.extend_from_slice(batch);
    framed.freeze()
}
