//! What is kept of a user.

use quail_protocol::{
    Conversation, Epoch, Seq, Timestamp,
    bounded::Text,
    conversation::{ConversationMarked, Marked, PeerMarked, Summary},
    id::{AppId, UserId},
    limits::{AVATAR_BYTES_MAX, NAME_BYTES_MAX},
    user::{Profile, ProfileExtension, ProfileUpdated},
};

use super::{ConversationKey, Head, StoreError};
use crate::domain::conversation::{Countable, Marks, View};

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
    /// New extension; `None` keeps what was there.
    pub extension: Option<ProfileExtension>,
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
        if let Some(extension) = self.extension {
            profile.extension = extension;
        }
        profile
    }
}

/// Of a user who said nothing.
fn empty_profile(user: UserId) -> Profile {
    Profile { user, name: Default::default(), avatar: Default::default(), extension: Default::default() }
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
    /// The other user of the conversation is to learn of it.
    pub receipt: bool,
}

impl MarkChange {
    /// What becomes of how the user sees the conversation. `at` tells what was countable up to an entry, if it is kept.
    pub(super) fn apply(
        self,
        before: View,
        head: &Head,
        at: impl FnOnce(Seq) -> Result<Option<Countable>, StoreError>,
    ) -> Result<(View, MarkKept), StoreError> {
        let reader = self.key.reader(&self.user);
        let marks = before.marks.advance(self.marks, head.position.seq);
        let of_others = head.countable.of_others(reader);
        let seen = if marks.read == before.marks.read {
            before.seen
        } else if marks.read == head.position.seq {
            of_others
        } else {
            at(marks.read)?.map_or(before.seen, |countable| countable.of_others(reader))
        };
        let view = View { marks, seen };
        let changed = marks != before.marks;
        let unread = view.unread(of_others);
        let Self { user, key, conversation, epoch, receipt, .. } = self;
        let kept = MarkKept { conversation, key, user, epoch, marks, unread, changed, receipt };
        Ok((view, kept))
    }
}

/// Marks after a [`MarkChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkKept {
    /// The conversation as the user names it.
    pub conversation: Conversation,
    /// The conversation.
    pub key: ConversationKey,
    /// The user.
    pub user: UserId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// What is in force.
    pub marks: Marks,
    /// What the user has not read.
    pub unread: u64,
    /// False if they were so before.
    pub changed: bool,
    /// The other user of the conversation is to learn of it.
    pub receipt: bool,
}

impl MarkKept {
    /// What the user is answered.
    pub fn reply(&self) -> Marked {
        let Self { marks: Marks { delivered, read }, unread, .. } = *self;
        Marked { delivered, read, unread }
    }

    /// What the user's other sessions are told. It is in no feed: a sync has the marks of every conversation.
    pub fn event(&self) -> ConversationMarked {
        let Self { conversation, epoch, marks: Marks { delivered, read }, unread, .. } = self.clone();
        ConversationMarked { conversation, epoch, delivered, read, unread }
    }

    /// What the other user of the conversation is told, if there is one and they are to learn of it.
    pub fn receipt(&self) -> Option<(&UserId, PeerMarked)> {
        let other = self.key.other(&self.user).filter(|_| self.receipt)?;
        let Marks { delivered, read } = self.marks;
        let conversation = Conversation::Peer(self.user.clone());
        Some((other, PeerMarked { conversation, epoch: self.epoch, delivered, read }))
    }
}

/// What a user is told of a conversation that they see so and the other user, if there is one, so.
pub(super) fn summary(
    key: &ConversationKey,
    user: &UserId,
    head: &Head,
    own: View,
    other: Option<View>,
) -> Summary {
    let Head { position, first, rev, time, countable, .. } = *head;
    let Marks { delivered, read } = own.marks;
    let unread = own.unread(countable.of_others(key.reader(user)));
    let Marks { delivered: peer_delivered, read: peer_read } = other.unwrap_or_default().marks;
    Summary {
        conversation: Conversation::Peer(key.other(user).unwrap_or(user).clone()),
        head: position,
        first,
        rev,
        time,
        delivered,
        read,
        unread,
        peer_delivered,
        peer_read,
    }
}
