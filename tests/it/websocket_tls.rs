//! WebSockets over TLS: who gets in, and who is dropped before anything was said.

use std::{io, sync::Arc, time::Duration};

use bytesize::ByteSize;
use quail_client::{CarrierKind, ConnectError, Priority, Trust};
use quail_server::config::Config;
use quail_tests::{Carrier, Town, next_message, raw::tls_config, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

async fn town() -> Town {
    Town::with(|config| config.websocket.tls = true).await
}

/// One that waits for nobody.
async fn hasty() -> Town {
    Town::with(|config| {
        config.websocket.tls = true;
        config.session.greeting_timeout = Duration::from_secs(1);
    })
    .await
}

/// The line of those who were turned away for this reason.
fn refused(reason: &str) -> String {
    format!("quail_connections_refused_total{{carrier=\"websocket\",reason=\"{reason}\"}}")
}

#[tokio::test]
async fn users_talk_over_tls_by_fingerprint_and_by_authority() {
    let town = town().await;
    assert!(town.websocket.starts_with("wss://"));
    let (alice, mut to_alice) = town.connect(Carrier::WebSocket, "alice").await;
    let by_authority =
        town.client(Carrier::WebSocket, "bob").trust(Trust::Roots(vec![town.certificate.clone()]));
    let (bob, mut to_bob) = within(by_authority.connect()).await.unwrap();
    let (carol, _to_carol) = town.connect(Carrier::Quic, "carol").await;
    // Longer than a record of TLS, than what the kernel takes, and than what TLS keeps back.
    let long = "x".repeat(30_000);
    for round in 0..20u64 {
        let (to, back) = (alice.peer("bob").unwrap(), bob.peer("alice").unwrap());
        let texts = (0..5).map(|_| to.send(long.as_str()));
        within(futures_util::future::try_join_all(texts)).await.unwrap();
        for seq in 6 * round + 1..=6 * round + 5 {
            assert_eq!(next_message(&mut to_bob).await.position.seq.0, seq);
        }
        let answered = within(back.send("got all")).await.unwrap();
        assert_eq!(next_message(&mut to_alice).await.position, answered.position);
    }
    within(carol.peer("alice").unwrap().send("over QUIC")).await.unwrap();
    assert_eq!(next_message(&mut to_alice).await.sender.as_str(), "carol");
}

#[tokio::test]
async fn what_is_urgent_overtakes_what_waits_with_tls_as_without() {
    for tls in [false, true] {
        let town = Town::with(|config| {
            config.websocket.tls = tls;
            config.session.outbox.lane_bytes = ByteSize::mib(16);
        })
        .await;
        let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
        // Reads no more than it must before the app asks for it.
        let slow = town.client(Carrier::WebSocket, "bob").event_capacity(1).tcp_with(|address| async move {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(address.parse().map_err(io::Error::other)?).await
        });
        let (_bob, mut to_bob) = within(slow.connect()).await.unwrap();
        let bob = alice.peer("bob").unwrap();
        let long = "x".repeat(30_000);
        let waiting = (0..80).map(|_| bob.message(long.as_str()).priority(Priority::Lowest).send());
        within(futures_util::future::try_join_all(waiting)).await.unwrap();
        within(bob.message("now").priority(Priority::High).send()).await.unwrap();
        let mut before = 0;
        while next_message(&mut to_bob).await.priority != Priority::High {
            before += 1;
        }
        assert!(before < 40, "{before} of 80 came first, with TLS: {tls}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_as_clearly_as_over_quic() {
    let town = town().await;
    for trust in [Trust::Fingerprint([7; 32]), Trust::WebRoots] {
        let mut told = vec![];
        for carrier in Carrier::ALL {
            let connected = within(town.client(carrier, "alice").trust(trust.clone()).connect()).await;
            match connected {
                Err(error @ ConnectError::Untrusted(_)) => told.push(error.to_string()),
                other => panic!("{carrier:?} by {trust:?}: {:?}", other.map(|_| ())),
            }
        }
        assert_eq!(told[0], told[1]);
        assert!(
            told[0].starts_with("the server's certificate was refused: invalid peer certificate"),
            "{told:?}"
        );
    }
    assert_eq!(town.counted(&refused("tls_failed")).await, "2");
}

#[tokio::test]
async fn whoever_never_finishes_tls_is_dropped_at_the_deadline_and_counted() {
    let town = hasty().await;
    let mut strangers = vec![];
    for number in 0..20usize {
        let mut tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
        // One says nothing, the next a byte of a record that announces 512, and so on.
        let said = &[&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 9]].concat()[..number];
        tcp.write_all(said).await.unwrap();
        strangers.push(tcp);
    }
    for mut stranger in strangers {
        assert_eq!(within(stranger.read_to_end(&mut vec![])).await.unwrap(), 0);
    }
    town.settles(&[]).await;
    assert_eq!(town.counted(&refused("tls_timeout")).await, "20");
}

#[tokio::test]
async fn whoever_has_not_finished_tls_counts_for_all_and_for_their_address() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 2] = [
        ("connections", |config| config.websocket.connections_max = 1),
        ("address_connections", |config| config.addresses.connections_max = 1),
    ];
    for (reason, change) in cases {
        let town = Town::with(|config| {
            config.websocket.tls = true;
            change(config);
        })
        .await;
        let silent = TcpStream::connect(town.websocket_address()).await.unwrap();
        assert!(within(town.client(Carrier::WebSocket, "alice").connect()).await.is_err());
        assert_eq!(town.counted(&refused(reason)).await, "1");
        drop(silent);
        town.settles(&[]).await;
        town.connect(Carrier::WebSocket, "alice").await;
    }
}

/// Agrees on TLS and on `protocol`.
async fn agree(town: &Town, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(tls_config(town.certificate.clone(), protocol)));
    let tcp = TcpStream::connect(town.websocket_address()).await?;
    within(connector.connect("localhost".try_into().unwrap(), tcp)).await
}

#[tokio::test]
async fn whoever_asks_for_nothing_after_tls_is_dropped_and_another_protocol_is_not_agreed_on() {
    let town = hasty().await;
    let mut silent = agree(&town, b"http/1.1").await.unwrap();
    _ = within(silent.read_to_end(&mut vec![])).await;
    town.settles(&[]).await;
    assert!(agree(&town, b"h2").await.is_err());
    assert_eq!(town.counted(&refused("tls_failed")).await, "1");
}

#[tokio::test]
async fn plain_http_on_a_port_of_tls_comes_to_nothing_and_is_counted() {
    let town = town().await;
    let plain = CarrierKind::WebSocket { url: town.websocket.replace("wss:", "ws:") };
    assert!(within(town.client(Carrier::WebSocket, "alice").carrier(plain).connect()).await.is_err());
    for said in [&b"GET /ws HTTP/1.1\r\nHost: here\r\n\r\n"[..], &[0; 4096], &[0x16; 70_000]] {
        let mut tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
        // The server may have had enough before all of it was sent.
        _ = tcp.write_all(said).await;
        _ = within(tcp.read_to_end(&mut vec![])).await;
    }
    town.settles(&[]).await;
    assert_eq!(town.counted(&refused("tls_failed")).await, "4");
    town.connect(Carrier::WebSocket, "alice").await;
}
