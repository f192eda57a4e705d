//! Pure rules. No clock, no lock, no task, no wire code beyond the protocol's types: a state, an input and a time come
//! in, a decision goes out.

pub mod conversation;
pub mod message;
pub mod rate;
pub mod resume;
pub mod room;
pub mod token;
