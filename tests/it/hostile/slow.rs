//! Those who take their time, or all of it.

use std::{net::SocketAddr, time::Duration};

use quail_protocol::{
    Close, Conversation, Lane, Operation, Seq,
    frame::{self, Head},
    id::UserId,
    message::History,
    session::Login,
    version::ALPN,
};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, client_config, close_of, login, narrow_tcp, websocket_over},
    within,
};
use quinn::VarInt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::beside;

#[tokio::test]
async fn whoever_reads_nothing_is_closed_as_slow() {
    let town = Town::with(|config| {
        config.session.write_timeout = Duration::from_millis(300);
        config.session.grace = Duration::ZERO;
    })
    .await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let before = town.population().await;
    let to = alice.peer("deaf").unwrap();
    for carrier in Carrier::ALL {
        let _deaf = deaf(&town, carrier).await;
        let closed = town.slow_closes().await;
        let flood = async {
            loop {
                to.send("x".repeat(30_000)).await.unwrap();
                // A datagram that is taken is no byte of a lane that is.
                _ = to.typing();
            }
        };
        let noticed = async { while town.slow_closes().await == closed {} };
        tokio::select! {
            () = within(noticed) => {}
            () = flood => {}
        }
        town.settles(&before).await;
    }
}

/// A session of the user `deaf` that takes next to nothing without reading, and reads no more.
async fn deaf(town: &Town, carrier: Carrier) -> Raw {
    let mut deaf = match carrier {
        Carrier::Quic => Raw::connect(town, carrier).await,
        Carrier::WebSocket => Raw::over(websocket_over(narrow_tcp(town).await, &[]).await.unwrap()),
    };
    deaf.request(1, &login(FAST, "deaf")).await;
    deaf.reply(1).await.unwrap();
    if carrier == Carrier::Quic {
        deaf.connection().set_receive_window(VarInt::from_u32(1024));
    }
    deaf
}

#[tokio::test]
async fn whoever_sends_no_request_on_the_websocket_port_is_dropped_and_counts_until_then() {
    let town = Town::with(|config| {
        config.session.greeting_timeout = Duration::from_millis(300);
        config.websocket.connections_max = 3;
    })
    .await;
    let address = town.websocket.trim_start_matches("ws://").trim_end_matches("/ws");
    let silent = TcpStream::connect(address).await.unwrap();
    let mut trickling = TcpStream::connect(address).await.unwrap();
    trickling.write_all(b"GET /ws HTTP/1.1\r\nHost: here\r\n").await.unwrap();
    let mut served = TcpStream::connect(address).await.unwrap();
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut heard = vec![];
    // A reset says the same as an end.
    _ = within(refused.read_to_end(&mut heard)).await;
    assert!(heard.is_empty(), "the fourth of three");
    served.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    _ = within(served.read_to_end(&mut heard)).await;
    assert!(heard.starts_with(b"HTTP/1.1 404"), "one request and the end");
    for mut stranger in [silent, trickling] {
        _ = within(stranger.read_to_end(&mut vec![])).await;
    }
    let (_alice, _events) = town.connect(Carrier::WebSocket, "alice").await;
}

/// The first packets of so many handshakes, each of another connection.
async fn first_packets(town: &Town, count: usize) -> Vec<Vec<u8>> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let deaf = UdpSocket::bind(anywhere).await.unwrap();
    let endpoint = quinn::Endpoint::client(anywhere).unwrap();
    let mut packets = vec![];
    for _ in 0..count {
        let config = client_config(town.certificate.clone(), ALPN);
        let _connecting = endpoint.connect_with(config, deaf.local_addr().unwrap(), "localhost").unwrap();
        let mut packet = vec![0; 2048];
        let length = within(deaf.recv(&mut packet)).await.unwrap();
        packet.truncate(length);
        packets.push(packet);
    }
    packets
}

#[tokio::test]
async fn handshakes_that_are_only_begun_hold_no_place_and_keep_nobody_out() {
    let town = Town::with(|config| {
        config.quic.handshake_timeout = Duration::from_millis(300);
        config.quic.handshakes_max = 50;
        config.quic.retry_above = 30;
    })
    .await;
    let before = town.population().await;
    beside(&town, async || {
        let silent = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        silent.connect(town.quic).await.unwrap();
        for packet in first_packets(&town, 60).await {
            silent.send(&packet).await.unwrap();
        }
    })
    .await;
    assert!(town.metric("quail_addresses_asked_total").await > 0);
    town.settles(&before).await;
}

#[tokio::test]
async fn a_client_that_has_not_shown_its_address_is_sent_at_most_three_times_what_it_sent() {
    for retry_above in [0, 1000] {
        let town = Town::with(|config| {
            config.quic.retry_above = retry_above;
            config.quic.handshake_timeout = Duration::from_millis(500);
        })
        .await;
        let silent = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        silent.connect(town.quic).await.unwrap();
        let (mut sent, mut heard) = (0, 0);
        for packet in first_packets(&town, 10).await {
            sent += silent.send(&packet).await.unwrap();
        }
        let mut buffer = [0; 2048];
        // The server sends again and again until it gives the handshakes up.
        let given_up = async {
            town.settles(&[]).await;
        };
        tokio::pin!(given_up);
        heard += within(silent.recv(&mut buffer)).await.unwrap();
        loop {
            tokio::select! {
                length = silent.recv(&mut buffer) => heard += length.unwrap(),
                () = &mut given_up => break,
            }
        }
        assert!(heard > 0 && heard <= 3 * sent, "{heard} for {sent} with retry above {retry_above}");
    }
}

#[tokio::test]
async fn connections_to_the_websocket_port_that_say_little_hold_no_place_and_keep_nobody_out() {
    let town = Town::with(|config| config.session.greeting_timeout = Duration::from_millis(500)).await;
    let before = town.population().await;
    beside(&town, async || {
        let mut strangers = vec![];
        for number in 0..100usize {
            let mut tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
            // One says nothing, the next a byte, and so on.
            let said = &b"GET /ws HTTP/1.1\r\nHost: here\r\n"[..number % 30];
            tcp.write_all(said).await.unwrap();
            strangers.push(tcp);
        }
        for mut stranger in strangers {
            _ = within(stranger.read_to_end(&mut vec![])).await;
        }
    })
    .await;
    town.settles(&before).await;
}

#[tokio::test]
async fn a_login_that_comes_byte_by_byte_is_over_with_the_greeting() {
    let town = Town::with(|config| config.session.greeting_timeout = Duration::from_millis(300)).await;
    let before = town.population().await;
    let whole =
        frame::encode(&Head::Request { request_id: 1, opcode: Login::INFO.opcode }, &login(FAST, "eve"));
    beside(&town, async || {
        let mut raw = Raw::connect(&town, Carrier::Quic).await;
        let connection = raw.connection().clone();
        let trickle = async {
            // All but the last, one with each answer of the server to something else.
            for byte in &whole[..whole.len() - 1] {
                raw.send(&[*byte]).await;
                town.metrics().await;
            }
        };
        let (close, ()) = futures_util::future::join(within(connection.closed()), trickle).await;
        assert_eq!(close_of(&close), Close::GreetingTimeout);
    })
    .await;
    town.settles(&before).await;
}

#[tokio::test]
async fn whoever_asks_and_never_reads_the_answers_is_closed_as_slow_and_holds_a_bounded_lot() {
    let town = Town::with(|config| {
        config.session.write_timeout = Duration::from_millis(500);
        config.session.grace = Duration::ZERO;
    })
    .await;
    let before = town.population().await;
    let (alice, events) = town.connect(Carrier::Quic, "alice").await;
    for _ in 0..6 {
        alice.peer("deaf").unwrap().send("x".repeat(30_000)).await.unwrap();
    }
    let page = History {
        conversation: Conversation::Peer(UserId::new("alice").unwrap()),
        from: Seq(1),
        to: Seq(u64::MAX),
        limit: 100,
        direction: Default::default(),
    };
    beside(&town, async || {
        for carrier in Carrier::ALL {
            let mut deaf = deaf(&town, carrier).await;
            let closed = town.slow_closes().await;
            let asking = async {
                for request_id in 2..200 {
                    deaf.request(request_id, &page).await;
                }
                std::future::pending::<()>().await;
            };
            let noticed = async { while town.slow_closes().await == closed {} };
            tokio::select! {
                () = asking => {}
                () = within(noticed) => {}
            }
        }
    })
    .await;
    within(alice.close()).await;
    drop(events);
    town.settles(&before).await;
}

trait Closes {
    /// How many connections were closed as slow.
    async fn slow_closes(&self) -> String;
}

impl Closes for Town {
    async fn slow_closes(&self) -> String {
        let text = self.metrics().await;
        text.lines().find(|line| line.contains("reason=\"Slow\"")).unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn half_a_frame_on_a_lane_keeps_the_others_going() {
    let town = Town::new().await;
    let mut raw = Raw::log_in(&town, Carrier::Quic, FAST, "alice").await;
    let (mut send, _receive) = raw.connection().open_bi().await.unwrap();
    send.write_all(&[Lane::Low.tag(), 0x40, 0x00]).await.unwrap();
    for request_id in 2..50 {
        raw.send(&super::ping(request_id)).await;
        assert!(raw.reply(request_id).await.is_ok());
    }
}
