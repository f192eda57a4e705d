//! What transports lanes: five ordered ways between two ends, and a close code.

use std::task::{Context, Poll};

use bytes::Bytes;
use quail_protocol::{Close, Lane};

use crate::state::Cause;

pub(crate) mod quic;
pub(crate) mod websocket;

/// The carrier is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost(pub(crate) Cause);

/// Polled by one task only. A method that returns pending wakes that task when it can go on.
pub(crate) trait Carrier: Send + 'static {
    /// Ordered bytes of one of a lane's streams, in pieces of any size. What arrived before the loss comes before the loss.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Lane, usize, Bytes), Lost>>;

    /// The next datagram. Pending for ever on a carrier that has none.
    fn poll_datagram(&mut self, _: &mut Context<'_>) -> Poll<Bytes> {
        Poll::Pending
    }

    /// Sends `frame` by itself, to arrive or not. Given back by a carrier that has no datagrams, or none of that size.
    fn send_datagram(&mut self, frame: Bytes) -> Result<(), Bytes> {
        Err(frame)
    }

    /// Takes what fits off the front of `bytes`, which are whole frames at first; ready when all was taken.
    fn poll_send(&mut self, cx: &mut Context<'_>, lane: Lane, bytes: &mut Bytes) -> Poll<Result<(), Lost>>;

    /// Ready when what was taken is on its way.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// Ends the carrier; nothing is sent or received any more.
    fn close(&mut self, close: Close);

    /// After `close`: ready when the other end was told, as far as that can be known.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The cause behind a close code that the server sent; `None` outside our range.
fn closed_by(number: u64) -> Option<Cause> {
    let number = u16::try_from(number).ok()?;
    (4000..=4999).contains(&number).then(|| Cause::Closed(Close::from_number(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_range_of_numbers_is_a_close_code() {
        assert_eq!(closed_by(4000), Some(Cause::Closed(Close::Draining)));
        assert_eq!(closed_by(4299), Some(Cause::Closed(Close::Unknown(4299))));
        for number in [0, 1000, 1006, 3999, 5000, 4000 + 0x1_0000] {
            assert_eq!(closed_by(number), None, "{number}");
        }
    }
}
