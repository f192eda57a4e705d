//! Behaviour over QUIC.

use std::time::Duration;

use quail_client::{
    Builder, CallError, Cause, Client, ConnectError, Priority, Reconnect, State, Trust,
    protocol::{Close, Code, Lane, Reject, session::Ping, version::ALPN},
};
use quinn::ConnectionError;

use crate::{
    fake::{BAD_TOKEN, CLOSE, IGNORE, Seen, TIME, text_of},
    quic_server::QuicServer,
};

fn alice(server: &QuicServer) -> Builder {
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &server.certificate);
    let fingerprint = sha256.as_ref().try_into().unwrap();
    Client::builder(server.address.to_string())
        .app("demo")
        .user("alice")
        .token("t")
        .trust(Trust::Fingerprint(fingerprint))
}

fn closed_with(error: Option<ConnectionError>) -> Close {
    match error {
        Some(ConnectionError::ApplicationClosed(closed)) => {
            Close::from_number(closed.error_code.into_inner().try_into().unwrap())
        }
        other => panic!("not closed by the client: {other:?}"),
    }
}

#[tokio::test]
async fn a_session_logs_in_calls_receives_and_logs_out() {
    let mut server = QuicServer::start();
    let (client, mut events) = alice(&server).connect().await.unwrap();
    assert_eq!(client.user_id().as_str(), "alice");
    assert_eq!(client.limits().requests_in_flight, 8);
    assert!(client.server_time() >= TIME);
    assert_eq!(client.states().current(), State::Connected);

    assert_eq!(client.call(Ping {}).await.unwrap().time, TIME);
    let bob = client.peer("bob").unwrap();
    let sent = bob.message("hi").priority(Priority::High).send().await.unwrap();
    assert_eq!(sent.position.seq.0, 1);
    assert_eq!(text_of(events.recv().await), "hi");

    let mut states = client.states();
    client.close().await;
    assert_eq!(states.changed().await, Some(State::Disconnected { cause: Cause::LoggedOut }));
    assert_eq!(states.changed().await, None);
    assert_eq!(events.recv().await, None);
    assert_eq!(client.call(Ping {}).await, Err(CallError::Disconnected(Cause::LoggedOut)));
    client.close().await;

    let mut lanes = [(); Lane::COUNT].map(|()| server.opened.try_recv().unwrap());
    assert_eq!(lanes[0], Lane::Control);
    lanes.sort();
    assert_eq!(lanes, Lane::ALL);
    for (request_id, (lane, name)) in (1..).zip([
        (Lane::Control, "session.login"),
        (Lane::Control, "session.ping"),
        (Lane::High, "message.send"),
        (Lane::Control, "session.logout"),
    ]) {
        assert_eq!(server.seen.recv().await, Some(Seen { lane, request_id, name }));
    }
    assert_eq!(closed_with(server.ended.recv().await), Close::LoggedOut);
}

#[tokio::test]
async fn a_host_name_is_resolved_and_its_certificate_checked_against_roots() {
    let server = QuicServer::start();
    let address = format!("localhost:{}", server.address.port());
    let roots = Trust::Roots(vec![server.certificate.clone()]);
    let builder = Client::builder(address).app("demo").user("alice").token("t").trust(roots);
    let (client, _events) = builder.connect_timeout(Duration::from_secs(1)).connect().await.unwrap();
    client.call(Ping {}).await.unwrap();
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let server = QuicServer::start();
    for trust in [Trust::Fingerprint([0; 32]), Trust::WebRoots] {
        let error = alice(&server).trust(trust).connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_refuses_the_version() {
    let server = QuicServer::with(b"quail/9", 5);
    let error = alice(&server).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed(Cause::VersionRefused)), "{error:?}");
}

#[tokio::test]
async fn a_refused_login_says_why() {
    let server = QuicServer::start();
    let error = alice(&server).token(BAD_TOKEN).connect().await.unwrap_err();
    let expected = Cause::LoginRefused(Reject::from(Code::TokenExpired));
    assert!(matches!(error, ConnectError::Failed(cause) if cause == expected), "{error:?}");
}

#[tokio::test]
async fn the_servers_close_code_reaches_calls_and_states() {
    let server = QuicServer::start();
    let (client, mut events) = alice(&server).reconnect(Reconnect::off()).connect().await.unwrap();
    let mut states = client.states();
    let cause = Cause::Closed(Close::Draining);
    let (bob, carol) = (client.peer("bob").unwrap(), client.peer("carol").unwrap());
    let (ignored, closed) = tokio::join!(bob.send(IGNORE), carol.send(CLOSE));
    for unsent in [ignored, closed] {
        assert_eq!(unsent.unwrap_err().error, CallError::Disconnected(cause));
    }
    assert_eq!(states.changed().await, Some(State::Disconnected { cause }));
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn a_call_without_reply_times_out_and_disturbs_no_other() {
    let server = QuicServer::start();
    let (client, mut events) =
        alice(&server).call_timeout(Duration::from_millis(500)).connect().await.unwrap();
    let bob = client.peer("bob").unwrap();
    let message = bob.message(IGNORE);
    let id = message.id();
    let unsent = message.send().await.unwrap_err();
    assert_eq!((unsent.error, unsent.message.id()), (CallError::TimedOut, id));
    bob.send("next").await.unwrap();
    assert_eq!(text_of(events.recv().await), "next");
}

#[tokio::test]
async fn a_slow_app_gets_every_event_in_order() {
    let server = QuicServer::start();
    let (client, mut events) = alice(&server).event_capacity(1).connect().await.unwrap();
    let bob = client.peer("bob").unwrap();
    let body = "x".repeat(8000);
    let sending = tokio::spawn(async move {
        let sends = (0..200).map(|i| bob.send(format!("{i} {body}")));
        futures_util::future::try_join_all(sends).await
    });
    for i in 0..200 {
        assert!(text_of(events.recv().await).starts_with(&format!("{i} ")));
    }
    let sent = sending.await.unwrap().unwrap();
    assert!(sent.iter().map(|sent| sent.position.seq.0).eq(1..=200));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let mut server = QuicServer::start();
    let (client, mut events) = alice(&server).connect().await.unwrap();
    let clone = client.clone();
    drop(client);
    clone.call(Ping {}).await.unwrap();
    drop(clone);
    assert_eq!(events.recv().await, None);
    assert_eq!(closed_with(server.ended.recv().await), Close::LoggedOut);
}

#[tokio::test]
async fn lanes_that_the_server_does_not_grant_use_control() {
    let mut server = QuicServer::with(quail_client::protocol::version::ALPN, 2);
    let (client, _events) = alice(&server).connect().await.unwrap();
    let bob = client.peer("bob").unwrap();
    bob.message("high").priority(Priority::High).send().await.unwrap();
    bob.message("low").priority(Priority::Low).send().await.unwrap();
    let mut seen = || server.seen.try_recv().unwrap().lane;
    assert_eq!([seen(), seen(), seen()], [Lane::Control, Lane::High, Lane::Control]);
}

#[tokio::test]
async fn clients_share_an_endpoint() {
    let server = QuicServer::start();
    let endpoint = quinn::Endpoint::client((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let mut clients = Vec::new();
    for user in ["a", "b", "c"] {
        clients.push(alice(&server).user(user).endpoint(endpoint.clone()).connect().await.unwrap());
    }
    assert_eq!(endpoint.open_connections(), 3);
    for (client, _events) in &clients {
        client.call(Ping {}).await.unwrap();
        client.close().await;
    }
    endpoint.wait_idle().await;
}

#[tokio::test]
async fn a_request_past_the_limits_is_not_sent() {
    let mut server = QuicServer::start();
    let (client, _events) = alice(&server).connect().await.unwrap();
    let bob = client.peer("bob").unwrap();
    let unsent = bob.send("x".repeat(32 * 1024 + 1)).await.unwrap_err();
    assert!(matches!(unsent.error, CallError::TooLarge(_)));
    assert_eq!(server.seen.recv().await.unwrap().name, "session.login");
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn handles_and_futures_cross_threads() {
    fn crosses<T: Send + 'static>(_: T) {}
    fn shared<T: Send + Sync>() {}
    shared::<Client>();
    crosses(Client::builder("").connect());
    crosses(|client: Client| crosses(async move { client.call(Ping {}).await }));
    crosses(|client: Client| crosses(async move { client.peer("bob").unwrap().history(..).await }));
    crosses(|client: Client| crosses(async move { client.close().await }));
}

#[tokio::test]
async fn lanes_that_share_control_do_not_write_into_each_others_frames() {
    let server = QuicServer::with(ALPN, 1);
    let (client, _events) = alice(&server).connect().await.unwrap();
    let bob = client.peer("bob").unwrap();
    let send = |priority| bob.message("x".repeat(30_000)).priority(priority).send();
    let talk = async {
        for _ in 0..10 {
            let normal = async { Ok(send(Priority::Normal).await?) };
            let urgent = async {
                for _ in 0..10 {
                    client.call(Ping {}).await?;
                }
                Ok::<_, CallError>(send(Priority::High).await?)
            };
            tokio::try_join!(normal, urgent).unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), talk).await.expect("no lane waits for ever");
}
