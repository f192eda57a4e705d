//! Login tokens, good and bad.

use std::time::{SystemTime, UNIX_EPOCH};

use quail_server::{
    apps::{self, Secret},
    domain::token::Claims,
};

/// A token in the making.
#[derive(Clone, Debug)]
pub struct Token {
    /// What it says.
    pub claims: Claims,
    /// The key id in its header.
    pub kid: String,
    /// What it is signed with.
    pub secret: String,
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

impl Token {
    /// A good token that holds for an hour.
    pub fn new(app: &str, user: &str) -> Self {
        let claims = Claims {
            sub: Some(user.into()),
            aud: Some(app.into()),
            iat: Some(now()),
            exp: Some(now() + 3600),
            nbf: None,
        };
        Self { claims, kid: super::KID.into(), secret: super::SECRET.into() }
    }

    /// Changes what it says.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The signed token.
    pub fn sign(&self) -> String {
        apps::sign(&self.kid, &Secret::new(&self.secret), &self.claims).expect("a token can be signed")
    }
}

/// `payload` under `header`, both JSON, signed like a good token whatever the header says.
pub fn sign_raw(header: &str, payload: &str) -> String {
    let signing_input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, super::SECRET.as_bytes());
    let tag = ring::hmac::sign(&key, signing_input.as_bytes());
    format!("{signing_input}.{}", base64url(tag.as_ref()))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain([&0; 2]).take(3).fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 0x3f) as usize]));
        }
    }
    text
}
