//! Pairs of a key and a value that a room holds, of itself and of each member.

use bytes::Bytes;
use quail_protocol::{
    bounded::{Blob, List, Text, TooLong},
    id::UserId,
    room::{
        Attributes, AttributesChanged, AttributesPage, DeleteAttributes, MemberAttribute, MemberAttributes,
        MemberAttributesChanged, MemberAttributesPage, Pair, SetAttributes, SetMemberAttributes,
    },
};

use super::Room;
use crate::error::CallError;

/// How attributes of a room are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeOptions {
    /// Also those that another user owns. The room's owner and its admins may always. ZIM's `isForce`.
    pub force: bool,
    /// They go when their owner leaves the room. ZIM's `isDeleteAfterOwnerLeft`.
    pub delete_after_owner_left: bool,
    /// Those that another user owns become the setter's own. ZIM's `isUpdateOwner`.
    pub take_over: bool,
}

impl Room {
    /// Sets up to 20 attributes of the room, all or none; keys have up to 128 bytes, values up to 4,096. Refused with
    /// `AttributeNotOwned` if another user owns one, unless `options` or the user's role overrule that.
    ///
    /// Everybody else in the room gets one [`Event::AttributesUpdated`](crate::protocol::Event::AttributesUpdated). Its
    /// `version` is one above the version before: an app that finds one missing asks for all
    /// [`attributes`](Room::attributes).
    ///
    /// ```no_run
    /// # async fn f(room: quail_client::Room) -> Result<(), quail_client::CallError> {
    /// use quail_client::AttributeOptions;
    ///
    /// // A seat that is free again when whoever sits there leaves.
    /// let seat = AttributeOptions { delete_after_owner_left: true, ..AttributeOptions::default() };
    /// room.set_attributes([("seat-3", "alice")], seat).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_attributes<K: Into<String>, V: Into<Bytes>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
        options: AttributeOptions,
    ) -> Result<AttributesChanged, CallError> {
        let pair = |(key, value)| Ok(Pair { key: Text::new(key)?, value: Blob::new(value)? });
        let set = list(pairs.into_iter().map(pair))?;
        let AttributeOptions { force, delete_after_owner_left, take_over } = options;
        let room = self.id.clone();
        self.client.call(SetAttributes { room, set, force, delete_after_owner_left, take_over }).await
    }

    /// Deletes up to 20 attributes of the room, all or none. Those that are not there are no error.
    pub async fn delete_attributes<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        force: bool,
    ) -> Result<AttributesChanged, CallError> {
        let keys = list(keys.into_iter().map(Text::new))?;
        self.client.call(DeleteAttributes { room: self.id.clone(), keys, force }).await
    }

    /// All attributes of the room.
    pub async fn attributes(&self) -> Result<AttributesPage, CallError> {
        self.client.call(Attributes { room: self.id.clone() }).await
    }

    /// Sets attributes of this user in the room; keys have up to 64 bytes, values up to 256. They are gone when the user
    /// leaves.
    pub async fn set_own_attributes<K: Into<String>, V: Into<Bytes>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<MemberAttributesChanged, CallError> {
        self.set_member_attributes([self.client.user_id().clone()], pairs, []).await
    }

    /// Sets and deletes attributes of up to 100 members, alike for all of them. Those of others are for the room's owner
    /// and its admins. Users who are not in the room are passed over, and named in the answer.
    pub async fn set_member_attributes<K: Into<String>, V: Into<Bytes>>(
        &self,
        users: impl IntoIterator<Item = UserId>,
        set: impl IntoIterator<Item = (K, V)>,
        deleted: impl IntoIterator<Item = K>,
    ) -> Result<MemberAttributesChanged, CallError> {
        let pair = |(key, value)| Ok(MemberAttribute { key: Text::new(key)?, value: Blob::new(value)? });
        let change = SetMemberAttributes {
            room: self.id.clone(),
            users: list(users.into_iter().map(Ok))?,
            set: list(set.into_iter().map(pair))?,
            deleted: list(deleted.into_iter().map(Text::new))?,
        };
        self.client.call(change).await
    }

    /// The attributes of up to 100 members. [`MemberAttributesPage::answered`] says how many of `users` a frame could hold;
    /// ask again for the others.
    pub async fn member_attributes(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<MemberAttributesPage, CallError> {
        let users = list(users.into_iter().map(Ok))?;
        self.client.call(MemberAttributes { room: self.id.clone(), users }).await
    }
}

/// The items as the wire has them, if they fit.
pub(super) fn list<T, const MAX: usize>(
    items: impl Iterator<Item = Result<T, TooLong>>,
) -> Result<List<T, MAX>, CallError> {
    // One more than fit are enough to be too many.
    items.take(MAX + 1).collect::<Result<_, _>>().and_then(List::new).map_err(CallError::TooLarge)
}
