//! The apps this server carries: their keys, limits and rates.

mod seats;

use std::{collections::BTreeMap, fmt, num::NonZeroU64, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use quail_protocol::{
    Code, Timestamp,
    id::{AppId, UserId},
    session::PlatformClass,
};
use serde::{Deserialize, Serialize, Serializer};

pub use self::seats::{Seat, Seats};
use crate::domain::token::{self, Claims};

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
    /// How long messages are kept.
    pub history: History,
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
            history: History::default(),
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
    /// Queries. Default 20.
    pub query: u32,
    /// Changes. Default 10.
    pub change: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { text: 10, query: 20, change: 10 }
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
