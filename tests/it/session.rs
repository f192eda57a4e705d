use std::time::Duration;

use quail_client::{Cause, ConnectError, State};
use quail_protocol::{
    Close, Code,
    frame::Head,
    session::{LoggedIn, Logout, Ping},
};
use quail_tests::{
    Carrier, FAST, STRICT, Town,
    raw::{Raw, Said, login, login_with, quic, quic_offering},
    token::{Token, now, sign_raw},
    within,
};

#[tokio::test]
async fn each_kind_of_bad_token_has_its_own_code() {
    let town = Town::new().await;
    let good = || Token::new(FAST, "alice");
    let claims = format!(r#"{{"sub":"alice","aud":"{FAST}","iat":{0},"exp":{0}}}"#, now() + 60);
    let header = r#"{"alg":"HS256","kid":"main"}"#;
    let cases = [
        ("empty", String::new(), Code::TokenMalformed),
        ("no jwt", "nonsense".into(), Code::TokenMalformed),
        ("two parts", "a.b".into(), Code::TokenMalformed),
        ("claims of a wrong type", sign_raw(header, &claims.replace("\"alice\"", "7")), Code::TokenMalformed),
        ("claims that are no json", sign_raw(header, "alice"), Code::TokenMalformed),
        ("no key id", sign_raw(r#"{"alg":"HS256"}"#, &claims), Code::TokenKeyUnknown),
        ("unknown key", good().with(|t| t.kid = "other".into()).sign(), Code::TokenKeyUnknown),
        ("alg none", sign_raw(r#"{"alg":"none","kid":"main"}"#, &claims), Code::TokenAlgorithmRefused),
        (
            "alg of another key",
            sign_raw(r#"{"alg":"HS512","kid":"main"}"#, &claims),
            Code::TokenAlgorithmRefused,
        ),
        (
            "alg of a key pair",
            sign_raw(r#"{"alg":"RS256","kid":"main"}"#, &claims),
            Code::TokenAlgorithmRefused,
        ),
        (
            "signed by a stranger",
            good().with(|t| t.secret = "?".repeat(32)).sign(),
            Code::TokenSignatureInvalid,
        ),
        ("cut short", good().sign()[..60].to_owned(), Code::TokenMalformed),
        ("expired", good().with(|t| t.claims.exp = Some(now() - 60)).sign(), Code::TokenExpired),
        ("from the future", good().with(|t| t.claims.iat = Some(now() + 600)).sign(), Code::TokenNotYetValid),
        ("not before", good().with(|t| t.claims.nbf = Some(now() + 600)).sign(), Code::TokenNotYetValid),
        ("of another app", Token::new(STRICT, "alice").sign(), Code::TokenAudienceMismatch),
        ("of another user", Token::new(FAST, "bob").sign(), Code::TokenSubjectMismatch),
        ("no subject", good().with(|t| t.claims.sub = None).sign(), Code::TokenClaimMissing),
        ("no audience", good().with(|t| t.claims.aud = None).sign(), Code::TokenClaimMissing),
        ("no expiry", good().with(|t| t.claims.exp = None).sign(), Code::TokenClaimMissing),
        ("no issue time", good().with(|t| t.claims.iat = None).sign(), Code::TokenClaimMissing),
        (
            "too long a life",
            good().with(|t| t.claims.exp = Some(now() + 30 * 86_400)).sign(),
            Code::TokenLifetimeTooLong,
        ),
    ];
    for carrier in Carrier::ALL {
        for (name, token, code) in &cases {
            let mut raw = Raw::connect(&town, carrier).await;
            raw.request(1, &login_with(FAST, "alice", token.clone())).await;
            assert_eq!(raw.refusal(1).await, *code, "{name} over {carrier:?}");
            raw.request(2, &login(FAST, "alice")).await;
            assert!(raw.reply(2).await.is_ok(), "a good token after {name}");
        }
    }
}

#[tokio::test]
async fn an_unknown_app_and_the_third_refused_login_are_told() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::connect(&town, carrier).await;
        for request_id in 1..=3 {
            raw.request(request_id, &login("nowhere", "alice")).await;
            assert_eq!(raw.refusal(request_id).await, Code::AppUnknown);
        }
        assert_eq!(raw.closed().await, Close::LoginRefused);
    }
    let refused = within(town.client_of(Carrier::Quic, "nowhere", "alice").connect()).await;
    assert!(
        matches!(refused, Err(ConnectError::Failed(Cause::LoginRefused(reject))) if reject.code == Code::AppUnknown)
    );
}

#[tokio::test]
async fn a_second_login_on_a_live_session_is_refused_and_the_session_lives_on() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::log_in(&town, carrier, FAST, "alice").await;
        raw.request(2, &login(FAST, "bob")).await;
        assert_eq!(raw.refusal(2).await, Code::AlreadyLoggedIn);
        raw.request(3, &Ping {}).await;
        assert!(raw.reply(3).await.is_ok());
    }
}

#[tokio::test]
async fn a_user_has_only_so_many_sessions() {
    let town = Town::with(|config| {
        config.apps.get_mut(FAST).unwrap().sessions_per_user = 2;
    })
    .await;
    let (one, _events) = town.connect(Carrier::Quic, "alice").await;
    let (_two, _events) = town.connect(Carrier::WebSocket, "alice").await;
    let third = within(town.client(Carrier::Quic, "alice").connect()).await;
    assert!(
        matches!(third, Err(ConnectError::Failed(Cause::LoginRefused(reject))) if reject.code == Code::TooManySessions)
    );
    let (_bob, _events) = town.connect(Carrier::Quic, "bob").await;
    within(one.close()).await;
    let (_three, _events) = town.connect(Carrier::Quic, "alice").await;
}

#[tokio::test]
async fn the_login_reply_tells_the_limits_in_force() {
    let town = Town::new().await;
    let mut raw = Raw::connect(&town, Carrier::Quic).await;
    raw.request(1, &login(STRICT, "alice")).await;
    let reply: LoggedIn = quail_protocol::frame::decode(&raw.reply(1).await.unwrap()).unwrap();
    assert_eq!((reply.limits.texts_per_second, reply.limits.queries_per_second), (10, 20));
    assert_eq!((reply.limits.ping_after_ms, reply.limits.idle_timeout_ms), (10_000, 30_000));
    assert!(reply.time.seconds().abs_diff(now()) < 60);
    assert!(reply.token_expires.seconds() > reply.time.seconds());
}

#[tokio::test]
async fn whoever_does_not_log_in_in_time_is_closed() {
    let town = Town::with(|config| config.session.greeting_timeout = Duration::from_millis(100)).await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::connect(&town, carrier).await;
        assert_eq!(raw.closed().await, Close::GreetingTimeout);
    }
}

#[tokio::test]
async fn whoever_is_silent_is_closed_and_whoever_pings_is_not() {
    let town = Town::with(|config| {
        config.session.idle_timeout = Duration::from_millis(600);
        config.session.write_timeout = Duration::from_millis(600);
    })
    .await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let mut silent = Raw::log_in(&town, carrier, FAST, "bob").await;
        assert_eq!(silent.closed().await, Close::Idle);
        assert_eq!(alice.states().current(), State::Connected, "the client pings by itself");
    }
}

#[tokio::test]
async fn a_logout_is_answered_and_ends_the_session() {
    let town = Town::with(|config| config.session.leave_timeout = Duration::from_millis(100)).await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::log_in(&town, carrier, FAST, "alice").await;
        raw.request(2, &Logout {}).await;
        assert!(raw.reply(2).await.is_ok());
        assert_eq!(raw.closed().await, Close::LoggedOut);

        let (client, mut events) = town.connect(carrier, "alice").await;
        within(client.close()).await;
        assert_eq!(client.states().current(), State::Disconnected { cause: Cause::LoggedOut });
        assert_eq!(within(events.recv()).await, None);
    }
}

#[tokio::test]
async fn a_server_that_stops_tells_everyone() {
    for carrier in Carrier::ALL {
        let town = Town::with(|config| config.session.leave_timeout = Duration::from_millis(100)).await;
        let mut raw = Raw::log_in(&town, carrier, FAST, "alice").await;
        let told = async {
            let Said::Frame(frame) = raw.next().await else { panic!("closed without a word") };
            assert!(matches!(frame.head, Head::Event { kind } if kind.0 == 0x0101));
            raw.closed().await
        };
        let (close, ()) = within(futures_util::future::join(told, town.stop())).await;
        assert_eq!(close, Close::Draining);
    }
}

#[tokio::test]
async fn a_server_that_stops_says_nothing_but_the_end_to_whoever_waits_for_the_login() {
    for carrier in Carrier::ALL {
        let town = Town::with(|config| config.session.leave_timeout = Duration::from_millis(100)).await;
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &Ping {}).await;
        raw.reply(1).await.unwrap();
        let (said, ()) = within(futures_util::future::join(raw.next(), town.stop())).await;
        assert_eq!(said, Said::Close(Close::Draining), "{carrier:?}");
    }
}

#[tokio::test]
async fn a_client_of_another_protocol_generation_is_refused_in_the_handshake() {
    let town = Town::new().await;
    let refused = quic_offering(&town, b"quail/2").await.expect_err("refused");
    let no_application_protocol = quinn::TransportErrorCode::crypto(120);
    let quinn::ConnectionError::ConnectionClosed(close) = refused else { panic!("{refused:?}") };
    assert_eq!(close.error_code, no_application_protocol);
}

#[tokio::test]
async fn above_a_number_of_handshakes_clients_prove_their_address_first_and_still_get_in() {
    let town = Town::with(|config| config.quic.retry_above = 0).await;
    for user in ["alice", "bob", "carol"] {
        let (client, _events) = town.connect(Carrier::Quic, user).await;
        assert!(client.call(Ping {}).await.is_ok());
    }
    let (_endpoint, _connection) = quic(&town).await;
    assert_eq!(town.metric("quail_addresses_asked_total").await, 4);
}
