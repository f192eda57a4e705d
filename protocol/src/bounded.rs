//! Strings, bytes and lists that refuse to be decoded past their bound.
//!
//! postcard checks a length prefix against the bytes that are there, so a frame bounds every value; these types bound
//! each field by itself and keep lists of cheap elements from becoming long loops.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use postcard_schema::{
    Schema,
    schema::{DataModelType, NamedType},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value was longer than its type allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The bound, in bytes for text and blobs, in items for lists.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "longer than {}", self.max)
    }
}

impl std::error::Error for TooLong {}

/// UTF-8 text of at most `MAX` bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Takes `text` if it fits.
    pub fn new(text: impl Into<String>) -> Result<Self, TooLong> {
        let text = text.into();
        if text.len() > MAX { Err(TooLong { max: MAX }) } else { Ok(Self(text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes what is not printable: this is the form for logs.
impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> Serialize for Text<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::new(text).map_err(de::Error::custom)
    }
}

impl<const MAX: usize> Schema for Text<MAX> {
    const SCHEMA: &'static NamedType = <String as Schema>::SCHEMA;
}

/// Opaque bytes, at most `MAX` of them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob<const MAX: usize>(Bytes);

impl<const MAX: usize> Blob<MAX> {
    /// Takes `bytes` if they fit.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, TooLong> {
        let bytes = bytes.into();
        if bytes.len() > MAX { Err(TooLong { max: MAX }) } else { Ok(Self(bytes)) }
    }

    /// The bytes, shared and not copied.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl<const MAX: usize> Deref for Blob<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Prints the length only, so that no body reaches a log.
impl<const MAX: usize> fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const MAX: usize> Serialize for Blob<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Blob<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        if bytes.len() > MAX {
            return Err(de::Error::custom(TooLong { max: MAX }));
        }
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

impl<const MAX: usize> Schema for Blob<MAX> {
    const SCHEMA: &'static NamedType = &NamedType { name: "Blob", ty: &DataModelType::ByteArray };
}

/// A list of at most `MAX` items, each of which takes at least one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes `items` if they are few enough.
    pub fn new(items: Vec<T>) -> Result<Self, TooLong> {
        if items.len() > MAX { Err(TooLong { max: MAX }) } else { Ok(Self(items)) }
    }

    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T, const MAX: usize>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> de::Visitor<'de> for Visitor<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} items")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        return Err(de::Error::custom(TooLong { max: MAX }));
                    }
                    items.push(item);
                }
                Ok(List(items))
            }
        }

        deserializer.deserialize_seq(Visitor(std::marker::PhantomData))
    }
}

impl<T: Schema, const MAX: usize> Schema for List<T, MAX> {
    const SCHEMA: &'static NamedType = <Vec<T> as Schema>::SCHEMA;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_past_their_bound_are_not_decoded() {
        let text = postcard::to_stdvec("four").unwrap();
        assert!(postcard::from_bytes::<Text<4>>(&text).is_ok());
        assert!(postcard::from_bytes::<Text<3>>(&text).is_err());
        assert!(postcard::from_bytes::<Blob<4>>(&text).is_ok());
        assert!(postcard::from_bytes::<Blob<3>>(&text).is_err());
        let list = postcard::to_stdvec(&[1u8, 2][..]).unwrap();
        assert!(postcard::from_bytes::<List<u8, 2>>(&list).is_ok());
        assert!(postcard::from_bytes::<List<u8, 1>>(&list).is_err());
    }

    #[test]
    fn a_strangers_text_forges_no_log_line() {
        let text = Text::<64>::new("evil\nFORGED\u{1b}[2J").unwrap();
        assert_eq!(format!("{text:?}"), r#""evil\nFORGED\u{1b}[2J""#);
    }

    #[test]
    fn a_length_prefix_that_lies_is_an_error_and_not_an_allocation() {
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
        assert!(postcard::from_bytes::<Blob<1024>>(&bomb).is_err());
        assert!(postcard::from_bytes::<List<u8, 1024>>(&bomb).is_err());
    }
}
