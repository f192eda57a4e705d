//! Clients of the server under load: how they reach it, who they are, and the bare connections they are held against.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use quail_client::{Builder, CarrierKind, Client, Reconnect, Trust};
use quail_protocol::version::ALPN;
use quail_server::{
    apps::{self, Secret},
    carrier::quic::make_room,
    domain::token::Claims,
};
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, TcpStream};

/// The app of every user.
pub(crate) const APP: &str = "load";
/// The id of its key.
pub(crate) const KEY: &str = "main";
/// Its secret.
pub(crate) const SECRET: &str = "a secret of thirty-two bytes or so";

/// Bytes that a client grants on a stream.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// After which silence a bare connection is lost. It says after a third of it that it is there.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// Connections that a client process opens at a time.
pub(crate) const OPENING: usize = 32;

/// A server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Its UDP address.
    pub(crate) quic: SocketAddr,
    /// Its certificate.
    pub(crate) certificate: PathBuf,
}

/// Users of one client process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Crowd<T = Target> {
    /// Their server.
    pub(crate) target: T,
    /// The number of the first.
    pub(crate) first: u32,
    /// How many.
    pub(crate) users: u32,
    /// How many share a socket.
    pub(crate) per_socket: u32,
}

/// The name of user `number`.
pub(crate) fn user(number: u32) -> String {
    format!("user-{number:07}")
}

/// A socket for several clients.
pub(crate) fn socket() -> anyhow::Result<Endpoint> {
    socket_of(Ipv4Addr::LOCALHOST)
}

/// The same with an address of its own, by which a server counts connections.
pub(crate) fn socket_apart(number: u32) -> anyhow::Result<Endpoint> {
    socket_of(address_apart(number))
}

/// An address of this machine for this number and no other: everything in 127.0.0.0/8 is.
pub(crate) fn address_apart(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

fn socket_of(address: Ipv4Addr) -> anyhow::Result<Endpoint> {
    let socket = UdpSocket::bind((address, 0)).context("a socket")?;
    make_room(&socket);
    let runtime = quinn::default_runtime().context("no runtime")?;
    Ok(Endpoint::new(EndpointConfig::default(), None, socket, runtime)?)
}

/// A TCP connection from such an address.
pub(crate) async fn tcp_apart(number: u32, server: String) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((address_apart(number), 0).into())?;
    let stream = socket.connect(server.parse().map_err(std::io::Error::other)?).await?;
    // Frames are gathered before they are written; waiting for more would only delay them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl<T: Clone> Crowd<T> {
    /// Splits `users` among `processes`, pairs kept together.
    pub(crate) fn split(target: &T, users: u32, processes: u32, per_socket: u32) -> Vec<Self> {
        let pairs = users.div_ceil(2);
        let share = |process: u32| (u64::from(pairs) * u64::from(process) / u64::from(processes)) as u32 * 2;
        let crowd = |process| {
            let (first, behind) = (share(process), share(process + 1));
            Self { target: target.clone(), first, users: behind - first, per_socket }
        };
        (0..processes).map(crowd).filter(|crowd| crowd.users > 0).collect()
    }

    /// As many sockets as its users need.
    pub(crate) fn sockets(&self) -> anyhow::Result<Vec<Endpoint>> {
        (0..self.users.div_ceil(self.per_socket)).map(|_| socket()).collect()
    }
}

impl Crowd {
    /// The address of this machine that the user at `index` has together with all who share their socket, and with nobody
    /// else: a server counts connections by address.
    pub(crate) fn address(&self, index: u32) -> Ipv4Addr {
        address_apart((self.first + index) / self.per_socket)
    }

    /// As many sockets as its users need, each with its own address.
    pub(crate) fn sockets_apart(&self) -> anyhow::Result<Vec<Endpoint>> {
        let firsts = (0..self.users).step_by(self.per_socket as usize);
        firsts.map(|index| socket_of(self.address(index))).collect()
    }

    /// A client of the user at `index` of this crowd, who is not connected yet.
    pub(crate) fn client(&self, index: u32, trust: &Trust, sockets: &[Endpoint]) -> anyhow::Result<Builder> {
        let user = user(self.first + index);
        let socket = sockets.get((index / self.per_socket) as usize).context("a socket for everyone")?;
        Ok(Client::builder(self.target.quic.to_string())
            .app(APP)
            .token(token(&user)?)
            .user(user)
            .trust(trust.clone())
            .endpoint(socket.clone())
            .connect_timeout(Duration::from_secs(20))
            .reconnect(Reconnect::off()))
    }
}

/// One user by name, over any carrier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visitor {
    /// The user.
    pub(crate) user: String,
    /// Their server's UDP address.
    pub(crate) quic: SocketAddr,
    /// SHA-256 of its certificate.
    pub(crate) fingerprint: [u8; 32],
    /// Its URL, `ws://…` or `wss://…`, if they come over a WebSocket.
    pub(crate) websocket: Option<String>,
}

impl Visitor {
    /// A client who is not connected yet.
    pub(crate) fn builder(&self) -> anyhow::Result<Builder> {
        let carrier = match &self.websocket {
            None => CarrierKind::Quic,
            Some(url) => CarrierKind::WebSocket { url: url.clone() },
        };
        Ok(Client::builder(self.quic.to_string())
            .app(APP)
            .token(token(&self.user)?)
            .user(&self.user)
            .trust(Trust::Fingerprint(self.fingerprint))
            .carrier(carrier)
            .reconnect(Reconnect::off()))
    }
}

/// A login token that holds for an hour.
pub(crate) fn token(user: &str) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = Claims {
        sub: Some(user.into()),
        aud: Some(APP.into()),
        iat: Some(now),
        exp: Some(now + 3600),
        nbf: None,
    };
    Ok(apps::sign(KEY, &Secret::new(SECRET), &claims)?)
}

/// TLS as every client here has it: one version, one cipher, no handshake made shorter by an earlier one.
pub(crate) fn tls(trusted: CertificateDer<'static>) -> anyhow::Result<rustls::ClientConfig> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

impl Target {
    /// Believes its certificate.
    pub(crate) fn trust(&self) -> anyhow::Result<Trust> {
        Ok(Trust::Roots(vec![self.read_certificate()?]))
    }

    fn read_certificate(&self) -> anyhow::Result<CertificateDer<'static>> {
        Ok(CertificateDer::from(std::fs::read(&self.certificate).context("the certificate")?))
    }

    /// What a bare connection to it is made with: ciphers, windows and silence as the client of Quail has them.
    pub(crate) fn bare(&self) -> anyhow::Result<ClientConfig> {
        self.bare_with(STREAM_WINDOW_BYTES, IDLE)
    }

    /// The same with another window of its streams, and after another silence lost.
    pub(crate) fn bare_with(&self, stream_window_bytes: u32, idle: Duration) -> anyhow::Result<ClientConfig> {
        let mut tls = tls(self.read_certificate()?)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.minimum_change(127);
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(stream_window_bytes))
            .receive_window(VarInt::from_u32(stream_window_bytes.saturating_mul(6)))
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .mtu_discovery_config(Some(discovery))
            .max_idle_timeout(Some(IdleTimeout::try_from(idle)?))
            .keep_alive_interval(Some(idle / 3));
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_in_one_crowd_together_with_their_partner() {
        let target = Target { quic: (Ipv4Addr::LOCALHOST, 1).into(), certificate: PathBuf::new() };
        for (users, processes) in [(256, 2), (2, 4), (10, 3), (7, 2), (0, 2)] {
            let crowds = Crowd::split(&target, users, processes, 64);
            let mut next = 0;
            for crowd in &crowds {
                assert_eq!((crowd.first, crowd.users % 2), (next, 0));
                next += crowd.users;
            }
            assert_eq!(next, users.next_multiple_of(2));
        }
    }
}
