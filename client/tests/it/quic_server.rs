//! A fake server over QUIC.

use std::{net::SocketAddr, sync::Arc};

use quail_client::protocol::{Lane, frame::Decoder, limits::FRAME_BYTES_MAX, version::ALPN};
use quinn::{
    Connection, ConnectionError, Endpoint, RecvStream, SendStream, ServerConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;

use crate::fake::{Act, Fake, Seen};

pub(crate) struct QuicServer {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    /// The lane of each stream in the order in which the streams were opened.
    pub(crate) opened: mpsc::UnboundedReceiver<Lane>,
    /// How each connection ended.
    pub(crate) ended: mpsc::UnboundedReceiver<ConnectionError>,
}

impl QuicServer {
    pub(crate) fn start() -> Self {
        Self::with(ALPN, Lane::COUNT as u32)
    }

    /// A server of the protocol `alpn` that grants `streams` streams.
    pub(crate) fn with(alpn: &[u8], streams: u32) -> Self {
        let (tls, certificate) = tls(alpn);
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let transport = Arc::get_mut(&mut config.transport).unwrap();
        // A small window makes large requests go out in pieces.
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(streams))
            .stream_receive_window(VarInt::from_u32(2048));
        let endpoint = Endpoint::server(config, (std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let (fake, seen) = Fake::new();
        let (opened_sender, opened) = mpsc::unbounded_channel();
        let (ended_sender, ended) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else { continue };
                let connection_task = serve(connection, fake.clone(), opened_sender.clone());
                let ended = ended_sender.clone();
                tokio::spawn(async move { ended.send(connection_task.await).ok() });
            }
        });
        Self { address, certificate, seen, opened, ended }
    }
}

/// The TLS of a server named `localhost` with a certificate of its own.
pub(crate) fn tls(alpn: &[u8]) -> (rustls::ServerConfig, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    (tls, certificate)
}

async fn serve(connection: Connection, fake: Fake, opened: mpsc::UnboundedSender<Lane>) -> ConnectionError {
    loop {
        let (send, mut receive) = match connection.accept_bi().await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let mut tag = [0];
        if receive.read_exact(&mut tag).await.is_err() {
            continue;
        }
        let lane = Lane::from_tag(tag[0]).unwrap();
        opened.send(lane).ok();
        tokio::spawn(serve_lane(connection.clone(), lane, send, receive, fake.clone()));
    }
}

async fn serve_lane(
    connection: Connection,
    lane: Lane,
    mut send: SendStream,
    mut receive: RecvStream,
    fake: Fake,
) {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
        decoder.extend(&chunk.bytes);
        while let Some(frame) = decoder.next_frame().unwrap() {
            for act in fake.serve(lane, frame) {
                match act {
                    Act::Write(bytes) => drop(send.write_chunk(bytes).await),
                    Act::Close(close) => connection.close(VarInt::from_u32(close.number().into()), b""),
                }
            }
        }
    }
}
