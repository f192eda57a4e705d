//! Behaviour of a whole Quail, through real sockets and real processes. One binary, one module per domain.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod canary;
mod chat;
mod classroom;
mod cli;
mod contract;
mod conversation;
mod crash;
mod damage;
mod fuzz;
mod hostile;
mod keep;
mod login;
mod message;
mod operations;
mod power;
mod process;
mod readme;
mod reconnect;
mod resume;
mod room;
mod session;
mod store;
mod storm;
mod tidy;
mod user;
mod websocket_tls;
