//! What the driver does about clients that may be anybody.

use std::ops::ControlFlow;

use quail_protocol::{
    Close, Lane,
    limits::{FRAME_BYTES_MAX, GREETING_FRAME_BYTES_MAX},
};

use super::Driver;
use crate::{
    carrier::Carrier,
    session::{Session, connected::End, state::Input},
};

/// Bytes of a frame's length.
const LENGTH_BYTES_MAX: usize = 4;

impl<C: Carrier> Driver<C> {
    /// Says who logged in, and from where.
    pub(super) fn log_login(&self) {
        let Some(identity) = self.context.session.identity() else { return };
        tracing::info!(
            app = %identity.app,
            user = %identity.user,
            device = %identity.device,
            resumed = self.attachment != Default::default(),
            carrier = self.carrier.name(),
            address = self.context.shared.addresses.shown(self.carrier.remote_address().ip()),
            "logged in"
        );
    }

    /// Says that a visitor came, and from where.
    pub(super) fn log_visit(&self) {
        let Some(visitor) = self.context.session.visitor() else { return };
        tracing::info!(
            app = %visitor.app,
            visitor = %visitor.id,
            carrier = self.carrier.name(),
            address = self.context.shared.addresses.shown(self.carrier.remote_address().ip()),
            "visiting"
        );
    }

    /// Charges the connection for what it asked for that drew from no bucket.
    pub(super) fn charge(&mut self) -> ControlFlow<End> {
        let count = self.context.session.take_free();
        if count == 0 {
            return ControlFlow::Continue(());
        }
        let held = self.state.is_held();
        self.input(Input::Free(count))?;
        if self.state.is_held() && !held {
            self.context.shared.metrics.connection_held();
        }
        ControlFlow::Continue(())
    }

    /// Ends a connection that begins more frames than it finishes: together they may take one of the largest size for
    /// each lane. Asked when every whole frame was served.
    pub(super) fn check_begun_frames(&self) -> ControlFlow<End> {
        let largest = if self.greeted && !self.state.is_visiting() {
            FRAME_BYTES_MAX
        } else {
            GREETING_FRAME_BYTES_MAX
        };
        if self.decoders.buffered() > Lane::COUNT * (LENGTH_BYTES_MAX + largest) {
            return ControlFlow::Break(End::Close(Close::FrameTooLarge));
        }
        ControlFlow::Continue(())
    }

    /// Logins refused on this connection, each counted for the client's address. More than any connection may have if
    /// they are too many of the address.
    pub(super) fn refused_logins(&mut self, session: &Session) -> u8 {
        let refused = session.refused_logins();
        let shared = &self.context.shared;
        let address = self.carrier.remote_address().ip();
        while self.refusals_counted < refused {
            self.refusals_counted += 1;
            if shared.addresses.refuse_login(address, shared.clock.now()) {
                return u8::MAX;
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use quail_protocol::{
        Operation, Timestamp,
        frame::{self, Decoder, Head},
        session::Ping,
    };
    use tokio::sync::watch;

    use super::*;
    use crate::{
        carrier::{Lost, Received, Way},
        context::Shared,
        services,
        session::driver::drive,
    };

    /// A client that pings as fast as it is read.
    struct Flood {
        asked: u32,
        heard: Decoder,
        answered: Arc<AtomicU32>,
    }

    impl Carrier for Flood {
        fn name(&self) -> &'static str {
            "flood"
        }

        fn remote_address(&self) -> SocketAddr {
            SocketAddr::from(([192, 0, 2, 1], 1))
        }

        fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<Result<Received, Lost>> {
            self.asked += 1;
            let head = Head::Request { request_id: self.asked, opcode: Ping::INFO.opcode };
            Poll::Ready(Ok(Received::Lane(Lane::Control, 0, frame::encode(&head, &Ping {}))))
        }

        fn is_open(&self, _: Way) -> bool {
            true
        }

        fn poll_send(&mut self, _: &mut Context<'_>, _: Way, bytes: &mut Bytes) -> Poll<Result<(), Lost>> {
            self.heard.extend(&std::mem::take(bytes));
            while let Ok(Some(_)) = self.heard.next_frame() {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut Context<'_>, _: Close) -> Poll<()> {
            Poll::Ready(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_pings_without_end_is_read_no_faster_than_the_allowance() {
        let shared = Arc::new(Shared::empty(Timestamp(1)));
        let answered = Arc::new(AtomicU32::new(0));
        let flood = Flood { asked: 0, heard: Decoder::new(1024), answered: answered.clone() };
        let (_drain, draining) = watch::channel(false);
        let per_second = shared.session.free_requests_per_second;
        let seconds = shared.session.greeting_timeout.as_secs() as u32;
        drive(flood, shared, Arc::new(services::routes()), draining).await;
        let answered = answered.load(Ordering::Relaxed);
        // The burst, what came in by and by until the greeting was over, and the one that goes into debt.
        let allowed = per_second * (2 + seconds);
        assert!((allowed - 5..=allowed + 1).contains(&answered), "{answered} of {allowed}");
    }
}
