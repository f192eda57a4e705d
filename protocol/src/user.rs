//! Domain `user`: who an account is.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{Blob, List, Text},
    event::{Event, Kind},
    frame::Malformed,
    id::UserId,
    limits::{
        AVATAR_BYTES_MAX, FEED_BODY_BYTES_MAX, FEED_PAGE_ENTRIES_MAX, NAME_BYTES_MAX,
        PROFILE_EXTENSION_BYTES_MAX, USERS_PER_QUERY_MAX,
    },
    operation::operations,
    position::{Position, Seq},
    time::Timestamp,
};

operations! { 0x02 "user" {
    0x01 "query" Query => Profiles, User, Query, Query, control;
    0x02 "update" Update => Updated, User, Change, Change, control;
    0x03 "feed" Feed => FeedPage, User, Query, Query, control;
}}

/// What others may know of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Profile {
    /// Whose.
    pub user: UserId,
    /// Display name, empty until one was given.
    pub name: Text<NAME_BYTES_MAX>,
    /// Avatar URL, empty until one was given.
    pub avatar: Text<AVATAR_BYTES_MAX>,
    /// What the app adds; empty until it was given. ZIM's `extendedData` of a user.
    pub extension: ProfileExtension,
}

/// Bytes that an app adds to a profile.
pub type ProfileExtension = Blob<PROFILE_EXTENSION_BYTES_MAX>;

/// Ask for profiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Query {
    /// Whose, in the order of the answer.
    pub users: List<UserId, USERS_PER_QUERY_MAX>,
}

/// The profiles that were found. Users who never logged in are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Profiles {
    /// In the order they were asked for.
    pub profiles: List<Profile, USERS_PER_QUERY_MAX>,
}

/// Change the user's own profile.
///
/// Rejects: `RateLimited`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Update {
    /// New display name; `None` keeps what was there.
    pub name: Option<Text<NAME_BYTES_MAX>>,
    /// New avatar URL; `None` keeps what was there.
    pub avatar: Option<Text<AVATAR_BYTES_MAX>>,
    /// New extension; `None` keeps what was there.
    pub extension: Option<ProfileExtension>,
}

/// The change is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Updated {
    /// The whole profile.
    pub profile: Profile,
}

/// The user's own profile was changed on another terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct ProfileUpdated {
    /// The whole profile.
    pub profile: Profile,
    /// The number of this event in the user's feed.
    pub feed: Seq,
}

/// Read the user's feed forwards: what changed in the user's own state, so that a terminal that was away can catch up.
/// The newest 1,000 entries are kept, those older than thirty days until another is written.
///
/// Rejects: `RateLimited`, `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Feed {
    /// The last number that was read; 0 reads from the oldest.
    pub after: Seq,
    /// At most this many entries, 1 to 100.
    pub limit: u16,
}

/// Entries in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct FeedPage {
    /// The newest position; seq 0 if there is no entry. In another epoch than before, numbers that were read mean
    /// nothing any more.
    pub head: Position,
    /// The first number that is still kept. If `after` is below the number before it, entries are gone: the state that
    /// the feed tells of has to be read again.
    pub first: Seq,
    /// The entries.
    pub entries: List<FeedEntry, FEED_PAGE_ENTRIES_MAX>,
    /// The `after` of the next page, if entries are left.
    pub next: Option<Seq>,
}

/// An event that was told to the user's terminals, as it is kept for those that were away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct FeedEntry {
    /// Its place in the feed, dense from 1.
    pub seq: Seq,
    /// When it was written.
    pub time: Timestamp,
    /// The number of the event; one that is not known is to be skipped.
    pub kind: Kind,
    /// The body of the event.
    pub body: Blob<FEED_BODY_BYTES_MAX>,
}

impl FeedEntry {
    /// The event.
    pub fn event(&self) -> Result<Event, Malformed> {
        Event::decode(self.kind, self.body.clone().into_bytes())
    }
}
