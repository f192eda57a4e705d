//! Identifiers. Each is its own type, checked when it is made and when it is decoded.

use std::{fmt, sync::Arc};

use postcard_schema::{Schema, schema::NamedType};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{ID_BYTES_MAX, ROOM_ID_BYTES_MAX};

/// Why a string is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidId {
    /// It has no byte.
    Empty,
    /// It is longer than this kind of id may be.
    TooLong {
        /// The bound in bytes.
        max: usize,
    },
    /// It holds a byte that is not printable ASCII, or a space, or `"`.
    Character,
    /// A group id starts with `#`, which is kept for ids the server makes.
    Reserved,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an id must not be empty"),
            Self::TooLong { max } => write!(f, "an id of this kind has at most {max} bytes"),
            Self::Character => f.write_str("an id is printable ASCII without space and double quote"),
            Self::Reserved => f.write_str("a group id must not start with #"),
        }
    }
}

impl std::error::Error for InvalidId {}

fn check(id: &str, max: usize) -> Result<(), InvalidId> {
    if id.is_empty() {
        return Err(InvalidId::Empty);
    }
    if id.len() > max {
        return Err(InvalidId::TooLong { max });
    }
    if !id.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return Err(InvalidId::Character);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `id` and takes it.
            pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidId> {
                let id = id.as_ref();
                check(id, $max)?;
                Ok(Self(id.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an id")
                    }

                    fn visit_str<E: de::Error>(self, id: &str) -> Result<$name, E> {
                        $name::new(id).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }

        impl Schema for $name {
            const SCHEMA: &'static NamedType =
                &NamedType { name: stringify!($name), ty: <String as Schema>::SCHEMA.ty };
        }
    };
}

text_id! {
    /// A tenant (AppID, AppKey and SDKAppID of the clouds): its own users, rooms, groups, keys and limits.
    AppId, ID_BYTES_MAX
}
text_id! {
    /// An account inside an app.
    UserId, ID_BYTES_MAX
}
text_id! {
    /// One terminal of a user.
    DeviceId, ID_BYTES_MAX
}
text_id! {
    /// A live place.
    RoomId, ROOM_ID_BYTES_MAX
}

/// A durable body of members. Does not start with `#`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Checks `id` and takes it.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidId> {
        let id = id.as_ref();
        check(id, ID_BYTES_MAX)?;
        if id.starts_with('#') {
            return Err(InvalidId::Reserved);
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! binary_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A UUIDv7 (RFC 9562): 48 bits of `unix_ms`, then version, variant and 74 bits of `random`.
            pub const fn at(unix_ms: u64, random: [u8; 10]) -> Self {
                let ms = unix_ms.to_be_bytes();
                let r = random;
                Self([
                    ms[2], ms[3], ms[4], ms[5], ms[6], ms[7],
                    0x70 | (r[0] & 0x0f), r[1],
                    0x80 | (r[2] & 0x3f), r[3], r[4], r[5], r[6], r[7], r[8], r[9],
                ])
            }

            /// The milliseconds since 1970 that the first 48 bits hold.
            pub const fn unix_ms(self) -> u64 {
                let b = self.0;
                u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (i, byte) in self.0.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

binary_id! {
    /// The server's name for a message, unique in the app.
    MessageId
}
binary_id! {
    /// The sender's name for a message: with sender and conversation it makes a retry harmless.
    ClientMessageId
}
binary_id! {
    /// An authenticated presence of one device of one user.
    SessionId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_printable_ascii_only() {
        let too_long = "x".repeat(65);
        for (id, expected) in [
            ("alice", Ok(())),
            ("#!~/\\'", Ok(())),
            ("", Err(InvalidId::Empty)),
            ("a b", Err(InvalidId::Character)),
            ("a\"b", Err(InvalidId::Character)),
            ("zoë", Err(InvalidId::Character)),
            ("a\n", Err(InvalidId::Character)),
            (too_long.as_str(), Err(InvalidId::TooLong { max: 64 })),
        ] {
            assert_eq!(UserId::new(id).map(|_| ()), expected, "{id:?}");
        }
        assert!(RoomId::new("x".repeat(128)).is_ok());
        assert!(RoomId::new("x".repeat(129)).is_err());
        assert_eq!(GroupId::new("#g"), Err(InvalidId::Reserved));
    }

    #[test]
    fn a_decoded_id_is_checked_too() {
        let bytes = postcard::to_stdvec("a b").unwrap();
        assert!(postcard::from_bytes::<UserId>(&bytes).is_err());
    }

    #[test]
    fn a_message_id_holds_its_time_and_prints_as_a_uuid() {
        let id = MessageId::at(1_700_000_000_123, [0xff; 10]);
        assert_eq!(id.unix_ms(), 1_700_000_000_123);
        assert_eq!(id.to_string(), "018bcfe5-687b-7fff-bfff-ffffffffffff");
    }
}
