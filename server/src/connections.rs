//! The connections of a server: how many there are, and that each is driven to its end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{mpsc, watch};

use crate::{carrier::Carrier, context::Shared, router::Router, session::driver::drive};

/// Admits connections and drives them.
#[derive(Clone)]
pub struct Connections {
    shared: Arc<Shared>,
    router: Arc<Router>,
    draining: watch::Receiver<bool>,
    /// Held by every connection; closed when the last is gone.
    alive: mpsc::WeakSender<()>,
    quic: Arc<AtomicUsize>,
    websocket: Arc<AtomicUsize>,
}

/// The right to one connection, given back when dropped.
pub struct Place {
    connections: Connections,
    count: Arc<AtomicUsize>,
    _alive: mpsc::Sender<()>,
}

impl Connections {
    /// None yet. `alive` is upgraded for every connection, so its receiver ends with the last of them.
    pub fn new(
        shared: Arc<Shared>,
        router: Arc<Router>,
        draining: watch::Receiver<bool>,
        alive: &mpsc::Sender<()>,
    ) -> Self {
        Self {
            shared,
            router,
            draining,
            alive: alive.downgrade(),
            quic: Arc::default(),
            websocket: Arc::default(),
        }
    }

    /// Takes a place among at most `max` of a carrier; `None` if there is none or the server goes away.
    pub fn place(&self, carrier: &'static str, max: usize) -> Option<Place> {
        let count = if carrier == "quic" { &self.quic } else { &self.websocket };
        let alive = self.alive.upgrade().filter(|_| !*self.draining.borrow());
        let taken = alive.and_then(|alive| {
            count
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < max).then_some(now + 1))
                .ok()
                .map(|_| Place { connections: self.clone(), count: count.clone(), _alive: alive })
        });
        if taken.is_none() {
            self.shared.metrics.connection_refused(carrier);
        }
        taken
    }
}

impl Place {
    /// Drives a connection to its end.
    pub async fn drive(self, carrier: impl Carrier) {
        let Connections { shared, router, draining, .. } = self.connections.clone();
        drive(carrier, shared, router, draining).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}
