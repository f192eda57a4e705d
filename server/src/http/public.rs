//! The public listener: upgrades to the WebSocket carrier, over TLS if it is to.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use quail_protocol::version::{WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinSet,
    time::timeout_at,
};
use tokio_rustls::TlsAcceptor;

use super::{Listener, forwarded};
use crate::{
    addresses::{Counted, Proof},
    carrier::websocket::{Config, Ws, allows, bounded},
    connections::{Connections, Place},
    context::Shared,
};

/// What an upgrade needs.
#[derive(Clone)]
pub struct Door {
    /// The carrier's configuration.
    pub config: Arc<Config>,
    /// The TLS that connections begin with, if any.
    pub tls: Option<TlsAcceptor>,
    /// Pages of this machine may connect.
    pub development: bool,
    /// How long a connection may take to say what it wants, TLS included.
    pub request_timeout: Duration,
    /// Where connections live.
    pub connections: Connections,
    /// The server.
    pub shared: Arc<Shared>,
}

/// A connection that has not said yet what it wants.
#[derive(Clone)]
struct Arrival {
    remote: SocketAddr,
    /// Taken by the request that upgrades.
    place: Arc<Mutex<Option<Place>>>,
}

/// How long to wait when the system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

impl Door {
    /// A place for whoever connects, counted for their address unless it is a proxy's.
    fn place(&self, remote: SocketAddr) -> Option<Place> {
        let from = remote.ip().to_canonical();
        let proxy = self.config.trusted_proxies.iter().any(|network| network.contains(&from));
        let counted = if proxy { None } else { Some(self.admit(from)?) };
        let place = self.connections.place("websocket", self.config.connections_max)?;
        Some(match counted {
            Some(counted) => place.of(counted),
            None => place,
        })
    }

    fn admit(&self, address: IpAddr) -> Option<Counted> {
        let Shared { addresses, clock, metrics, .. } = &*self.shared;
        let counted = addresses.admit(address, Proof::Shown, clock.now());
        counted.map_err(|limit| metrics.connection_refused("websocket", limit.name())).ok()
    }
}

/// Takes connections in until `draining`. Each has its place from the first byte, one request, and a deadline for it.
pub async fn serve<L: Listener>(mut listener: L, door: Door, draining: watch::Receiver<bool>) {
    let mut serving = JoinSet::new();
    let mut draining = pin!(super::until(draining));
    loop {
        while serving.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, remote)) => {
                let Some(place) = door.place(remote) else { continue };
                let arrival = Arrival { remote, place: Arc::new(Mutex::new(Some(place))) };
                serving.spawn(greet(tcp, door.clone(), arrival));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Agrees on TLS, if there is to be any, and answers.
async fn greet<S>(tcp: S, door: Door, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let deadline = door.shared.clock.now() + door.request_timeout;
    let Some(tls) = door.tls.clone() else { return answer(tcp, door, arrival, deadline).await };
    match timeout_at(deadline.into(), tls.accept(tcp)).await {
        Ok(Ok(stream)) => answer(stream, door, arrival, deadline).await,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            door.shared.metrics.connection_refused("websocket", "tls_failed");
        }
        Err(_elapsed) => {
            tracing::debug!("TLS handshake timed out");
            door.shared.metrics.connection_refused("websocket", "tls_timeout");
        }
    }
}

/// Answers one request, which is there by `deadline`. An upgraded connection goes on in a task of its own.
async fn answer<S>(stream: S, door: Door, arrival: Arrival, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timeout = deadline.saturating_duration_since(door.shared.clock.now());
    let routes = Router::new()
        .route(WEBSOCKET_PATH, get(upgrade))
        .layer(Extension(arrival))
        .layer(map_response(close_unless_upgraded))
        .with_state(door);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request came to nothing");
    }
}

/// A connection is for one request, or its place would be held by whoever asks no more.
async fn close_unless_upgraded(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn upgrade(
    State(door): State<Door>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("unreadable"));
    if !allows(&door.config, door.development, origin) {
        return (StatusCode::FORBIDDEN, "this origin may not connect\n").into_response();
    }
    let upgrade = bounded(upgrade, &door.config);
    if upgrade.selected_protocol().is_none_or(|protocol| protocol != WEBSOCKET_SUBPROTOCOL) {
        let text = format!("the subprotocol {WEBSOCKET_SUBPROTOCOL} is required\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let place = arrival.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut place) = place else { return StatusCode::CONFLICT.into_response() };
    let mut remote = arrival.remote;
    if let Some(client) = forwarded::client(remote.ip(), &headers, &door.config.trusted_proxies) {
        let Some(counted) = door.admit(client) else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
        place = place.of(counted);
        remote = SocketAddr::new(client, 0);
    }
    upgrade.on_upgrade(move |socket| async move {
        place.drive(Ws::new(socket, remote)).await;
    })
}
