//! What is kept of a user.

use quail_protocol::{
    Conversation, Epoch,
    bounded::Text,
    id::{AppId, UserId},
    limits::{AVATAR_BYTES_MAX, NAME_BYTES_MAX},
    user::Profile,
};

use super::ConversationKey;
use crate::domain::conversation::Marks;

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

/// Marks that a user asks for.
#[derive(Clone, Debug)]
pub struct MarkChange {
    /// The tenant.
    pub app: AppId,
    /// Whose.
    pub user: UserId,
    /// Where.
    pub key: ConversationKey,
    /// The conversation as the user names it.
    pub conversation: Conversation,
    /// The incarnation that is meant.
    pub epoch: Epoch,
    /// How far they want to have come.
    pub marks: Marks,
}

/// Marks after a [`MarkChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkKept {
    /// The conversation as the user names it.
    pub conversation: Conversation,
    /// The user.
    pub user: UserId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// What is in force.
    pub marks: Marks,
    /// False if it was so before.
    pub changed: bool,
}
