//! What stands in the body of a message, by its kind.

use bytes::Bytes;
use postcard_schema::{Schema, schema::NamedType};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Body, Content, MessageKind};
use crate::{
    bounded::{Blob, Text as Bounded, TooLong},
    frame::{self, Malformed},
    id::UserId,
    limits::{
        CAPTION_BYTES_MAX, COMMAND_BYTES_MAX, CUSTOM_BYTES_MAX, MEDIA_BYTES_MAX, TEXT_BYTES_MAX,
        URL_BYTES_MAX, WORD_BYTES_MAX,
    },
};

/// The address of something that is kept elsewhere.
pub type Url = Bounded<URL_BYTES_MAX>;

/// A title or a file name.
pub type Caption = Bounded<CAPTION_BYTES_MAX>;

/// A short name that programs compare.
pub type Word = Bounded<WORD_BYTES_MAX>;

/// The body of a kind of message.
pub trait MessageBody: Serialize + DeserializeOwned + Schema {
    /// The kind.
    const KIND: MessageKind;

    /// The content that says this and nothing else.
    fn to_content(&self) -> Result<Content, TooLong> {
        Ok(Content::new(Self::KIND, Body::new(frame::encode_body(self))?))
    }
}

/// The shape of a kind's body and a way to check that bytes have it.
#[derive(Clone, Copy, Debug)]
pub struct KindSchema {
    /// The kind.
    pub kind: MessageKind,
    /// Shape of the body.
    pub body: &'static NamedType,
    /// Decodes a body and encodes it again; `None` if the bytes are not one.
    pub normalize: fn(&[u8]) -> Option<Vec<u8>>,
}

macro_rules! payloads {
    ($($body:ident;)+) => {
        /// The body of a message, read.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Payload {
            $(#[doc = concat!("See [`", stringify!($body), "`].")] $body($body),)+
            /// Of a kind that this build does not know.
            Unknown {
                /// The kind.
                kind: MessageKind,
                /// The body as it is.
                body: Bytes,
            },
        }

        impl Payload {
            /// Reads a body of `kind`.
            pub fn decode(kind: MessageKind, body: &Body) -> Result<Self, Malformed> {
                Ok(match kind {
                    $(MessageKind::$body => Self::$body(frame::decode(body)?),)+
                    MessageKind::Unknown(_) => Self::Unknown { kind, body: body.clone().into_bytes() },
                })
            }
        }

        $(impl MessageBody for $body {
            const KIND: MessageKind = MessageKind::$body;
        }

        impl From<$body> for Payload {
            fn from(body: $body) -> Self {
                Self::$body(body)
            }
        })+

        /// Every kind of message the protocol defines, in number order.
        pub const KINDS: &[KindSchema] = &[$(KindSchema {
            kind: MessageKind::$body,
            body: <$body as Schema>::SCHEMA,
            normalize: crate::operation::normalize::<$body>,
        }),+];
    };
}

payloads! {
    Text;
    Command;
    Image;
    File;
    Voice;
    Video;
    Location;
    RichContent;
    Barrage;
    InformationNotice;
    DiscussionNotice;
    ContactNotice;
    ProfileNotice;
    CommandNotice;
    Custom;
}

/// A text that people read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Text {
    /// The text, UTF-8, not empty.
    pub text: String,
}

impl Text {
    /// The body that holds `text`.
    pub fn encode(text: impl Into<String>) -> Result<Body, TooLong> {
        let text = text.into();
        if text.len() > TEXT_BYTES_MAX {
            return Err(TooLong { max: TEXT_BYTES_MAX });
        }
        Body::new(frame::encode_body(&Self { text }))
    }

    /// Reads a body.
    pub fn decode(body: &Body) -> Result<Self, Malformed> {
        frame::decode(body)
    }
}

/// An order from program to program: to whoever is there, and then forgotten. RongCloud's `CommandMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Command {
    /// What is to be done.
    pub name: Word,
    /// With what.
    pub data: Blob<COMMAND_BYTES_MAX>,
}

/// A picture that is kept elsewhere, and a small one to show at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Image {
    /// The small one, as a file of an image format; may be empty.
    pub thumbnail: Blob<MEDIA_BYTES_MAX>,
    /// Where the picture is.
    pub url: Url,
    /// Width of the picture in pixels, 0 if unknown.
    pub width: u32,
    /// Height of the picture in pixels, 0 if unknown.
    pub height: u32,
    /// Bytes of the picture, 0 if unknown.
    pub size: u64,
}

/// A file that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct File {
    /// Its name.
    pub name: Caption,
    /// Where it is.
    pub url: Url,
    /// Its media type (`application/pdf`), empty if unknown.
    pub media_type: Word,
    /// Its bytes, 0 if unknown.
    pub size: u64,
}

/// Something said aloud: the clip itself, or where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Voice {
    /// How the clip is encoded (`opus`, `amr`).
    pub codec: Word,
    /// How long it is.
    pub seconds: u32,
    /// The clip; empty if there is a `url`.
    pub clip: Blob<MEDIA_BYTES_MAX>,
    /// Where the clip is; empty if it is in here.
    pub url: Url,
}

/// A film that is kept elsewhere, and a picture to show at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Video {
    /// The picture, as a file of an image format; may be empty.
    pub thumbnail: Blob<CUSTOM_BYTES_MAX>,
    /// Where the film is.
    pub url: Url,
    /// Width in pixels, 0 if unknown.
    pub width: u32,
    /// Height in pixels, 0 if unknown.
    pub height: u32,
    /// How long it is.
    pub seconds: u32,
    /// Its bytes, 0 if unknown.
    pub size: u64,
}

/// A place on earth, in WGS 84.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Location {
    /// Degrees north of the equator times ten million, -900000000 to 900000000.
    pub latitude_e7: i32,
    /// Degrees east of Greenwich times ten million, -1800000000 to 1800000000.
    pub longitude_e7: i32,
    /// What the place is called; may be empty.
    pub title: Caption,
    /// A small map, as a file of an image format; may be empty.
    pub thumbnail: Blob<CUSTOM_BYTES_MAX>,
}

/// A card that leads somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct RichContent {
    /// Its headline.
    pub title: Caption,
    /// What it says.
    pub text: Bounded<CUSTOM_BYTES_MAX>,
    /// Its picture, as a file of an image format; may be empty.
    pub thumbnail: Blob<CUSTOM_BYTES_MAX>,
    /// Where it leads.
    pub url: Url,
}

/// A line that floats over a live picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Barrage {
    /// The line.
    pub text: Bounded<COMMAND_BYTES_MAX>,
}

/// A grey line in a chat. RongCloud's `InformationNotificationMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct InformationNotice {
    /// The line.
    pub text: Bounded<CUSTOM_BYTES_MAX>,
}

/// Something happened to a discussion. RongCloud's `DiscussionNotificationMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct DiscussionNotice {
    /// What happened.
    pub operation: Word,
    /// Who did it.
    pub operator: UserId,
    /// More of it, as the app defines.
    pub data: Blob<CUSTOM_BYTES_MAX>,
}

/// Something happened between two users who know each other or mean to. RongCloud's `ContactNotificationMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ContactNotice {
    /// What happened (`Request`, `AcceptResponse`, `RejectResponse`).
    pub operation: Word,
    /// Who did it.
    pub from: UserId,
    /// To whom.
    pub to: UserId,
    /// What was said with it.
    pub text: Bounded<CUSTOM_BYTES_MAX>,
}

/// A profile is another. RongCloud's `ProfileNotificationMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ProfileNotice {
    /// What happened.
    pub operation: Word,
    /// More of it, as the app defines.
    pub data: Blob<CUSTOM_BYTES_MAX>,
}

/// An order that is kept. RongCloud's `CommandNotificationMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct CommandNotice {
    /// What is to be done.
    pub name: Word,
    /// With what.
    pub data: Blob<CUSTOM_BYTES_MAX>,
}

/// What an app defines for itself. ZIM's and Tencent's custom message, RongCloud's registered types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Custom {
    /// The app's name for the kind, not empty.
    pub type_name: Word,
    /// A kind within the kind.
    pub subtype: u32,
    /// What it says.
    pub data: Blob<CUSTOM_BYTES_MAX>,
}
