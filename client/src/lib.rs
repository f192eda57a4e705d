//! The Rust client of Quail: connect, typed calls, events.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use quail_client::{Client, Trust, protocol::{Event, message::Text}};
//!
//! let (client, mut events) = Client::builder("127.0.0.1:4433")
//!     .app("demo")
//!     .user("alice")
//!     .token("…")
//!     .trust(Trust::fingerprint("…")?)
//!     .connect()
//!     .await?;
//!
//! client.peer("bob")?.send("hi").await?;
//!
//! while let Some(event) = events.recv().await {
//!     if let Event::MessageSent(message) = event {
//!         println!("{}: {}", message.sender, Text::decode(&message.content.body)?.text);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] asks, [`Events`] tells, [`States`] says whether the connection stands and why it ended. Every operation of
//! [`protocol`] can be asked with [`Client::call`]; what apps need often has a method of its own.
//!
//! One task per connection reads and writes it. It writes the most urgent lane first, so a message of
//! [`Priority::High`] waits behind nothing else that waits in this client. It drops nothing: an app that does not take its
//! events holds the server back.
//!
//! # When the connection is lost
//!
//! The client connects again by itself, see [`Reconnect`]: [`State::Reconnecting`] until it succeeds, a new session then,
//! the same handles. Sends and queries without a reply are asked again, sends under their old id, so that they add
//! nothing twice. Messages that were missed are fetched from the history, after a reconnect as well as when the server
//! says that this client was too slow: of each conversation, the app gets what came after the first event it saw or the
//! first message it sent, every message once, and in the order of each priority. At the first connect the client lists the
//! user's conversations ([`Client::conversations`] does the same for the app) and follows them from where they stand. One
//! that it finds after a later connect began meanwhile: the app gets it from its beginning. All of this is known to this
//! value in this process only, unless it is given a storage.
//!
//! Rooms that were lost with a session are come into again, see [`Room`].
//!
//! [`Cause::comes_back`] says after what the client does not return. It ends with [`State::Disconnected`] then.
//!
//! # When the app starts again
//!
//! With [`Builder::storage`] the next start goes on where the app was: it gets what came meanwhile, each message once. After
//! a crash it gets at most those again that it had received and not done with, and those of its own that were answered
//! while earlier events still waited. Messages that it was sending are in [`Client::unsent`]. Without a storage an app
//! reads the history.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod builder;
mod carrier;
mod client;
mod clock;
mod dial;
mod dialer;
mod driver;
mod error;
mod events;
mod greeting;
mod keeper;
mod link;
mod outbox;
mod outgoing;
mod peer;
mod pending;
mod reconnect;
mod room;
mod signal;
mod silence;
mod state;
pub mod storage;
mod tracker;
mod trust;
mod window;

pub use quail_protocol as protocol;

pub use builder::{Builder, CarrierKind};
pub use client::Client;
pub use error::{CallError, ConnectError, SignalError, TokenError};
pub use events::Events;
pub use outgoing::{Outgoing, Unsent};
pub use peer::Peer;
pub use protocol::{Priority, session::Platform};
pub use reconnect::Reconnect;
pub use room::{AttributeOptions, Room, Until};
pub use state::{Cause, State, States};
pub use trust::{InvalidFingerprint, Trust};
