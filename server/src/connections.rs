//! The connections of a server: how many there are, and that each is driven to its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{mpsc, watch};

use crate::{addresses::Counted, carrier::Carrier, context::Shared, router::Router, session::driver::drive};

/// Admits connections and drives them.
#[derive(Clone)]
pub struct Connections {
    shared: Arc<Shared>,
    router: Arc<Router>,
    draining: Arc<Mutex<Draining>>,
    /// Held by every connection; closed when the last is gone.
    alive: mpsc::WeakSender<()>,
    quic: Arc<AtomicUsize>,
    websocket: Arc<AtomicUsize>,
}

/// The right to one connection, given back when dropped.
pub struct Place {
    connections: Connections,
    carrier: &'static str,
    count: Arc<AtomicUsize>,
    /// Counted for the client's address.
    counted: Option<Counted>,
    number: u64,
    draining: watch::Receiver<bool>,
    /// No connection yet.
    arriving: bool,
    _alive: mpsc::Sender<()>,
}

/// How each connection is told that the server goes away. One channel for all would wake them in any order, and a
/// simulation could not repeat itself.
#[derive(Default)]
struct Draining {
    begun: bool,
    next: u64,
    tell: BTreeMap<u64, watch::Sender<bool>>,
}

impl Connections {
    /// None yet. `alive` is upgraded for every connection, so its receiver ends with the last of them.
    pub fn new(shared: Arc<Shared>, router: Arc<Router>, alive: &mpsc::Sender<()>) -> Self {
        Self {
            shared,
            router,
            draining: Arc::default(),
            alive: alive.downgrade(),
            quic: Arc::default(),
            websocket: Arc::default(),
        }
    }

    /// Takes a place among at most `max` of a carrier; `None` if there is none or the server goes away.
    pub fn place(&self, carrier: &'static str, max: usize) -> Option<Place> {
        let count = if carrier == "quic" { &self.quic } else { &self.websocket };
        let Some(alive) = self.alive.upgrade().filter(|_| !self.draining().begun) else {
            self.shared.metrics.connection_refused(carrier, "stopping");
            return None;
        };
        let one_more = |now: usize| (now < max).then_some(now + 1);
        if count.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            self.shared.metrics.connection_refused(carrier, "connections");
            return None;
        }
        Some(self.enter(carrier, count.clone(), alive))
    }

    /// Gives out no more places, and tells the connections in the order in which they came.
    pub fn drain(&self) {
        let mut draining = self.draining();
        draining.begun = true;
        for tell in draining.tell.values() {
            tell.send_replace(true);
        }
    }

    fn enter(&self, carrier: &'static str, count: Arc<AtomicUsize>, alive: mpsc::Sender<()>) -> Place {
        self.shared.metrics.arriving_changed(carrier, 1);
        let mut all = self.draining();
        // Between the look and this the server may have begun to go away.
        let (tell, draining) = watch::channel(all.begun);
        let number = all.next;
        all.next += 1;
        all.tell.insert(number, tell);
        Place {
            connections: self.clone(),
            carrier,
            count,
            counted: None,
            number,
            draining,
            arriving: true,
            _alive: alive,
        }
    }

    fn draining(&self) -> MutexGuard<'_, Draining> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The same place, counted for the client's address.
    pub fn of(mut self, counted: Counted) -> Self {
        self.counted = Some(counted);
        self
    }

    /// The client's address was shown to be reachable. False if it has as many connections as it may.
    pub fn show_address(&mut self) -> bool {
        match self.counted.as_mut().map_or(Ok(()), Counted::show) {
            Ok(()) => true,
            Err(limit) => {
                self.connections.shared.metrics.connection_refused(self.carrier, limit.name());
                false
            }
        }
    }

    /// Drives a connection to its end.
    pub fn drive(mut self, carrier: impl Carrier) -> impl Future<Output = ()> + Send {
        self.arrived();
        let Connections { shared, router, .. } = self.connections.clone();
        // In a box: the future of a handshake, which is over by then, would make room for it once more.
        let driving = Box::pin(drive(carrier, shared, router, self.draining.clone()));
        async move {
            driving.await;
            drop(self);
        }
    }
}

impl Place {
    fn arrived(&mut self) {
        if std::mem::take(&mut self.arriving) {
            self.connections.shared.metrics.arriving_changed(self.carrier, -1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.arrived();
        self.connections.draining().tell.remove(&self.number);
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}
