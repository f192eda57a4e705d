//! What one client, one address and one app may take.

use quail_client::{Cause, ConnectError};
use quail_protocol::{Close, Code};
use quail_server::{apps::MultiLogin, config::Config};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, login, login_with, quic_offering, websocket_over},
    within,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;

#[tokio::test]
async fn connections_over_the_cap_are_refused_and_a_closed_one_makes_room() {
    let town = Town::with(|config| {
        config.quic.connections_max = 1;
        config.websocket.connections_max = 1;
    })
    .await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        assert!(within(town.client(carrier, "bob").connect()).await.is_err());
        within(alice.close()).await;
        // The server learns of the end when the client's close arrives.
        let _bob = loop {
            if let Ok(bob) = within(town.client(carrier, "bob").connect()).await {
                break bob;
            }
        };
    }
}

/// True if the server takes another connection in.
async fn gets_in(town: &Town, carrier: Carrier) -> Option<Raw> {
    match carrier {
        Carrier::Quic => {
            let (endpoint, connection) = quic_offering(town, quail_protocol::version::ALPN).await.ok()?;
            let control = connection.open_bi().await.ok()?;
            let decoder = quail_protocol::frame::Decoder::new(1024);
            Some(Raw::Quic { endpoint, connection, control, decoder })
        }
        Carrier::WebSocket => {
            let tcp = TcpStream::connect(town.websocket_address()).await.ok()?;
            websocket_over(tcp, &[]).await.ok().map(Raw::over)
        }
    }
}

async fn town_with_addresses(change: impl FnOnce(&mut quail_server::addresses::Config)) -> Town {
    Town::with(|config: &mut Config| change(&mut config.addresses)).await
}

#[tokio::test]
async fn an_address_has_so_many_connections_over_both_carriers_and_one_that_left_makes_room() {
    let town = town_with_addresses(|addresses| addresses.connections_max = 2).await;
    let first = gets_in(&town, Carrier::Quic).await.unwrap();
    let _second = gets_in(&town, Carrier::WebSocket).await.unwrap();
    for carrier in Carrier::ALL {
        assert!(gets_in(&town, carrier).await.is_none(), "a third over {carrier:?}");
    }
    for carrier in ["quic", "websocket"] {
        let line = format!(
            "quail_connections_refused_total{{carrier=\"{carrier}\",reason=\"address_connections\"}}"
        );
        assert_eq!(town.counted(&line).await, "1");
    }
    drop(first);
    for carrier in Carrier::ALL {
        // The server learns of the end when the client's close arrives.
        let third = async {
            loop {
                if let Some(raw) = gets_in(&town, carrier).await {
                    break raw;
                }
            }
        };
        drop(within(third).await);
    }
}

#[tokio::test]
async fn an_address_connects_only_so_often() {
    for carrier in Carrier::ALL {
        let town = town_with_addresses(|addresses| addresses.connections_per_second = 1).await;
        let mut refused = 0;
        for _ in 0..10 {
            refused += u32::from(gets_in(&town, carrier).await.is_none());
        }
        assert!(refused > 0, "{carrier:?}");
        let text = town.metrics().await;
        assert!(text.contains("reason=\"address_rate\"}"), "{carrier:?}: {text}");
        assert_eq!(town.metric("quail_addresses").await, 1);
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let connect = async |town: &Town, forwarded: &str| {
        let tcp = TcpStream::connect(town.websocket_address()).await.unwrap();
        websocket_over(tcp, &[("x-forwarded-for", forwarded)]).await
    };
    let town = Town::with(|config| {
        config.addresses.connections_max = 1;
        config.websocket.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let _one = connect(&town, "198.51.100.1").await.unwrap();
    let _other = connect(&town, "198.51.100.2").await.unwrap();
    for forwarded in ["198.51.100.1", "203.0.113.5, 198.51.100.2"] {
        let Err(tungstenite::Error::Http(refused)) = connect(&town, forwarded).await else {
            panic!("{forwarded} got in twice")
        };
        assert_eq!(refused.status(), 429);
    }
    assert_eq!(town.metric("quail_addresses").await, 2);

    let town = town_with_addresses(|addresses| addresses.connections_max = 1).await;
    let _one = connect(&town, "198.51.100.1").await.unwrap();
    assert!(connect(&town, "198.51.100.2").await.is_err(), "anybody can write a header");
}

#[tokio::test]
async fn an_app_has_so_many_sessions() {
    let town = Town::with(|config| config.apps.get_mut(FAST).unwrap().sessions_max = 2).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (_bob, _events) = town.connect(Carrier::WebSocket, "bob").await;
    let refused = within(town.client(Carrier::Quic, "carol").connect()).await;
    assert!(
        matches!(refused, Err(ConnectError::Failed(Cause::LoginRefused(reject))) if reject.code == Code::AppFull)
    );
    within(alice.close()).await;
    let (_carol, _events) = town.connect(Carrier::Quic, "carol").await;
}

#[tokio::test]
async fn a_full_app_lets_a_user_in_whose_other_session_gives_way() {
    let town = Town::with(|config| {
        let app = config.apps.get_mut(FAST).unwrap();
        (app.sessions_max, app.multi_login) = (1, MultiLogin::One);
    })
    .await;
    for _ in 0..3 {
        let (_alice, _events) = town.connect(Carrier::Quic, "alice").await;
        assert!(within(town.client(Carrier::Quic, "bob").connect()).await.is_err());
        assert_eq!(town.metric("quail_sessions").await, 1);
    }
}

#[tokio::test]
async fn an_address_with_too_many_refused_logins_is_closed_at_the_next() {
    for carrier in Carrier::ALL {
        let town = town_with_addresses(|addresses| addresses.refused_logins_per_second = 1).await;
        let mut closed_at_once = false;
        for _ in 0..10 {
            let mut raw = Raw::connect(&town, carrier).await;
            raw.request(1, &login_with(FAST, "eve", "nonsense".into())).await;
            assert_eq!(raw.refusal(1).await, Code::TokenMalformed);
            if town.metric("quail_logins_cut_short_total").await > 0 {
                assert_eq!(raw.closed().await, Close::LoginRefused);
                closed_at_once = true;
                break;
            }
        }
        assert!(closed_at_once, "{carrier:?}");
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &login(FAST, "alice")).await;
        assert!(raw.reply(1).await.is_ok(), "whoever has a good token gets in from there all the same");
    }
}

#[tokio::test]
async fn a_table_without_room_locks_nobody_out() {
    for carrier in Carrier::ALL {
        let town = town_with_addresses(|addresses| addresses.table_max = 0).await;
        let (_alice, _events) = town.connect(carrier, "alice").await;
        assert_eq!(town.metric("quail_addresses_untracked_total").await, 1);
        assert_eq!(town.metric("quail_addresses").await, 0);
    }
}
