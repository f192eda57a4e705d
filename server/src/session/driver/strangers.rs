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

    /// Charges the connection for what it asked for that drew from no bucket.
    pub(super) fn charge(&mut self) -> ControlFlow<End> {
        match self.context.session.take_free() {
            0 => ControlFlow::Continue(()),
            count => self.input(Input::Free(count)),
        }
    }

    /// Ends a connection that begins more frames than it finishes: together they may take one of the largest size for
    /// each lane. Asked when every whole frame was served.
    pub(super) fn check_begun_frames(&self) -> ControlFlow<End> {
        let largest = if self.greeted { FRAME_BYTES_MAX } else { GREETING_FRAME_BYTES_MAX };
        let begun: usize = self.decoders.iter().map(|decoder| decoder.buffered()).sum();
        if begun > Lane::COUNT * (LENGTH_BYTES_MAX + largest) {
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
