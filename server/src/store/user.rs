//! What is kept of a user.

use quail_protocol::{
    Conversation, Epoch, Seq, Timestamp,
    bounded::Text,
    conversation::ConversationMarked,
    id::{AppId, UserId},
    limits::{AVATAR_BYTES_MAX, NAME_BYTES_MAX},
    user::{Profile, ProfileUpdated},
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
    /// When it was asked for; the committer stamps it again when it is made.
    pub time: Timestamp,
}

impl ProfileChange {
    /// The profile after the change.
    pub fn apply(self, before: Option<Profile>) -> Profile {
        let mut profile = before.unwrap_or_else(|| empty_profile(self.user));
        if let Some(name) = self.name {
            profile.name = name;
        }
        if let Some(avatar) = self.avatar {
            profile.avatar = avatar;
        }
        profile
    }
}

/// Of a user who said nothing.
fn empty_profile(user: UserId) -> Profile {
    Profile { user, name: Default::default(), avatar: Default::default() }
}

/// A profile after a [`ProfileChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileKept {
    /// What is in force.
    pub profile: Profile,
    /// The number in the user's feed that tells of the change; `None` if it was so before.
    pub feed: Option<Seq>,
}

impl ProfileKept {
    /// What a change makes of a profile, and if that is to be told: a profile that says nothing is no news.
    pub(super) fn of(change: ProfileChange, before: Option<Profile>) -> (Self, bool) {
        let said = before.clone().unwrap_or_else(|| empty_profile(change.user.clone()));
        let profile = change.apply(before);
        let told = profile != said;
        (Self { profile, feed: None }, told)
    }

    /// The event with the number `feed`.
    pub fn event(&self, feed: Seq) -> ProfileUpdated {
        ProfileUpdated { profile: self.profile.clone(), feed }
    }
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
    /// False if they were so before.
    pub changed: bool,
}

impl MarkKept {
    /// What the user's other sessions are told. It is in no feed: a sync has the marks of every conversation.
    pub fn event(&self) -> ConversationMarked {
        let Self { conversation, epoch, marks: Marks { delivered, read }, .. } = self;
        let conversation = conversation.clone();
        ConversationMarked { conversation, epoch: *epoch, delivered: *delivered, read: *read }
    }
}
