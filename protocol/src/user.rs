//! Domain `user`: who an account is.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text},
    id::UserId,
    limits::{AVATAR_BYTES_MAX, NAME_BYTES_MAX, USERS_PER_QUERY_MAX},
    operation::operations,
};

operations! { 0x02 "user" {
    0x01 "query" Query => Profiles, User, Query, Query, control;
}}

/// What others may know of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Profile {
    /// Whose.
    pub user: UserId,
    /// Display name, empty until one was given at a login.
    pub name: Text<NAME_BYTES_MAX>,
    /// Avatar URL, empty until one was given at a login.
    pub avatar: Text<AVATAR_BYTES_MAX>,
}

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
