//! What a token whose signature holds must say.

use quail_protocol::{
    Code, Timestamp,
    id::{AppId, UserId},
};
use serde::{Deserialize, Serialize};

/// How far the clock of a token's issuer may be ahead of the server's, in seconds.
pub const SKEW_SECONDS: u64 = 30;

/// The claims Quail reads; others are ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Seconds since 1970 after which the token is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Seconds since 1970 at which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Seconds since 1970 before which it is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
}

/// Checks claims against a login and says when the token expires.
pub fn check(
    claims: &Claims,
    app: &AppId,
    user: &UserId,
    now: Timestamp,
    lifetime_seconds_max: u64,
) -> Result<Timestamp, Code> {
    let (Some(sub), Some(aud), Some(exp), Some(iat)) = (&claims.sub, &claims.aud, claims.exp, claims.iat)
    else {
        return Err(Code::TokenClaimMissing);
    };
    if aud != app.as_str() {
        return Err(Code::TokenAudienceMismatch);
    }
    if sub != user.as_str() {
        return Err(Code::TokenSubjectMismatch);
    }
    let now = now.seconds();
    if exp <= now {
        return Err(Code::TokenExpired);
    }
    if iat.max(claims.nbf.unwrap_or(0)) > now + SKEW_SECONDS {
        return Err(Code::TokenNotYetValid);
    }
    if exp.saturating_sub(iat) > lifetime_seconds_max {
        return Err(Code::TokenLifetimeTooLong);
    }
    Ok(Timestamp(exp * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_claim_has_its_own_code() {
        const NOW: u64 = 1_800_000_000;
        const DAY: u64 = 86_400;
        type Change = fn(&mut Claims);
        let cases: [(&str, Change, Result<Timestamp, Code>); 14] = [
            ("good", |_| {}, Ok(Timestamp((NOW + DAY) * 1000))),
            ("no sub", |c| c.sub = None, Err(Code::TokenClaimMissing)),
            ("no aud", |c| c.aud = None, Err(Code::TokenClaimMissing)),
            ("no exp", |c| c.exp = None, Err(Code::TokenClaimMissing)),
            ("no iat", |c| c.iat = None, Err(Code::TokenClaimMissing)),
            ("other app", |c| c.aud = Some("other".into()), Err(Code::TokenAudienceMismatch)),
            ("other user", |c| c.sub = Some("bob".into()), Err(Code::TokenSubjectMismatch)),
            ("expired", |c| c.exp = Some(NOW), Err(Code::TokenExpired)),
            ("the last second", |c| c.exp = Some(NOW + 1), Ok(Timestamp((NOW + 1) * 1000))),
            ("from the future", |c| c.iat = Some(NOW + 31), Err(Code::TokenNotYetValid)),
            ("not before", |c| c.nbf = Some(NOW + 31), Err(Code::TokenNotYetValid)),
            ("fast clock", |c| c.iat = Some(NOW + 30), Ok(Timestamp((NOW + DAY) * 1000))),
            ("too long", |c| c.iat = Some(NOW - 10 * DAY), Err(Code::TokenLifetimeTooLong)),
            ("absurd", |c| c.exp = Some(u64::MAX), Err(Code::TokenLifetimeTooLong)),
        ];
        let (app, user) = (AppId::new("demo").unwrap(), UserId::new("alice").unwrap());
        for (name, change, expected) in cases {
            let mut claims = Claims {
                sub: Some("alice".into()),
                aud: Some("demo".into()),
                exp: Some(NOW + DAY),
                iat: Some(NOW),
                nbf: None,
            };
            change(&mut claims);
            let checked = check(&claims, &app, &user, Timestamp(NOW * 1000), 7 * DAY);
            assert_eq!(checked, expected, "{name}");
        }
    }
}
