//! What stands in a storage.

use std::io;

use quail_protocol::{
    Conversation,
    id::{AppId, ClientMessageId, DeviceId, UserId},
    session::Login,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a value begins with; postcard follows.
const FORMAT: u8 = 1;

const OWNER: &[u8] = b"owner";
const SYNCED: &[u8] = b"synced";
const LET_GO: &[u8] = b"let-go";
const AT: &[u8] = b"at ";
const UNSENT: &[u8] = b"unsent ";

/// Under what something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// [`Owner`].
    Owner,
    /// The time of the login after which all conversations were seen.
    Synced,
    /// A conversation was let go. No value.
    LetGo,
    /// A cursor.
    At(Conversation),
    /// A number that orders, and the message.
    Unsent(ClientMessageId),
}

impl Key {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Owner => OWNER.to_vec(),
            Self::Synced => SYNCED.to_vec(),
            Self::LetGo => LET_GO.to_vec(),
            Self::At(conversation) => {
                let (kind, id) = conversation.parts();
                [AT, &[kind], id.as_bytes()].concat()
            }
            Self::Unsent(id) => [UNSENT, &id.0].concat(),
        }
    }

    /// `None` if this build does not know what it is.
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        match key {
            OWNER => return Some(Self::Owner),
            SYNCED => return Some(Self::Synced),
            LET_GO => return Some(Self::LetGo),
            _ => {}
        }
        if let Some((kind, id)) = key.strip_prefix(AT).and_then(|rest| rest.split_first()) {
            return Conversation::from_parts(*kind, str::from_utf8(id).ok()?).ok()?.map(Self::At);
        }
        let id = key.strip_prefix(UNSENT)?;
        Some(Self::Unsent(ClientMessageId(id.try_into().ok()?)))
    }
}

/// Whose storage it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) app: AppId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
}

impl Owner {
    pub(super) fn of(login: &Login) -> Self {
        let Login { app, user, device, .. } = login;
        Self { app: app.clone(), user: user.clone(), device: device.clone() }
    }
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).unwrap_or_else(|_| unreachable!("what is kept always encodes"))
}

pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> io::Result<T> {
    let unreadable = |error: &str| io::Error::new(io::ErrorKind::InvalidData, error);
    match value.split_first() {
        Some((&FORMAT, value)) => {
            postcard::from_bytes(value).map_err(|_| unreadable("not what stands under this key"))
        }
        _ => Err(unreadable("written by a newer client")),
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::id::{GroupId, RoomId};

    use super::*;

    #[test]
    fn a_key_reads_as_what_was_written_and_others_are_left_alone() {
        for key in [
            Key::Owner,
            Key::Synced,
            Key::LetGo,
            Key::At(Conversation::Peer(UserId::new("bob").unwrap())),
            Key::At(Conversation::Group(GroupId::new("g").unwrap())),
            Key::At(Conversation::Room(RoomId::new("r").unwrap())),
            Key::Unsent(ClientMessageId([3; 16])),
        ] {
            assert_eq!(Key::decode(&key.encode()), Some(key));
        }
        for key in [&b""[..], b"at ", b"at \x09x", b"at \x01\xff", b"unsent 1", b"owners"] {
            assert_eq!(Key::decode(key), None, "{key:?}");
        }
    }

    #[test]
    fn a_value_of_another_format_is_not_guessed() {
        assert_eq!(decode::<u64>(&encode(&700_u64)).unwrap(), 700);
        for value in [&[][..], &[2, 1], &[1], &[1, 0xff]] {
            assert_eq!(decode::<u64>(value).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
