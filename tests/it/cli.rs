//! The command line, run as users run it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use quail_client::{Cause, Client, ConnectError, Trust};
use quail_protocol::{
    Code, Timestamp,
    id::{AppId, UserId},
};
use quail_server::{
    apps::{self, Key, KeyAlgorithm, Secret},
    config::DEVELOPMENT_APP,
};
use quail_tests::{PATIENCE, SECRET, token, within};

use crate::process::{ANYWHERE, Process, quail, run};

/// A configuration with everything production needs but the certificate.
fn production(more: &str) -> String {
    format!("{more}\n[apps.shop.keys.main]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n")
}

/// One clear sentence on standard error, and exit code 1.
#[track_caller]
fn refused(name: &str, command: Command, sentence: &str) {
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(1), "{name}: {ended:?}");
    assert!(ended.stderr.starts_with("quail: ") && ended.stderr.contains(sentence), "{name}: {ended:?}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{name}: {ended:?}");
    assert!(!ended.stderr.contains(SECRET), "{name} shows a secret: {ended:?}");
}

#[test]
fn a_development_start_prints_where_everything_is_and_two_lines_that_chat() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Process::start(quail(directory.path(), ANYWHERE).args(["--data-dir", "my data"]));
    let announced = server.until("--as bob").to_owned();
    assert_eq!(server.announced("data "), "my data");
    assert_eq!(server.announced("certificate SHA-256").len(), 64);
    assert!(announced.contains("DEVELOPMENT MODE"), "{announced}");

    let pasted: Vec<_> = announced.lines().filter(|line| line.contains(" chat ")).collect();
    let mut people = [pasted[0], pasted[1]].map(|line| {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &format!("exec {}", line.trim())]).current_dir(directory.path());
        let mut person = Process::start(shell.stdin(Stdio::piped()));
        person.until("connected");
        person
    });
    people[0].say("hello bob");
    people[1].until("alice: hello bob");
    people[1].say("hello alice");
    people[0].until("bob: hello alice");
    for person in &mut people {
        person.say("/quit");
        person.until("left");
    }
    assert!(people.into_iter().all(|person| person.end().status.success()));
}

#[test]
fn certificate_and_secret_outlive_a_start_and_only_their_owner_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let server = Process::serve(directory.path());
        let fingerprint = server.announced("certificate SHA-256").to_owned();
        server.signal("TERM");
        assert!(server.end().status.success());
        (fingerprint, fs::read(directory.path().join("quail-data/demo.secret")).unwrap())
    };
    assert_eq!(start(), start());
    for (name, expected) in
        [(".", 0o700), ("demo.secret", 0o600), ("certificate.key.der", 0o600), ("development.toml", 0o600)]
    {
        let mode = fs::metadata(directory.path().join("quail-data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{name}");
    }
}

#[test]
fn what_is_in_the_way_of_a_start_is_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let running = Process::serve(path);
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (udp_at, tcp_at) = (udp.local_addr().unwrap().to_string(), tcp.local_addr().unwrap().to_string());
    fs::write(path.join("file"), "").unwrap();
    fs::write(path.join("broken.pem"), "no certificate").unwrap();
    let files = [
        ("unknown.toml", "bogus = 1".to_owned()),
        ("nested.toml", "[session.outbox]\nlane_item = 1".to_owned()),
        ("duration.toml", "[session]\nidle_timeout = \"soon\"".to_owned()),
        ("number.toml", "[websocket]\nconnections_max = \"many\"".to_owned()),
        ("syntax.toml", production("[session")),
        ("open.toml", format!("[apps.shop.keys.main]\nsecret = \"{SECRET}\nalgorithm = 3")),
        ("flat.toml", format!("[apps.shop.keys]\nmain = \"{SECRET}\"")),
        ("algorithm.toml", production("").replace("HS256", "RS256")),
        ("no-tls.toml", production("")),
        ("no-app.toml", "[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"".to_owned()),
        ("no-key.toml", "development = true\n[apps.shop]".to_owned()),
        ("no-file.toml", production("[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"")),
        ("no-pem.toml", production("[tls]\ncertificate = \"broken.pem\"\nkey = \"broken.pem\"")),
        ("short.toml", production("development = true").replace(SECRET, "too short")),
        ("timeouts.toml", "development = true\n[session]\nidle_timeout = \"1s\"".to_owned()),
    ];
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
    }
    let flags: [(&[&str], &str); 20] = [
        (&["--data-dir", "a", "--quic", &udp_at], "cannot listen on 127.0.0.1"),
        (&["--data-dir", "b", "--websocket", &tcp_at], "(WebSocket over TCP): Address already in use"),
        (&["--data-dir", "c", "--admin", &tcp_at], "(admin over TCP): Address already in use"),
        (&["--data-dir", "file/data"], "data directory file/data cannot be used: Not a directory"),
        (&["--data-dir", "quail-data"], "data directory quail-data is in use by another server"),
        (&["--config", "nowhere.toml"], "configuration file nowhere.toml does not exist"),
        (&["--config", "unknown.toml"], "bogus: unknown key; known here are data_dir, "),
        (&["--config", "nested.toml"], "session.outbox.lane_item: unknown key; known here are lane_items, "),
        (&["--config", "duration.toml"], "session.idle_timeout: expected a duration"),
        (&["--config", "number.toml"], "websocket.connections_max: expected usize"),
        (&["--config", "syntax.toml"], "configuration file syntax.toml, line 1: "),
        (&["--config", "open.toml"], "configuration file open.toml, line 2: "),
        (&["--config", "flat.toml"], "apps.shop.keys.main: expected struct Key"),
        (&["--config", "algorithm.toml"], "apps.shop.keys.main.algorithm: expected one of HS256"),
        (&["--config", "no-tls.toml"], "tls.certificate and tls.key are needed outside of development mode"),
        (&["--config", "no-app.toml"], "at least one app is needed outside of development mode"),
        (&["--config", "no-key.toml"], "apps.shop.keys: an app without keys lets nobody in"),
        (&["--config", "no-pem.toml", "--data-dir", "d"], "broken.pem is not usable: "),
        (&["--config", "short.toml"], "apps.shop.keys.main.secret: at least 32 bytes are needed"),
        (&["--config", "timeouts.toml"], "session.idle_timeout must not be below session.write_timeout"),
    ];
    for (flags, sentence) in flags {
        let mut others = ANYWHERE.to_vec();
        for flag in flags.iter().filter(|flag| flag.starts_with("--")) {
            others = others.chunks(2).filter(|pair| pair[0] != *flag).flatten().copied().collect();
        }
        refused(&format!("{flags:?}"), quail(path, others.iter().chain(flags)), sentence);
    }
    let mut missing = quail(path, ["--config", "no-file.toml", "--data-dir", "e"]);
    missing.args(ANYWHERE);
    refused("missing certificate", missing, "a.pem is not usable: I/O error: No such file or directory");

    let variables = [
        ("QUAIL_FOO", "1", "QUAIL_FOO: unknown key"),
        ("QUAIL_SESSION__IDLE", "1s", "QUAIL_SESSION__IDLE: unknown key"),
        ("QUAIL_SESSION__IDLE_TIMEOUT", "soon", "QUAIL_SESSION__IDLE_TIMEOUT: expected a duration"),
        ("QUAIL_QUIC__CONNECTIONS_MAX", "-1", "QUAIL_QUIC__CONNECTIONS_MAX: expected usize"),
        ("QUAIL_DEVELOPMENT", "false", "tls.certificate and tls.key are needed outside of development mode"),
        ("QUAIL_APPS__SHOP__KEYS__MAIN", SECRET, "QUAIL_APPS__SHOP__KEYS__MAIN: expected struct Key"),
    ];
    for (name, value, sentence) in variables {
        let mut command = quail(path, ANYWHERE);
        command.env(name, value);
        refused(name, command, sentence);
    }
    running.signal("TERM");
    assert!(running.end().status.success());
}

#[test]
fn a_file_gives_way_to_the_environment_and_the_environment_to_flags() {
    let directory = tempfile::tempdir().unwrap();
    let listen = |port| format!("127.0.0.1:{port}");
    let addresses = |port| {
        ["quic", "websocket", "admin"]
            .map(|name| format!("[{name}]\nlisten = \"{}\"\n", listen(port)))
            .concat()
    };
    fs::write(directory.path().join("quail.toml"), production("development = true\n") + &addresses(1))
        .unwrap();
    let mut command = quail(directory.path(), ["check-config", "--config", "quail.toml"]);
    command.args(["--admin", &listen(3)]).env("QUAIL_LOG", "trace");
    for name in ["QUAIL_WEBSOCKET__LISTEN", "QUAIL_ADMIN__LISTEN"] {
        command.env(name, listen(2));
    }
    command.env("QUAIL_WEBSOCKET__ORIGINS", "[\"https://chat.example.org\"]");
    let ended = run(command);
    assert!(ended.status.success(), "{ended:?}");
    for expected in [
        "[quic]\nlisten = \"127.0.0.1:1\"",
        "[websocket]\nlisten = \"127.0.0.1:2\"",
        "[admin]\nlisten = \"127.0.0.1:3\"",
        "origins = [\"https://chat.example.org\"]",
        "secret = \"(hidden)\"",
    ] {
        assert!(ended.stdout.contains(expected), "{expected} in {}", ended.stdout);
    }
    assert!(!ended.stdout.contains(SECRET), "{}", ended.stdout);
}

/// What stands in the example's place of files and secrets.
fn example(directory: &Path, arguments: &[&str]) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/production.toml");
    let mut command = quail(directory, arguments);
    command.arg("--config").arg(file).env("QUAIL_APPS__SHOP__KEYS__K1__SECRET", SECRET);
    command.env("QUAIL_TLS__CERTIFICATE", "a.pem").env("QUAIL_TLS__KEY", "a.key");
    command
}

#[tokio::test]
async fn the_production_example_serves_its_app() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.path().join("a.pem"), made.cert.pem()).unwrap();
    fs::write(directory.path().join("a.key"), made.signing_key.serialize_pem()).unwrap();
    let flags = [&ANYWHERE[..], &["--data-dir", "data"]].concat();
    let mut server = Process::start(&mut example(directory.path(), &flags));
    let announced = server.until("certificate SHA-256").to_owned();
    let token = run(example(directory.path(), &["token", "--user", "alice", "--app", "shop"]));
    let client = Client::builder(server.announced("QUIC").trim_end_matches("/udp")).app("shop").user("alice");
    let trust = Trust::fingerprint(server.announced("certificate SHA-256")).unwrap();
    within(client.token(token.stdout.trim()).trust(trust).connect()).await.unwrap();
    server.signal("TERM");
    let ended = server.end();
    assert!(ended.status.success() && ended.stdout == announced, "no word of development: {ended:?}");
}

#[test]
fn what_check_config_prints_is_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let printed = run(quail(directory.path(), ["check-config"])).stdout;
    fs::write(directory.path().join("printed.toml"), &printed).unwrap();
    let again = run(quail(directory.path(), ["check-config", "--config", "printed.toml"]));
    assert_eq!(again.stdout, printed, "{}", again.stderr);
}

#[test]
fn a_command_line_nobody_understands_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["bogus"][..],
        &["--bogus"],
        &["serve", "--bogus"],
        &["--quic", "here"],
        &["--config", "quail.toml", "check-config"],
        &["chat"],
        &["chat", "--as", "a b", "--to", "bob"],
        &["chat", "--as", "alice", "--to", "bob", "--server", "127.0.0.1:1"],
        &["token"],
        &["token", "--user", "alice", "--lifetime", "long"],
    ] {
        let ended = run(quail(directory.path(), arguments));
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert!(run(quail(directory.path(), arguments)).status.success());
    }
}

#[test]
fn a_chat_or_a_token_without_a_server_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("token"), "t").unwrap();
    let (nobody, hex) = (UdpSocket::bind("127.0.0.1:0").unwrap(), "ab".repeat(32));
    let silent = nobody.local_addr().unwrap().to_string();
    let chat = ["chat", "--as", "alice", "--to", "bob"];
    let server = ["--server", &silent, "--token-file"];
    let token = ["token", "--user", "alice"];
    for (arguments, sentence) in [
        (&chat[..], "no development server has run in quail-data; start one, or name --server"),
        (&[&chat[..], &server[..], &["nothing"]].concat(), "cannot read nothing"),
        (&[&chat[..], &server[..], &["token", "--fingerprint", "0"]].concat(), "64 hexadecimal digits"),
        (
            &[&chat[..], &server[..], &["token", "--fingerprint", &hex]].concat(),
            "cannot connect to 127.0.0.1:",
        ),
        (&token[..], "no development secret in quail-data; start a development server there first"),
        (&[&token[..], &["--app", "shop"]].concat(), "app shop needs --config"),
    ] {
        refused(&format!("{arguments:?}"), quail(directory.path(), arguments), sentence);
    }
}

#[test]
fn a_signal_ends_the_server_with_0() {
    let directory = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let server = Process::serve(directory.path());
        server.signal(signal);
        let ended = server.end();
        assert_eq!(ended.status.code(), Some(0), "{signal}: {ended:?}");
    }
}

#[test]
fn closed_standard_output_is_no_reason_to_panic() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::serve(directory.path());
    for arguments in [
        &["check-config"][..],
        &["token", "--user", "alice"],
        &["chat", "--as", "alice", "--to", "bob"],
        &["--help"],
    ] {
        let ended = closed(quail(directory.path(), arguments)).wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() != Some(101) && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
    drop(server);

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = free.to_string();
    let flags = [&ANYWHERE[..4], &["--admin", &admin]].concat();
    let mut deaf = closed(quail(directory.path(), flags));
    ask_for_health(free);
    assert!(Command::new("kill").arg(deaf.id().to_string()).status().unwrap().success());
    assert!(deaf.wait().unwrap().success());
}

/// Starts a command whose standard output is a pipe that nobody reads.
fn closed(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child
}

/// Asks for `/healthz`, again and again until somebody listens.
#[track_caller]
fn ask_for_health(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    let mut tcp = loop {
        match TcpStream::connect(address) {
            Ok(tcp) => break tcp,
            Err(error) => assert!(Instant::now() < deadline, "nobody listens on {address}: {error}"),
        }
    };
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn a_token_of_the_command_line_logs_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("quail.toml"), production("development = true\n")).unwrap();
    let mut server = Process::start(quail(path, ANYWHERE).args(["--config", "quail.toml"]));
    server.until("--as bob");
    for (app, flags) in [(DEVELOPMENT_APP, &[][..]), ("shop", &["--app", "shop", "--config", "quail.toml"])] {
        let arguments = [&["token", "--user", "alice"][..], flags].concat();
        let ended = run(quail(path, arguments));
        assert!(ended.status.success(), "{ended:?}");
        let login = |user: &str| {
            let address = server.announced("QUIC").trim_end_matches("/udp");
            let trust = Trust::fingerprint(server.announced("certificate SHA-256")).unwrap();
            Client::builder(address).app(app).user(user).token(ended.stdout.trim()).trust(trust).connect()
        };
        within(login("alice")).await.unwrap().0.close().await;
        let refused = within(login("bob")).await.unwrap_err();
        let ConnectError::Failed(Cause::LoginRefused(reject)) = refused else { panic!("{refused:?}") };
        assert_eq!(reject.code, Code::TokenSubjectMismatch);
    }
}

#[test]
fn a_token_holds_for_a_day_unless_it_is_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("quail.toml"), production("development = true\n")).unwrap();
    let key = Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new(SECRET) };
    let app = apps::Config { keys: [("main".into(), key)].into(), ..apps::Config::default() };
    for (flags, seconds) in [(&[][..], 24 * 3600), (&["--lifetime", "2h"], 2 * 3600)] {
        let common = ["token", "--user", "alice", "--app", "shop", "--config", "quail.toml"];
        let before = token::now();
        let ended = run(quail(path, [&common, flags].concat()));
        let (id, user) = (AppId::new("shop").unwrap(), UserId::new("alice").unwrap());
        let now = Timestamp(before * 1000);
        let expires = apps::verify(&id, &app, &user, ended.stdout.trim(), now).expect("a good token");
        assert!((before + seconds..=token::now() + seconds).contains(&expires.seconds()));
    }
    let for_ever = ["token", "--user", "alice", "--app", "shop", "--config", "quail.toml", "--lifetime"];
    let ended = run(quail(path, [&for_ever[..], &["18446744073709551615s"]].concat()));
    assert!(ended.status.success(), "{ended:?}");
}
