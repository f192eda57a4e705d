//! Nothing that is secret or private reaches the logs, however loud they are, or the metrics.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use quail_client::{CarrierKind, Client, Trust};
use quail_tests::{next_message, within};

use crate::process::{ANYWHERE, Process, quail, run};

#[tokio::test]
async fn tokens_secrets_and_bodies_never_reach_logs_or_metrics() {
    const BODY: &str = "canary-body-0123456789";
    const BAD_TOKEN: &str = "canary.token.0123456789";
    const NAME: &str = "canary-name-0123456789";

    let directory = tempfile::tempdir().unwrap();
    let mut server = Process::start(quail(directory.path(), ANYWHERE).env("QUAIL_LOG", "trace"));
    server.until("--as bob");
    let secret = fs::read_to_string(directory.path().join("quail-data/demo.secret")).unwrap();
    let token_of = |user| {
        let ended = run(quail(directory.path(), ["token", "--user", user]));
        ended.stdout.trim().to_owned()
    };
    let (alices, bobs) = (token_of("alice"), token_of("bob"));
    let trust = Trust::fingerprint(server.announced("certificate SHA-256")).unwrap();
    let url = format!("ws://{}/ws", server.announced("WebSocket").trim_end_matches("/tcp"));
    for carrier in [CarrierKind::Quic, CarrierKind::WebSocket { url }] {
        let client = |user: &str, token: &str| {
            let address = server.announced("QUIC").trim_end_matches("/udp");
            let client = Client::builder(address).app("demo").user(user).token(token).name(NAME);
            client.trust(trust.clone()).carrier(carrier.clone()).connect()
        };
        let (alice, _events) = within(client("alice", &alices)).await.unwrap();
        let (bob, mut to_bob) = within(client("bob", &bobs)).await.unwrap();
        alice.peer("bob").unwrap().send(BODY).await.unwrap();
        next_message(&mut to_bob).await;
        bob.peer("alice").unwrap().history(..).await.unwrap();
        assert!(within(client("eve", BAD_TOKEN)).await.is_err());
        assert!(within(client("eve", &alices)).await.is_err());
    }
    let mut metrics = String::new();
    let admin = server.announced("metrics").trim_start_matches("http://").trim_end_matches("/metrics");
    let mut asked = TcpStream::connect(admin).unwrap();
    asked.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    asked.read_to_string(&mut metrics).unwrap();
    assert!(metrics.contains("quail_messages_total 2"), "{metrics}");
    server.signal("TERM");
    let ended = server.end();
    let said = format!("{}{}{metrics}", ended.stdout, ended.stderr);
    assert!(said.contains("TRACE") && said.contains("logged in"), "the log is on: {said}");
    for line in said.lines().filter(|line| line.contains("logged in app=")) {
        assert!(line.contains("address=\"127.0.0.0/24\"") && !line.contains("127.0.0.1"), "{line}");
    }
    let signature = alices.rsplit('.').next().unwrap();
    for (name, canary) in [
        ("body", BODY),
        ("bad token", BAD_TOKEN),
        ("token", &alices),
        ("signature", signature),
        ("secret", &secret),
    ] {
        let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<_> = canary.bytes().collect();
        let list = format!("{list:?}");
        for (form, canary) in [("text", canary), ("hex", &hex), ("bytes", list.trim_matches(['[', ']']))] {
            let line = said.lines().find(|line| line.contains(canary));
            assert!(line.is_none(), "the {name} was told as {form}: {line:?}");
        }
    }
}
