//! Hard bounds of the wire. Policy limits (rates, sessions per user) belong to the server's configuration.

/// Bytes of one frame after its length prefix. Four text messages of the largest size fit in a history reply.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one frame before login succeeded: a token of the largest size and the small fields beside it.
pub const GREETING_FRAME_BYTES_MAX: usize = 16 * 1024;

/// Requests of one session that may wait for their reply. The server stops reading all lanes at this number.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// How far a request id may be above the smallest id that has not arrived yet. Lanes overtake each other, so ids do
/// too; past this the connection is closed.
pub const REQUEST_ID_SPREAD_MAX: u32 = 1024;

/// Streams a client may open for one lane.
pub const STREAMS_PER_LANE_MAX: usize = 4;

/// A reply whose body is longer than this travels on the Low lane so that it delays no event.
pub const CONTROL_REPLY_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a login token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a user id, device id, group id or app id.
pub const ID_BYTES_MAX: usize = 64;

/// Bytes of a room id.
pub const ROOM_ID_BYTES_MAX: usize = 128;

/// Bytes of a display name.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes of an avatar URL.
pub const AVATAR_BYTES_MAX: usize = 512;

/// Bytes of the extension of a profile.
pub const PROFILE_EXTENSION_BYTES_MAX: usize = 1024;

/// Bytes of a client's self-description (`quail-client/0.1.0`).
pub const CLIENT_BYTES_MAX: usize = 64;

/// Bytes of a message body of any kind; each kind has its own, smaller limit.
pub const BODY_BYTES_MAX: usize = 160 * 1024;

/// Bytes of the text of a text message, without its length.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the body of an image or a voice message, thumbnail or clip included.
pub const MEDIA_BYTES_MAX: usize = 128 * 1024;

/// Bytes of the body of a custom message and of all structured kinds that have no limit of their own.
pub const CUSTOM_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the body of a command, and of a barrage.
pub const COMMAND_BYTES_MAX: usize = 5 * 1024;

/// Bytes that a signal may hold. With ids of the largest size its frame stays below 1,000 bytes, so that it fits into one
/// datagram on every path.
pub const SIGNAL_BYTES_MAX: usize = 512;

/// Bytes of a message's extension.
pub const EXTENSION_BYTES_MAX: usize = 1024;

/// Bytes of what a push notification would say.
pub const PUSH_BYTES_MAX: usize = 512;

/// Users called by name in one message.
pub const MENTIONS_MAX: usize = 100;

/// Bytes of the address of something that is kept elsewhere.
pub const URL_BYTES_MAX: usize = 2 * 1024;

/// Bytes of a title or a file name.
pub const CAPTION_BYTES_MAX: usize = 512;

/// Bytes of a short name that programs compare: the type of a custom message, the name of a command.
pub const WORD_BYTES_MAX: usize = 64;

/// Pairs in the extension list that ends a message.
pub const EXT_PAIRS_MAX: usize = 16;

/// Bytes of one extension value.
pub const EXT_VALUE_BYTES_MAX: usize = 1024;

/// Entries in one history reply.
pub const HISTORY_ENTRIES_MAX: usize = 100;

/// Bytes of what messages say in one history reply; the page ends early rather than exceed a frame.
pub const HISTORY_BYTES_MAX: usize = 192 * 1024;

/// Cursors in one resume.
pub const CURSORS_PER_RESUME_MAX: usize = 100;

/// Replies to changes and sends that a session keeps for a client that may not have got them.
pub const REPLIES_KEPT_MAX: usize = 64;

/// Bytes of the replies that a session keeps.
pub const REPLIES_KEPT_BYTES_MAX: usize = 64 * 1024;

/// Conversations in one page of a sync.
pub const SYNC_CONVERSATIONS_MAX: usize = 100;

/// Conversations that the answer to a login brings. With the longest names it still is no longer than
/// [`CONTROL_REPLY_BYTES_MAX`], and so travels on Control.
pub const LOGIN_CONVERSATIONS_MAX: usize = 50;

/// Users in one profile query.
pub const USERS_PER_QUERY_MAX: usize = 100;

/// Bytes of the notice of a room.
pub const ROOM_NOTICE_BYTES_MAX: usize = 1024;

/// Bytes of what an app adds to a room.
pub const ROOM_EXTENSION_BYTES_MAX: usize = 2 * 1024;

/// Users in one event of a room. Of more, the first and their number are told.
pub const MEMBERS_PER_EVENT_MAX: usize = 100;

/// Users in one page of a room's members.
pub const MEMBERS_PER_PAGE_MAX: usize = 100;

/// Bytes of why somebody did something.
pub const REASON_BYTES_MAX: usize = 256;

/// Roles in a list of them.
pub const ROLES_MAX: usize = 16;

/// Users in one page of those who are kept out or muted.
pub const RESTRICTIONS_PER_PAGE_MAX: usize = 100;

/// Messages that are told with the reply to whoever comes into a room.
pub const RECENT_MAX: usize = 50;

/// Bytes of the key of an attribute of a room.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 128;

/// Bytes of the value of an attribute of a room.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 4 * 1024;

/// Attributes of a room.
pub const ATTRIBUTES_MAX: usize = 100;

/// Bytes of all keys and values of a room's attributes.
pub const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;

/// Attributes in one change. ZIM takes 20 as well, RongCloud 10.
pub const ATTRIBUTES_PER_CHANGE_MAX: usize = 20;

/// Bytes of the key of an attribute of a member.
pub const MEMBER_ATTRIBUTE_KEY_BYTES_MAX: usize = 64;

/// Bytes of the value of an attribute of a member.
pub const MEMBER_ATTRIBUTE_VALUE_BYTES_MAX: usize = 256;

/// Attributes of one member.
pub const MEMBER_ATTRIBUTES_MAX: usize = 30;

/// Bytes of all keys and values of one member's attributes.
pub const MEMBER_ATTRIBUTES_BYTES_MAX: usize = 4 * 1024;

/// Bytes that one reply tells of members' attributes; it ends early rather than exceed a frame.
pub const MEMBER_ATTRIBUTES_PAGE_BYTES_MAX: usize = 192 * 1024;

/// Counters of a room.
pub const COUNTERS_MAX: usize = 20;

/// Bytes of the key of a counter.
pub const COUNTER_KEY_BYTES_MAX: usize = 64;

/// How far a counter may be from 0, either way: 2^52, which every double holds.
pub const COUNTER_MAX: i64 = 4_503_599_627_370_496;

/// How long a room may outlive the last one that left, in milliseconds: three hours.
pub const WHEN_EMPTY_MS_MAX: u64 = 3 * 3600 * 1000;

/// Entries in one page of a feed.
pub const FEED_PAGE_ENTRIES_MAX: usize = 100;

/// Bytes of the body of one entry of a feed. A page of the largest fits in a frame.
pub const FEED_BODY_BYTES_MAX: usize = 2 * 1024;

/// How long duplicates are remembered, in milliseconds: seven days. Older client message ids are refused as stale.
pub const DEDUP_WINDOW_MS: u64 = 7 * 24 * 3600 * 1000;

/// The same in rooms: five minutes.
pub const ROOM_DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;

/// How far the time of the id of an increase may be ahead of the server's, in milliseconds: ten seconds. After a start of the
/// server ids are refused that are no newer than the newest that was used.
pub const COUNTER_ID_AHEAD_MS: u64 = 10 * 1000;

/// How far the time of a client message id may be ahead of the server's, in milliseconds: ten minutes.
pub const ID_AHEAD_MS: u64 = 10 * 60 * 1000;
