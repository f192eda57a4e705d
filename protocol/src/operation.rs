//! What a request is: an opcode, a reply type, and the rules the router applies before any handler runs.

use std::fmt;

use postcard_schema::Schema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{conversation::Conversation, lane::Lane};

/// Number of an operation. High byte: domain, low byte: operation in it. A number that was released is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema)]
pub struct Opcode(pub u16);

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any connection, logged in or not.
    Anyone,
    /// A session that is logged in, or a visitor's.
    Visitor,
    /// A session that is logged in.
    User,
}

/// What repeating a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing; may be repeated freely.
    Query,
    /// Sets a state; repeating it sets the same state.
    Change,
    /// Adds an entry; carries a client message id that makes a repetition harmless.
    Send,
}

/// Which bucket of the user a request draws from before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// None: login, logout and ping have limits of their own.
    Free,
    /// Queries, 20 per second by default.
    Query,
    /// Changes, 10 per second by default.
    Change,
    /// By message kind; a retry of a stored message gets its first result even over the rate.
    Kind,
}

/// The table row of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Number on the wire.
    pub opcode: Opcode,
    /// `domain.verb`, the name in logs, metrics and documents.
    pub name: &'static str,
    /// Who may ask.
    pub access: Access,
    /// What repeating it means.
    pub class: Class,
    /// Which bucket it draws from.
    pub rate: Rate,
}

/// A request and the reply that answers it.
pub trait Operation: Serialize + DeserializeOwned + Schema + Send + 'static {
    /// What the server answers on success.
    type Reply: Serialize + DeserializeOwned + Schema + Send + 'static;

    /// The table row.
    const INFO: Info;

    /// The lane for the request and its reply.
    fn lane(&self) -> Lane {
        Lane::Control
    }

    /// The conversation whose events the reply stands among, if it does.
    fn conversation(&self) -> Option<&Conversation> {
        None
    }
}

/// Declares the operations of a domain: one row each, numbers ascending.
///
/// The last column is `control`, or `priority` where the request has a field `priority` that picks the lane, and a field
/// `conversation` among whose events it is answered.
macro_rules! operations {
    (
        $domain:literal $prefix:literal {
            $($code:literal $name:literal $request:ident => $reply:ty, $access:ident, $class:ident, $rate:ident, $lane:ident;)+
        }
    ) => {
        /// Rows of this domain in opcode order.
        pub const OPERATIONS: &[$crate::operation::Info] = &[$(<$request as $crate::operation::Operation>::INFO),+];

        $(impl $crate::operation::Operation for $request {
            type Reply = $reply;

            const INFO: $crate::operation::Info = $crate::operation::Info {
                opcode: $crate::operation::Opcode(($domain << 8) | $code),
                name: concat!($prefix, ".", $name),
                access: $crate::operation::Access::$access,
                class: $crate::operation::Class::$class,
                rate: $crate::operation::Rate::$rate,
            };

            $crate::operation::operations!(@lane $lane);
        })+

        /// Request and reply schema of each row, for vectors and generated clients.
        pub const SCHEMAS: &[$crate::operation::Schemas] = &[$($crate::operation::Schemas::of::<$request>()),+];

        const _: () = {
            let codes: &[u16] = &[$($code),+];
            let mut i = 1;
            while i < codes.len() {
                assert!(codes[i - 1] < codes[i], "opcodes must ascend and never repeat");
                i += 1;
            }
        };
    };
    (@lane control) => {};
    (@lane priority) => {
        fn lane(&self) -> $crate::lane::Lane {
            self.priority.lane()
        }

        fn conversation(&self) -> Option<&$crate::conversation::Conversation> {
            Some(&self.conversation)
        }
    };
}

pub(crate) use operations;

/// The shape of an operation's bytes and a way to check that bytes have it.
#[derive(Clone, Copy, Debug)]
pub struct Schemas {
    /// The table row.
    pub info: Info,
    /// Shape of the request.
    pub request: &'static postcard_schema::schema::NamedType,
    /// Shape of the reply.
    pub reply: &'static postcard_schema::schema::NamedType,
    /// The lane of a request with these bytes; `None` if they are not one.
    pub lane: fn(&[u8]) -> Option<Lane>,
    /// Decodes a request and encodes it again; `None` if the bytes are not one.
    pub normalize_request: fn(&[u8]) -> Option<Vec<u8>>,
    /// Decodes a reply and encodes it again; `None` if the bytes are not one.
    pub normalize_reply: fn(&[u8]) -> Option<Vec<u8>>,
}

impl Schemas {
    pub(crate) const fn of<O: Operation>() -> Self {
        Self {
            info: O::INFO,
            request: O::SCHEMA,
            reply: <O::Reply as Schema>::SCHEMA,
            lane: lane::<O>,
            normalize_request: normalize::<O>,
            normalize_reply: normalize::<O::Reply>,
        }
    }
}

fn lane<O: Operation>(bytes: &[u8]) -> Option<Lane> {
    crate::frame::decode::<O>(bytes).ok().map(|request| request.lane())
}

pub(crate) fn normalize<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    postcard::to_stdvec(&crate::frame::decode::<T>(bytes).ok()?).ok()
}
