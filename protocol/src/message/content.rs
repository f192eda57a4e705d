//! What a message says, and how it is to be treated.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::MessageKind;
use crate::{
    bounded::{Blob, List, Text},
    id::UserId,
    limits::{
        BODY_BYTES_MAX, EXT_PAIRS_MAX, EXT_VALUE_BYTES_MAX, EXTENSION_BYTES_MAX, MENTIONS_MAX, PUSH_BYTES_MAX,
    },
    position::Position,
};

/// Bytes of a message body, read by its kind.
pub type Body = Blob<BODY_BYTES_MAX>;

/// Bytes that an app adds to a message of any kind. ZIM's `extendedData`.
pub type Extension = Blob<EXTENSION_BYTES_MAX>;

/// Pairs for later extensions of the wire: unknown tags are kept and passed on.
pub type Ext = List<ExtPair, EXT_PAIRS_MAX>;

/// One extension value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ExtPair {
    /// What it means.
    pub tag: u16,
    /// Its bytes.
    pub value: Blob<EXT_VALUE_BYTES_MAX>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Content {
    /// How the body is read.
    pub kind: MessageKind,
    /// How the message is to be treated.
    pub options: Options,
    /// The body.
    pub body: Body,
    /// Bytes that the app adds; nobody but the app reads them.
    pub extension: Extension,
    /// Who is called by name.
    pub mentions: Mentions,
    /// The message of the same conversation that this one answers.
    pub reply_to: Option<Position>,
    /// Extensions of the wire, unknown ones included.
    pub ext: Ext,
}

impl Content {
    /// A body with nothing beside it, to be treated as messages of its kind are.
    pub fn new(kind: MessageKind, body: Body) -> Self {
        Self {
            kind,
            options: Options::of(kind),
            body,
            extension: Extension::default(),
            mentions: Mentions::default(),
            reply_to: None,
            ext: Ext::default(),
        }
    }

    /// What is left when the message is recalled: its kind, and nothing that was said.
    pub fn recalled(self) -> Self {
        let options = Options { push: Text::default(), ..self.options };
        Self { options, ..Self::new(self.kind, Body::default()) }
    }

    /// Bytes of body, extension, push text, mentions and extension values, the part of a message whose size varies much.
    pub fn bytes(&self) -> usize {
        let mentions = self.mentions.users.iter().map(|user| user.as_str().len() + 1).sum::<usize>();
        let ext = self.ext.iter().map(|pair| pair.value.len()).sum::<usize>();
        self.body.len() + self.extension.len() + self.options.push.as_str().len() + mentions + ext
    }
}

/// How a message is to be treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Options {
    /// Give it a number and keep it in the history. Without, it is told to those who are there and forgotten, as
    /// [`MessageKind::Command`] always is.
    pub persist: bool,
    /// Count it as unread. RongCloud's `isCounted`, Tencent's `isExcludedFromUnreadCount` turned round.
    pub count: bool,
    /// Send it only if the other side has a connection now; otherwise nothing happens, and the ack says `NotDelivered`.
    pub online_only: bool,
    /// What a push notification would say; empty for none.
    pub push: Text<PUSH_BYTES_MAX>,
}

impl Options {
    /// How messages of `kind` are treated unless the sender says otherwise.
    pub fn of(kind: MessageKind) -> Self {
        let persist = !kind.is_never_kept();
        Self { persist, count: persist, online_only: false, push: Text::default() }
    }
}

/// Who is called by name in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Mentions {
    /// Everybody.
    pub all: bool,
    /// These.
    pub users: List<UserId, MENTIONS_MAX>,
}
