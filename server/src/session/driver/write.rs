//! The writing half of the driver: lanes in priority order, without ever waiting for one of them.

use std::{
    ops::ControlFlow,
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use quail_protocol::Lane;

use super::{BATCH_BYTES_MAX, Driver};
use crate::{
    carrier::{Carrier, Datagram, Lost, Way},
    context::Context,
    session::{connected::End, state::Input},
};

/// Bytes of one lane that the carrier has not taken yet.
pub(super) struct Write {
    /// Where they go, see [`Driver::ways`].
    pub(super) way: Way,
    pub(super) bytes: Bytes,
    pub(super) replies: usize,
}

impl<C: Carrier> Driver<C> {
    /// Writes what waits, most urgent first; after each write the most urgent lane is asked again.
    pub(super) fn write(&mut self, cx: &mut TaskContext<'_>) -> ControlFlow<End> {
        let mut wrote = false;
        'again: loop {
            let mut waiting = self.context.session.outbox.waiting(self.attachment);
            if waiting.signals() {
                self.write_signals();
                // Those that no datagram can carry wait on a lane now.
                waiting = self.context.session.outbox.waiting(self.attachment);
            }
            for lane in Lane::ALL {
                if self.writes[lane.index()].is_none() && !waiting.on(lane) {
                    continue;
                }
                if lane != Lane::Control && !self.greeted {
                    // Nothing may be told before the login is answered.
                    continue;
                }
                match self.write_lane(cx, lane) {
                    Poll::Ready(Ok(true)) => {
                        wrote = true;
                        continue 'again;
                    }
                    Poll::Ready(Ok(false)) | Poll::Pending => {}
                    Poll::Ready(Err(Lost::Violation(close))) => return ControlFlow::Break(End::Close(close)),
                    Poll::Ready(Err(lost)) => return ControlFlow::Break(End::Lost(lost)),
                }
            }
            break;
        }
        let flushed = match self.carrier.poll_flush(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(lost)) => return ControlFlow::Break(End::Lost(lost)),
            Poll::Pending => false,
        };
        let pending = !flushed || self.writes.iter().any(Option::is_some);
        let progress = wrote || !pending;
        self.input(if progress { Input::Wrote { pending } } else { Input::WriteStalled })
    }

    /// Hands signals to the carrier. Who takes them and nothing else is as slow as one who takes nothing.
    fn write_signals(&mut self) {
        let Context { session, shared } = &self.context;
        while self.greeted
            && let Some(frame) = session.outbox.take_signal(self.attachment)
        {
            match self.carrier.send_datagram(frame.clone()) {
                Datagram::Sent => {}
                Datagram::Unsupported if session.outbox.push_signal_on_lane(frame) => {}
                Datagram::NoRoom | Datagram::Unsupported => shared.metrics.signal_discarded("no room"),
            }
        }
    }

    /// Hands one batch of a lane to the carrier. Ready with false if the lane has none.
    fn write_lane(&mut self, cx: &mut TaskContext<'_>, lane: Lane) -> Poll<Result<bool, Lost>> {
        let at = lane.index();
        if self.writes[at].is_none() {
            let Some(batch) = self.context.session.outbox.take(self.attachment, lane, BATCH_BYTES_MAX) else {
                return Poll::Ready(Ok(false));
            };
            let ways = [(lane, batch.slot), (lane, 0)];
            let open = ways.into_iter().find(|way| self.carrier.is_open(*way));
            let way =
                *self.ways[at][usize::from(batch.slot)].get_or_insert(open.unwrap_or((Lane::Control, 0)));
            self.writes[at] = Some(Write { way, bytes: batch.bytes, replies: batch.replies });
        }
        let Some(write) = &mut self.writes[at] else { return Poll::Ready(Ok(false)) };
        let on_control = write.way.0 == Lane::Control;
        if on_control && self.control_owner.is_some_and(|owner| owner != at) {
            return Poll::Pending;
        }
        let before = write.bytes.len();
        let polled = self.carrier.poll_send(cx, write.way, &mut write.bytes);
        let took_some = write.bytes.len() < before;
        if on_control {
            let half_written = polled.is_pending() && (took_some || self.control_owner == Some(at));
            self.control_owner = half_written.then_some(at);
        }
        match polled {
            Poll::Ready(Ok(())) => {
                let replies = write.replies;
                self.writes[at] = None;
                let now = self.context.shared.clock.now();
                for _ in 0..replies {
                    // An answered request frees its place and ends no connection.
                    _ = self.state.handle(Input::Answered, now);
                }
                if replies > 0 && self.paused {
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(lost)) => Poll::Ready(Err(lost)),
            Poll::Pending if took_some => {
                let now = self.context.shared.clock.now();
                // Progress restarts the write deadline and ends no connection.
                _ = self.state.handle(Input::Wrote { pending: true }, now);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{Arc, Mutex},
    };

    use futures_util::task::noop_waker_ref;
    use quail_protocol::{Close, Timestamp};
    use tokio::sync::watch;

    use super::*;
    use crate::{carrier::Received, context::Shared, services};

    /// A client without datagrams that says nothing.
    #[derive(Clone, Default)]
    struct Silent(Arc<Mutex<Vec<(Lane, Bytes)>>>);

    impl Carrier for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        fn remote_address(&self) -> SocketAddr {
            SocketAddr::from(([192, 0, 2, 1], 1))
        }

        fn poll_receive(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<Received, Lost>> {
            Poll::Pending
        }

        fn is_open(&self, _: Way) -> bool {
            true
        }

        fn poll_send(
            &mut self,
            _: &mut TaskContext<'_>,
            (lane, _): Way,
            bytes: &mut Bytes,
        ) -> Poll<Result<(), Lost>> {
            self.0.lock().unwrap().push((lane, std::mem::take(bytes)));
            Poll::Ready(Ok(()))
        }

        fn poll_flush(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Lost>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut TaskContext<'_>, _: Close) -> Poll<()> {
            Poll::Ready(())
        }
    }

    #[tokio::test]
    async fn a_signal_that_no_datagram_can_carry_leaves_in_the_turn_that_it_wakes() {
        let (carrier, shared) = (Silent::default(), Arc::new(Shared::empty(Timestamp(1))));
        let (_drain, draining) = watch::channel(false);
        let mut driver = Driver::new(carrier.clone(), shared, Arc::new(services::routes()), draining);
        driver.greeted = true;
        driver.context.session.outbox.push_signal(Bytes::from_static(b"typing"));
        let written = driver.write(&mut TaskContext::from_waker(noop_waker_ref()));
        assert!(written.is_continue());
        assert_eq!(*carrier.0.lock().unwrap(), [(Lane::Low, Bytes::from_static(b"typing"))]);
    }
}
