//! Behaviour of a whole Quail, through real sockets and real processes. One binary, one module per domain.

mod cli;
mod hostile;
mod message;
mod operations;
mod readme;
mod session;
mod tidy;
mod user;
