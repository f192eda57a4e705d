//! What a server is left with after an attack, seen from outside of its process.

use std::{fs, path::Path};

use futures_util::future::join_all;
use quail_protocol::{Lane, Opcode, limits::GREETING_FRAME_BYTES_MAX, version::ALPN};
use quail_tests::{process::Process, raw::quic_at, within};
use rustls::pki_types::CertificateDer;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::request;
use crate::process::QUAIL;

/// Resident memory of a process, in KiB.
fn resident(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Connections that begin a frame on every stream, and TCP connections that begin a request; all at once.
async fn attack(process: &Process, certificate: &CertificateDer<'static>) {
    let begun = request(1, Opcode(0xffff), &vec![0; GREETING_FRAME_BYTES_MAX - 10]);
    let over_quic = (0..50).map(async |_| {
        let Ok((_endpoint, connection)) = quic_at(process.quic, certificate.clone(), ALPN).await else {
            return;
        };
        let mut streams = vec![];
        for lane in Lane::ALL.into_iter().cycle().take(20) {
            let Ok((mut send, receive)) = connection.open_bi().await else { break };
            _ = send.write_all(&[lane.tag()]).await;
            _ = send.write_all(&begun[..begun.len() - 1]).await;
            streams.push((send, receive));
        }
        within(connection.closed()).await;
    });
    let over_tcp = (0..100).map(async |_| {
        let mut tcp = TcpStream::connect(process.websocket).await.unwrap();
        _ = tcp.write_all(&[b'x'; 20_000]).await;
    });
    futures_util::future::join(join_all(over_quic), join_all(over_tcp)).await;
}

#[tokio::test]
async fn a_process_that_was_attacked_again_and_again_keeps_no_memory_of_it() {
    const MEBIBYTE: u64 = 1024;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let process = Process::start(Path::new(QUAIL), &data);
    let certificate = CertificateDer::from(fs::read(data.join("certificate.der")).unwrap());
    let before = resident(&process);
    attack(&process, &certificate).await;
    let once = resident(&process);
    for _ in 0..10 {
        attack(&process, &certificate).await;
    }
    let after = resident(&process);
    assert!(once < before + 150 * MEBIBYTE, "{before} KiB before, {once} after one attack");
    assert!(
        after < once + 50 * MEBIBYTE,
        "{before} KiB before, {once} after one attack, {after} after ten more"
    );
    let (alice, _events) = within(process.client("alice").connect()).await.unwrap();
    assert!(alice.call(quail_protocol::session::Ping {}).await.is_ok());
}
