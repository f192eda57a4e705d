//! Files that follow from the protocol's tables: the golden vectors and the tables of `docs/protocol.md`.
//!
//! `UPDATE=1 cargo test -p quail-protocol` rewrites them; without it a difference fails.

mod docs;
mod files;
mod handwritten;
mod rows;
mod sample;
mod schema;
mod shape;
mod source;
mod vectors;
