//! The wire of Quail on one page.
//!
//! A *carrier* (QUIC or WebSocket) gives two ends five ordered [`Lane`]s. A lane carries *frames*: a varint length, a
//! [`frame::Head`] and a postcard body. A client sends requests, each an [`Operation`] with its own reply type; the
//! server answers with the reply or a [`Reject`], and sends [`Event`]s on its own. A connection ends with a [`Close`]
//! code whose range says whether to come back.
//!
//! This crate knows no socket, no clock and no task: it turns values into bytes and bytes into values, and builds for
//! `wasm32-unknown-unknown`. `docs/protocol.md` describes the same wire for clients in other languages.

pub mod bounded;
pub mod close;
pub mod conversation;
pub mod event;
pub mod frame;
pub mod id;
pub mod lane;
pub mod limits;
pub mod message;
mod open;
pub mod operation;
pub mod position;
pub mod reject;
pub mod room;
pub mod session;
pub mod time;
pub mod user;
pub mod version;

pub use close::Close;
pub use conversation::Conversation;
pub use event::Event;
pub use lane::{Lane, Priority};
pub use operation::{Access, Class, Info, Opcode, Operation, Rate};
pub use position::{Epoch, Position, Rev, Seq};
pub use reject::{Advice, Code, Reject};
pub use time::Timestamp;

/// Every operation the protocol defines, in opcode order.
pub fn operations() -> impl Iterator<Item = &'static Info> {
    schemas().map(|schemas| &schemas.info)
}

/// The shapes of every operation, in opcode order.
pub fn schemas() -> impl Iterator<Item = &'static operation::Schemas> {
    [session::SCHEMAS, user::SCHEMAS, conversation::SCHEMAS, message::SCHEMAS, room::SCHEMAS]
        .into_iter()
        .flatten()
}
