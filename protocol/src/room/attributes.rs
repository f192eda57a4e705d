//! Pairs of a key and a value that a room holds, of itself and of each member.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::{
    bounded::{Blob, List, Text},
    id::{RoomId, UserId},
    limits::{
        ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, ATTRIBUTES_PER_CHANGE_MAX,
        MEMBER_ATTRIBUTE_KEY_BYTES_MAX, MEMBER_ATTRIBUTE_VALUE_BYTES_MAX, MEMBER_ATTRIBUTES_MAX,
        USERS_PER_QUERY_MAX,
    },
    open::open_enum,
    position::Position,
};

/// The key of an attribute of a room; not empty.
pub type AttributeKey = Text<ATTRIBUTE_KEY_BYTES_MAX>;

/// What an attribute of a room says. Only apps read it.
pub type AttributeValue = Blob<ATTRIBUTE_VALUE_BYTES_MAX>;

/// The key of an attribute of a member; not empty.
pub type MemberAttributeKey = Text<MEMBER_ATTRIBUTE_KEY_BYTES_MAX>;

/// An attribute that a room is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Pair {
    /// Its key.
    pub key: AttributeKey,
    /// What it is to say.
    pub value: AttributeValue,
}

/// Set attributes of a room, all or none. ZIM's `setRoomAttributes`. Whoever sets an attribute that was not there owns it.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `InvalidArgument`, `AttributeNotOwned`, `TooManyAttributes`,
/// `AttributesTooLarge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct SetAttributes {
    /// Of which.
    pub room: RoomId,
    /// At least one, no key twice.
    pub set: List<Pair, ATTRIBUTES_PER_CHANGE_MAX>,
    /// Also those that another user owns. The room's owner and its admins may always.
    pub force: bool,
    /// They go when their owner leaves the room.
    pub delete_after_owner_left: bool,
    /// Those that another user owns become the setter's own.
    pub take_over: bool,
}

/// Delete attributes of a room, all or none. Those that are not there are no error. ZIM's `deleteRoomAttributes`.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `InvalidArgument`, `AttributeNotOwned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct DeleteAttributes {
    /// Of which.
    pub room: RoomId,
    /// At least one.
    pub keys: List<AttributeKey, ATTRIBUTES_PER_CHANGE_MAX>,
    /// Also those that another user owns. The room's owner and its admins may always.
    pub force: bool,
}

/// The change is in force, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct AttributesChanged {
    /// The version of the room's attributes behind it. A change that changed nothing has none of its own.
    pub version: u64,
}

/// Ask for all attributes of a room. ZIM's `queryRoomAllAttributes`.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Attributes {
    /// Of which.
    pub room: RoomId,
}

/// All attributes of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct AttributesPage {
    /// Their version.
    pub version: u64,
    /// They, in the order of their keys.
    pub attributes: List<Attribute, ATTRIBUTES_MAX>,
}

/// An attribute of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Attribute {
    /// Its key.
    pub key: AttributeKey,
    /// What it says.
    pub value: AttributeValue,
    /// Whose it is.
    pub owner: UserId,
    /// It goes when its owner leaves the room.
    pub delete_after_owner_left: bool,
}

open_enum! {
    /// Why attributes of a room were changed.
    AttributesCause: u8 {
        /// Somebody did it.
        Asked = 1,
        /// Their owner, who is the operator, left the room.
        OwnerLeft = 2,
    }
}

/// Attributes of a room were changed. One event for each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct AttributesUpdated {
    /// Of which.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// The version behind it: one more than before. Whoever finds a version missing asks for all.
    pub version: u64,
    /// Those that were set.
    pub set: List<Attribute, ATTRIBUTES_PER_CHANGE_MAX>,
    /// Those that are gone.
    pub deleted: List<AttributeKey, ATTRIBUTES_MAX>,
    /// By whom.
    pub operator: UserId,
    /// What they were.
    pub role: Role,
    /// Why.
    pub cause: AttributesCause,
}

/// An attribute of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MemberAttribute {
    /// Its key.
    pub key: MemberAttributeKey,
    /// What it says. Only apps read it.
    pub value: Blob<MEMBER_ATTRIBUTE_VALUE_BYTES_MAX>,
}

/// Set and delete attributes of members, alike for all of them: of oneself, or as the room's owner or an admin of anybody.
/// All or none, but for users who are not in the room. ZIM's `setRoomMembersAttributes`.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`, `InvalidArgument`, `RightMissing`, `TooManyAttributes`,
/// `AttributesTooLarge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct SetMemberAttributes {
    /// In which room.
    pub room: RoomId,
    /// Of whom, at least one.
    pub users: List<UserId, USERS_PER_QUERY_MAX>,
    /// Those that are to be there, no key twice.
    pub set: List<MemberAttribute, MEMBER_ATTRIBUTES_MAX>,
    /// Those that are to be gone. None that is set.
    pub deleted: List<MemberAttributeKey, MEMBER_ATTRIBUTES_MAX>,
}

/// The change is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MemberAttributesChanged {
    /// The version of all members' attributes behind it. A change that changed nothing has none of its own.
    pub version: u64,
    /// Users who are not in the room.
    pub missing: List<UserId, USERS_PER_QUERY_MAX>,
}

/// Ask for the attributes of members. ZIM's `queryRoomMembersAttributes`.
///
/// Rejects: `RateLimited`, `RoomNotFound`, `NotInRoom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MemberAttributes {
    /// In which room.
    pub room: RoomId,
    /// Of whom.
    pub users: List<UserId, USERS_PER_QUERY_MAX>,
}

/// Attributes of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MemberAttributesPage {
    /// Their version.
    pub version: u64,
    /// So many of the users who were asked for are answered, the first; a frame holds no more.
    pub answered: u16,
    /// Those of them who are in the room.
    pub members: List<OfMember, USERS_PER_QUERY_MAX>,
}

/// The attributes of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct OfMember {
    /// Whose.
    pub user: UserId,
    /// They, in the order of their keys.
    pub attributes: List<MemberAttribute, MEMBER_ATTRIBUTES_MAX>,
}

/// Attributes of members were changed, alike for all of them. Those of whoever leaves are gone without such an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct MemberAttributesUpdated {
    /// In which room.
    pub room: RoomId,
    /// The room's newest position then.
    pub follows: Position,
    /// The version behind it: one more than before.
    pub version: u64,
    /// Of whom.
    pub users: List<UserId, USERS_PER_QUERY_MAX>,
    /// Those that were set.
    pub set: List<MemberAttribute, MEMBER_ATTRIBUTES_MAX>,
    /// Those that are gone.
    pub deleted: List<MemberAttributeKey, MEMBER_ATTRIBUTES_MAX>,
    /// By whom.
    pub operator: UserId,
    /// What they were.
    pub role: Role,
}
