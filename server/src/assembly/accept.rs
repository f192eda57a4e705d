//! Who gets in over QUIC: asked before any cryptography.

use std::sync::Arc;

use quail_protocol::Close;
use quinn::{Endpoint, Incoming, VarInt};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{
    addresses::Proof,
    carrier::quic::{Config, Quic},
    connections::{Connections, Place},
    context::Shared,
};

/// What is to be done about somebody who knocks.
enum Answer {
    /// Begin the handshake.
    Enter(Place, OwnedSemaphorePermit),
    /// Let them prove their address first.
    Ask,
    /// Turn them away.
    Refuse,
}

/// Takes QUIC connections in until the endpoint closes.
pub(super) async fn accept(
    endpoint: Endpoint,
    config: Config,
    connections: Connections,
    shared: Arc<Shared>,
) {
    let mut driving = JoinSet::new();
    let config = Arc::new(config);
    let handshaking = Arc::new(Semaphore::new(config.handshakes_max));
    while let Some(incoming) = endpoint.accept().await {
        while driving.try_join_next().is_some() {}
        match answer(&incoming, &config, &connections, &handshaking, &shared) {
            Answer::Enter(place, handshake) => {
                driving.spawn(greet(incoming, place, handshake, config.clone()));
            }
            Answer::Ask => {
                shared.metrics.address_asked();
                // Refused only where a retry is not allowed, which was asked.
                _ = incoming.retry();
            }
            Answer::Refuse => incoming.refuse(),
        }
    }
}

fn answer(
    incoming: &Incoming,
    config: &Config,
    connections: &Connections,
    handshaking: &Arc<Semaphore>,
    shared: &Shared,
) -> Answer {
    let may_ask = incoming.may_retry() && !incoming.remote_address_validated();
    let in_flight = config.handshakes_max.saturating_sub(handshaking.available_permits());
    if may_ask && in_flight >= config.retry_above {
        return Answer::Ask;
    }
    let proof = if incoming.remote_address_validated() { Proof::Shown } else { Proof::Claimed };
    let address = incoming.remote_address().ip();
    let refuse = |reason| {
        shared.metrics.connection_refused("quic", reason);
        Answer::Refuse
    };
    let counted = match shared.addresses.admit(address, proof, shared.clock.now()) {
        Ok(counted) => counted,
        // It may be somebody else who writes this address on their packets.
        Err(_) if may_ask => return Answer::Ask,
        Err(limit) => return refuse(limit.name()),
    };
    let Ok(handshake) = handshaking.clone().try_acquire_owned() else { return refuse("handshakes") };
    match connections.place("quic", config.connections_max) {
        Some(place) => Answer::Enter(place.of(counted), handshake),
        None => Answer::Refuse,
    }
}

async fn greet(incoming: Incoming, mut place: Place, handshake: OwnedSemaphorePermit, config: Arc<Config>) {
    let Ok(connecting) = incoming.accept() else { return };
    match tokio::time::timeout(config.handshake_timeout, connecting).await {
        Ok(Ok(connection)) => {
            drop(handshake);
            if place.show_address() {
                place.drive(Quic::new(connection, &config)).await;
            } else {
                connection.close(VarInt::from_u32(Close::Overloaded.number().into()), b"");
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
        Err(_elapsed) => tracing::debug!("handshake timed out"),
    }
}
