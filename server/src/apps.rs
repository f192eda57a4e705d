//! The apps this server carries: their keys, limits and rates.

mod rooms;
mod seats;

use std::{collections::BTreeMap, fmt, num::NonZeroU64, time::Duration};

use bytesize::ByteSize;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use quail_protocol::{
    Code, Timestamp,
    id::{AppId, UserId},
    session::PlatformClass,
};
use serde::{Deserialize, Serialize, Serializer};

pub use self::{
    rooms::{Budget, Rooms},
    seats::{Seat, Seats},
};
use crate::domain::{
    message as domain,
    token::{self, Claims},
};

/// Bytes a signing secret must have at least (RFC 7518 §3.2 for HS256).
pub const SECRET_BYTES_MIN: usize = 32;

/// One app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Keys that sign login tokens, by the token's `kid`. Two at a time make a rotation.
    pub keys: BTreeMap<String, Key>,
    /// Longest allowed `exp - iat` of a token. Default 7days.
    #[serde(with = "humantime_serde")]
    pub token_lifetime_max: Duration,
    /// Which sessions of a user give way to a new one. Default one-per-class.
    pub multi_login: MultiLogin,
    /// Sessions one user may have at a time. Default 8.
    pub sessions_per_user: usize,
    /// Sessions the app may have at a time. Default 1000000.
    pub sessions_max: usize,
    /// How often one user may ask.
    pub rates: Rates,
    /// How large one message may be.
    pub sizes: Sizes,
    /// How long messages are kept.
    pub history: History,
    /// How long after it was placed a message may be recalled. Default 2min.
    #[serde(with = "humantime_serde")]
    pub recall_window: Duration,
    /// Whether the other user of a conversation learns how far a user has come. Default true.
    pub receipts: bool,
    /// What happens to messages for users who never logged in. Default accept.
    pub unknown_recipients: UnknownRecipients,
    /// Whether visitors are let in: sessions of nobody that may read in rooms. Default false.
    pub visitors: bool,
    /// Rooms.
    pub rooms: Rooms,
}

/// What happens to messages for users who never logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownRecipients {
    /// They are kept until the user logs in.
    #[default]
    Accept,
    /// They are refused with `UserUnknown`.
    Refuse,
}

/// Bytes that the body of one message may have. Larger values than the defaults, which are the wire's, mean those.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    /// Text. Default 32KiB.
    pub text: ByteSize,
    /// Images and voice messages, thumbnail or clip included. Default 128KiB.
    pub media: ByteSize,
    /// Custom messages and the other structured kinds. Default 32KiB.
    pub custom: ByteSize,
    /// Commands. Default 5KiB.
    pub command: ByteSize,
    /// Barrages. Default 5KiB.
    pub barrage: ByteSize,
    /// Signals. Default 512B.
    pub signal: ByteSize,
}

impl Default for Sizes {
    fn default() -> Self {
        let domain::Sizes { text, media, custom, command, barrage, signal } = domain::Sizes::MAX;
        let [text, media, custom, command, barrage, signal] =
            [text, media, custom, command, barrage, signal].map(|bytes| ByteSize(bytes as u64));
        Self { text, media, custom, command, barrage, signal }
    }
}

impl Sizes {
    /// The bounds in force.
    pub fn in_force(&self) -> domain::Sizes {
        let max = domain::Sizes::MAX;
        let least = |configured: ByteSize, max: usize| {
            usize::try_from(configured.0).map_or(max, |bytes| bytes.min(max))
        };
        domain::Sizes {
            text: least(self.text, max.text),
            media: least(self.media, max.media),
            custom: least(self.custom, max.custom),
            command: least(self.command, max.command),
            barrage: least(self.barrage, max.barrage),
            signal: least(self.signal, max.signal),
        }
    }
}

/// What is kept of a conversation.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Its newest entries, so many of them. Default: all.
    pub entries_max: Option<NonZeroU64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            token_lifetime_max: Duration::from_secs(7 * 24 * 3600),
            multi_login: MultiLogin::default(),
            sessions_per_user: 8,
            sessions_max: 1_000_000,
            rates: Rates::default(),
            sizes: Sizes::default(),
            history: History::default(),
            recall_window: Duration::from_secs(2 * 60),
            receipts: true,
            unknown_recipients: UnknownRecipients::default(),
            visitors: false,
            rooms: Rooms::default(),
        }
    }
}

/// Which sessions of a user give way to a new one. They are closed with `KickedOut`, and what they sent and was not
/// placed yet is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MultiLogin {
    /// All others: one session at a time.
    One,
    /// Those on the same class of platform: one phone, one computer, one browser. Bots are not counted.
    #[default]
    OnePerClass,
    /// None, up to `sessions_per_user`.
    Many,
}

impl MultiLogin {
    /// True if a session on a platform of class `older` gives way to one on `newer`.
    pub fn displaces(self, older: PlatformClass, newer: PlatformClass) -> bool {
        match self {
            Self::One => true,
            Self::OnePerClass => older == newer && newer != PlatformClass::Other,
            Self::Many => false,
        }
    }
}

/// Requests per second and user, each with a burst of one second. Peers, rooms and groups share them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Text messages. Default 10.
    pub text: u32,
    /// Custom messages and those of all structured kinds together. Default 10.
    pub custom: u32,
    /// Commands. Default 20.
    pub command: u32,
    /// Barrages. Default 30.
    pub barrage: u32,
    /// Signals; those beyond are discarded. Default 30.
    pub signal: u32,
    /// Queries. Default 20.
    pub query: u32,
    /// Changes. Default 10.
    pub change: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { text: 10, custom: 10, command: 20, barrage: 30, signal: 30, query: 20, change: 10 }
    }
}

impl Rates {
    /// One rate for all.
    pub fn all(per_second: u32) -> Self {
        let [text, custom, command, barrage, signal, query, change] = [per_second; 7];
        Self { text, custom, command, barrage, signal, query, change }
    }
}

/// A signing key, pinned to one algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The only algorithm this key is used with.
    pub algorithm: KeyAlgorithm,
    /// The shared secret, at least 32 bytes.
    pub secret: Secret,
}

/// Algorithms a key can be pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256 (RFC 7518).
    HS256,
}

/// A text that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// Checks a login token and says when it expires.
pub fn verify(
    app: &AppId,
    config: &Config,
    user: &UserId,
    token: &str,
    now: Timestamp,
) -> Result<Timestamp, Code> {
    crate::jwt::install();
    // A header that names an algorithm the library does not know does not decode; that is no other mistake.
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidAlgorithm => Code::TokenAlgorithmRefused,
        ErrorKind::Json(cause) if cause.to_string().contains("unknown variant") => {
            Code::TokenAlgorithmRefused
        }
        _ => Code::TokenMalformed,
    })?;
    let key = header.kid.and_then(|kid| config.keys.get(&kid)).ok_or(Code::TokenKeyUnknown)?;
    let KeyAlgorithm::HS256 = key.algorithm;
    if header.alg != Algorithm::HS256 {
        return Err(Code::TokenAlgorithmRefused);
    }
    let mut validation = Validation::new(Algorithm::HS256);
    // Times and audience are checked by `domain::token` with our clock and our codes.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let secret = DecodingKey::from_secret(key.secret.expose().as_bytes());
    let data =
        jsonwebtoken::decode::<Claims>(token, &secret, &validation).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Code::TokenSignatureInvalid,
            _ => Code::TokenMalformed,
        })?;
    token::check(&data.claims, app, user, now, config.token_lifetime_max.as_secs())
}

/// Signs a login token.
pub fn sign(kid: &str, secret: &Secret, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
    crate::jwt::install();
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.expose().as_bytes()))
}
