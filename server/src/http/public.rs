//! The public listener: upgrades to the WebSocket carrier.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use quail_protocol::version::{WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};

use crate::{
    carrier::websocket::{Config, Ws, allows, bounded},
    connections::Connections,
};

/// What an upgrade needs.
#[derive(Clone)]
pub struct Door {
    /// The carrier's configuration.
    pub config: Arc<Config>,
    /// Pages of this machine may connect.
    pub development: bool,
    /// Where connections live.
    pub connections: Connections,
}

/// `/ws`.
pub fn routes(door: Door) -> Router {
    Router::new().route(WEBSOCKET_PATH, get(upgrade)).with_state(door)
}

async fn upgrade(
    State(door): State<Door>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
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
    let Some(place) = door.connections.place("websocket", door.config.connections_max) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections\n").into_response();
    };
    upgrade.on_upgrade(move |socket| async move {
        place.drive(Ws::new(socket, remote)).await;
    })
}
