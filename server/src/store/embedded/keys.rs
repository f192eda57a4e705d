//! Stored bytes: keys that sort by conversation, and values that begin with a format byte.

use quail_protocol::{
    Conversation, Epoch, Position, Priority, Rev, Seq, Timestamp,
    id::{AppId, ClientMessageId, MessageId, RoomId, UserId},
    user::{FeedEntry, Profile},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::domain::conversation::{Countable, Marks, View};
use crate::store::{
    ConversationKey, Head, Place,
    entry::{Entry, Remembered},
    feed::Ends,
};

/// A key of the engine.
pub(super) type Key = Vec<u8>;

/// The format of every value. A later format gets the next number; this one stays readable.
const FORMAT: u8 = 1;

/// The store's layout of keyspaces and keys.
pub(super) const SCHEMA: u32 = 6;

/// A stored value is not what its key says.
#[derive(Debug, thiserror::Error)]
#[error("a stored {what} cannot be read (format byte {format:?})")]
pub(super) struct Unreadable {
    what: &'static str,
    format: Option<u8>,
}

/// `app`, then the two users, or the room and the epoch that it was made under; names stand behind their lengths, so that
/// no key is a prefix of another conversation's.
pub(super) fn conversation(key: &ConversationKey) -> Key {
    let mut bytes = Vec::with_capacity(64);
    match key {
        ConversationKey::Peer(app, low, high) => {
            push(&mut bytes, app.as_str());
            bytes.push(PEER);
            push(&mut bytes, low.as_str());
            push(&mut bytes, high.as_str());
        }
        ConversationKey::Room(app, room, made) => {
            push(&mut bytes, app.as_str());
            bytes.push(ROOM);
            push(&mut bytes, room.as_str());
            bytes.extend_from_slice(&made.0.to_be_bytes());
        }
    }
    bytes
}

/// Tell conversations of peers from those of rooms, and from the kinds that come later.
const PEER: u8 = 1;
const ROOM: u8 = 2;

/// What the keys of all rooms of an app begin with, which the key of any conversation of it names, and what stands behind all
/// of the app.
pub(super) fn rooms_of(key: &[u8]) -> Result<(Key, Key), Unreadable> {
    let (app, _) = pull(key).ok_or(Unreadable { what: "key of a conversation", format: None })?;
    let behind = |kind| {
        let mut bytes = Vec::with_capacity(32);
        push(&mut bytes, app);
        bytes.push(kind);
        bytes
    };
    Ok((behind(ROOM), behind(u8::MAX)))
}

/// The room that the key of its conversation names.
pub(super) fn conversation_of_room(key: &[u8]) -> Result<ConversationKey, Unreadable> {
    let read = || {
        let (app, rest) = pull(key)?;
        let (room, made) = pull(rest.strip_prefix(&[ROOM])?)?;
        let made = Epoch(u64::from_be_bytes(made.try_into().ok()?));
        Some(ConversationKey::Room(AppId::new(app).ok()?, RoomId::new(room).ok()?, made))
    };
    read().ok_or(Unreadable { what: "key of a room's conversation", format: None })
}

/// The key of an entry; entries of a conversation sort by number.
pub(super) fn entry(conversation: &[u8], seq: Seq) -> Vec<u8> {
    [conversation, &seq.0.to_be_bytes()].concat()
}

/// The key of a change of an entry; changes of a conversation sort by number.
pub(super) fn change(conversation: &[u8], rev: Rev) -> Key {
    entry(conversation, Seq(rev.0))
}

/// The number of the change that the key of one ends with.
pub(super) fn changed(key: &[u8]) -> Result<Rev, Unreadable> {
    let rev = key.last_chunk().map(|bytes| Rev(u64::from_be_bytes(*bytes)));
    rev.ok_or(Unreadable { what: "key of a change", format: None })
}

/// The key of a row against duplicates. The day of the id comes first, so that rows expire by range.
pub(super) fn dedup(conversation: &[u8], sender: &UserId, id: ClientMessageId) -> Vec<u8> {
    let mut bytes = day_of(id.unix_ms()).to_be_bytes().to_vec();
    bytes.extend_from_slice(conversation);
    push(&mut bytes, sender.as_str());
    bytes.extend_from_slice(&id.0);
    bytes
}

/// Days since 1970.
pub(super) fn day_of(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / (24 * 3600 * 1000)).unwrap_or(u32::MAX)
}

/// The key of what there is once for each user: a profile.
pub(super) fn user(app: &AppId, user: &UserId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    push(&mut bytes, app.as_str());
    push(&mut bytes, user.as_str());
    bytes
}

/// The key of an entry of a user's feed; they sort by number.
pub(super) fn news(user: &[u8], seq: Seq) -> Key {
    entry(user, seq)
}

/// The key of how a user sees a conversation, which they name so. Sorted as the names are.
pub(super) fn view(user: &[u8], conversation: &Conversation) -> Key {
    let (kind, id) = conversation.parts();
    [user, &[kind], id.as_bytes()].concat()
}

/// The conversation that the key of a view of `user` names.
pub(super) fn viewed(user: &[u8], key: &[u8]) -> Result<Conversation, Unreadable> {
    let read = || {
        let (kind, id) = key.strip_prefix(user)?.split_first()?;
        Conversation::from_parts(*kind, str::from_utf8(id).ok()?).ok()?
    };
    read().ok_or(Unreadable { what: "key of a view", format: None })
}

/// The key of a row of a room; those of one room sort together.
pub(super) fn room(app: &AppId, room: &RoomId, name: &[u8]) -> Key {
    let mut bytes = Vec::with_capacity(64);
    push(&mut bytes, app.as_str());
    push(&mut bytes, room.as_str());
    bytes.extend_from_slice(name);
    bytes
}

/// The room and the row that the key of one names.
pub(super) fn room_of(key: &[u8]) -> Result<(AppId, RoomId, Vec<u8>), Unreadable> {
    let read = || {
        let (app, rest) = pull(key)?;
        let (room, name) = pull(rest)?;
        Some((AppId::new(app).ok()?, RoomId::new(room).ok()?, name.to_vec()))
    };
    read().ok_or(Unreadable { what: "key of a room", format: None })
}

fn pull(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((str::from_utf8(text).ok()?, rest))
}

/// Where the highest epoch of all rooms stands.
pub(super) const LAST_ROOM_EPOCH: &[u8] = b"quail.last_room_epoch";

/// The largest client message id of all messages that were placed.
pub(super) const LARGEST_ID: &[u8] = b"quail.largest_id";

/// Where the epoch stands under which rooms go on of which messages were lost.
pub(super) const ROOMS_ANEW: &[u8] = b"quail.rooms_anew";

pub(super) fn encode_epoch(epoch: Epoch) -> Vec<u8> {
    [&[FORMAT], &epoch.0.to_be_bytes()[..]].concat()
}

pub(super) fn decode_epoch(bytes: &[u8]) -> Result<Epoch, Unreadable> {
    let unreadable = || Unreadable { what: "epoch of rooms", format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    let number = rest.try_into().map_err(|_| unreadable())?;
    Ok(Epoch(u64::from_be_bytes(number)))
}

/// A row of a room, which is the room's to read.
pub(super) fn encode_room(value: &[u8]) -> Vec<u8> {
    [&[FORMAT], value].concat()
}

pub(super) fn decode_room(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    match bytes {
        [FORMAT, value @ ..] => Ok(value.to_vec()),
        _ => Err(Unreadable { what: "row of a room", format: bytes.first().copied() }),
    }
}

fn push(bytes: &mut Vec<u8>, text: &str) {
    // Ids have at most 128 bytes.
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

/// A head without its epoch, which is the store's.
pub(super) fn encode_head(head: &Head) -> Vec<u8> {
    let Head { position, last_by_priority, first, time, rev, countable } = head;
    let mut bytes = vec![FORMAT];
    let numbers = [position.seq.0, first.0, time.0, rev.0, countable.by_low, countable.by_high];
    for number in numbers.into_iter().chain(last_by_priority.map(|last| last.0)) {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes
}

pub(super) fn decode_head(bytes: &[u8], epoch: Epoch) -> Result<Head, Unreadable> {
    let unreadable = || Unreadable { what: "head", format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    let (numbers, []) = rest.as_chunks::<8>() else { return Err(unreadable()) };
    let [seq, first, time, rev, by_low, by_high, last @ ..] = numbers else { return Err(unreadable()) };
    let last: [[u8; 8]; Priority::COUNT] = last.try_into().map_err(|_| unreadable())?;
    let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
    Ok(Head {
        position: Position { epoch, seq: Seq(number(seq)) },
        last_by_priority: last.map(|last| Seq(number(&last))),
        first: Seq(number(first)),
        time: Timestamp(number(time)),
        rev: Rev(number(rev)),
        countable: Countable { by_low: number(by_low), by_high: number(by_high) },
    })
}

pub(super) fn encode_dedup(row: &Remembered) -> Vec<u8> {
    let Remembered { place: Place { id, position, prev, rev, priority, time }, content } = row;
    let mut bytes = vec![FORMAT];
    let priority = priority.index() as u64;
    for number in [position.epoch.0, position.seq.0, prev.0, rev.0, priority, time.0, *content] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&id.0);
    bytes
}

/// The place is of the incarnation that the store has now, as numbers go on.
pub(super) fn decode_dedup(bytes: &[u8], epoch: Epoch) -> Result<Remembered, Unreadable> {
    let unreadable = || Unreadable { what: "row against duplicates", format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    let Some((rest, id)) = rest.split_last_chunk() else { return Err(unreadable()) };
    let (&[_, seq, prev, rev, priority, time, content], []) = rest.as_chunks::<8>() else {
        return Err(unreadable());
    };
    let place = Place {
        id: MessageId(*id),
        position: Position { epoch, seq: Seq(u64::from_be_bytes(seq)) },
        prev: Seq(u64::from_be_bytes(prev)),
        rev: Rev(u64::from_be_bytes(rev)),
        priority: *Priority::ALL.get(u64::from_be_bytes(priority) as usize).ok_or_else(unreadable)?,
        time: Timestamp(u64::from_be_bytes(time)),
    };
    Ok(Remembered { place, content: u64::from_be_bytes(content) })
}

/// A view and the incarnation of the conversation that it is of.
pub(super) fn encode_view(epoch: Epoch, view: &View) -> Vec<u8> {
    let View { marks, seen } = view;
    let mut bytes = vec![FORMAT];
    for number in [epoch.0, marks.delivered.0, marks.read.0, *seen] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes
}

/// A view of another incarnation says nothing of this one.
pub(super) fn decode_view(bytes: &[u8], epoch: Epoch) -> Result<View, Unreadable> {
    let unreadable = || Unreadable { what: "view", format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    let (&[of, delivered, read, seen], []) = rest.as_chunks::<8>() else { return Err(unreadable()) };
    let number = u64::from_be_bytes;
    let marks = Marks { delivered: Seq(number(delivered)), read: Seq(number(read)) };
    Ok(if number(of) == epoch.0 { View { marks, seen: number(seen) } } else { View::default() })
}

/// Which entry a change was of.
pub(super) fn encode_change(seq: Seq) -> Vec<u8> {
    [&[FORMAT], &seq.0.to_be_bytes()[..]].concat()
}

pub(super) fn decode_change(bytes: &[u8]) -> Result<Seq, Unreadable> {
    let unreadable = || Unreadable { what: "change", format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    let number = rest.try_into().map_err(|_| unreadable())?;
    Ok(Seq(u64::from_be_bytes(number)))
}

pub(super) fn encode_ends(ends: &Ends) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&ends.head.0.to_be_bytes());
    bytes.extend_from_slice(&ends.first.0.to_be_bytes());
    bytes
}

pub(super) fn decode_ends(bytes: &[u8]) -> Result<Ends, Unreadable> {
    let unreadable = || Unreadable { what: "head of a feed", format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    let (&[head, first], []) = rest.as_chunks::<8>() else { return Err(unreadable()) };
    Ok(Ends { head: Seq(u64::from_be_bytes(head)), first: Seq(u64::from_be_bytes(first)) })
}

pub(super) fn encode_news(entry: &FeedEntry) -> Vec<u8> {
    encode(entry)
}

pub(super) fn decode_news(bytes: &[u8]) -> Result<FeedEntry, Unreadable> {
    decode("entry of a feed", bytes)
}

pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(entry)
}

/// An entry of the incarnation that the store has now: what was left of another stands in it under its number.
pub(super) fn decode_entry(bytes: &[u8], epoch: Epoch) -> Result<Entry, Unreadable> {
    let mut entry: Entry = decode("entry", bytes)?;
    entry.message.position.epoch = epoch;
    Ok(entry)
}

pub(super) fn encode_profile(profile: &Profile) -> Vec<u8> {
    encode(profile)
}

pub(super) fn decode_profile(bytes: &[u8]) -> Result<Profile, Unreadable> {
    decode("profile", bytes)
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&quail_protocol::frame::encode_body(value));
    bytes
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Unreadable> {
    let unreadable = || Unreadable { what, format: bytes.first().copied() };
    let [FORMAT, rest @ ..] = bytes else { return Err(unreadable()) };
    quail_protocol::frame::decode(rest).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests;
