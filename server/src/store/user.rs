//! What is kept of a user.

use quail_protocol::{
    bounded::Text,
    id::{AppId, UserId},
    limits::{AVATAR_BYTES_MAX, NAME_BYTES_MAX},
    user::Profile,
};

/// A change of a [`Profile`].
#[derive(Clone, Debug)]
pub struct ProfileChange {
    /// The tenant.
    pub app: AppId,
    /// Whose.
    pub user: UserId,
    /// New display name; `None` keeps what was there.
    pub name: Option<Text<NAME_BYTES_MAX>>,
    /// New avatar URL; `None` keeps what was there.
    pub avatar: Option<Text<AVATAR_BYTES_MAX>>,
}

impl ProfileChange {
    /// The profile after the change.
    pub fn apply(self, before: Option<Profile>) -> Profile {
        let mut profile = before.unwrap_or_else(|| Profile {
            user: self.user,
            name: Default::default(),
            avatar: Default::default(),
        });
        if let Some(name) = self.name {
            profile.name = name;
        }
        if let Some(avatar) = self.avatar {
            profile.avatar = avatar;
        }
        profile
    }
}

/// A profile after a [`ProfileChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileKept {
    /// What is in force.
    pub profile: Profile,
    /// False if it was so before.
    pub changed: bool,
}
