//! The README is true: its commands are typed into terminals, word for word, and do what it says.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use quail_tests::{
    PATIENCE,
    terminal::{Terminal, Terminals},
};

/// A release build on a small machine.
const BUILD_PATIENCE: Duration = Duration::from_secs(20 * 60);

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The lines of all fenced `sh` blocks.
fn commands(markdown: &str) -> Vec<&str> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in markdown.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => commands.push(line),
            _ => {}
        }
    }
    commands
}

#[track_caller]
fn git(directory: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new("git").current_dir(directory).args(arguments).output().expect("git is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn ports_are_free() {
    for ip in ["0.0.0.0", "[::]"] {
        for port in [4433, 8080, 8081] {
            let address = format!("{ip}:{port}");
            let free = if port == 4433 {
                UdpSocket::bind(&address).map(drop)
            } else {
                TcpListener::bind(&address).map(drop)
            };
            if let Err(error) = free {
                let needed =
                    "4433/udp, 8080/tcp and 8081/tcp, the README's ports, must be free for this test";
                assert!(error.kind() != std::io::ErrorKind::AddrInUse, "{needed}; {address}: {error}");
            }
        }
    }
}

/// Two people say hello to each other and leave.
#[track_caller]
fn greet(alice: &Terminal<'_>, bob: &Terminal<'_>) {
    alice.expect("connected as alice", PATIENCE);
    bob.expect("connected as bob", PATIENCE);
    alice.type_line("hello bob");
    bob.expect("alice: hello bob", PATIENCE);
    bob.type_line("hello alice");
    alice.expect("bob: hello alice", PATIENCE);
    for person in [alice, bob] {
        person.type_line("/quit");
        person.expect("* left", PATIENCE);
    }
}

#[test]
fn slow_readme_two_people_chat_with_the_commands_of_a_fresh_clone() {
    let directory = tempfile::tempdir().unwrap();
    let clone = directory.path().join("quail");
    git(&root(), &["clone", "--quiet", ".", clone.to_str().unwrap()]);
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), git(&root(), &["rev-parse", "HEAD"]));
    // Dependencies that were built before are not built again; what is typed stays the same.
    let built_before = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-target");
    fs::create_dir_all(&built_before).unwrap();
    std::os::unix::fs::symlink(built_before, clone.join("target")).unwrap();

    let readme = fs::read_to_string(clone.join("README.md")).unwrap();
    let commands = commands(&readme);
    let [server, alice, bob, alice_websocket, bob_websocket, token, tests] = commands[..] else {
        panic!("the commands of the README are not the seven this test types: {commands:#?}");
    };
    assert_eq!(tests, "tests/run");
    assert!(clone.join(tests).is_file());

    ports_are_free();
    let terminals = Terminals::new("readme");
    let type_in = |name: &str, command: &str| {
        let terminal = terminals.open(name, &clone);
        terminal.type_line(command);
        terminal
    };
    let serving = type_in("server", server);
    serving.expect("Chat between two terminals", BUILD_PATIENCE);
    greet(&type_in("alice", alice), &type_in("bob", bob));

    let alice = type_in("alice-websocket", alice_websocket);
    alice.expect("connecting to ws://", PATIENCE);
    greet(&alice, &type_in("bob-websocket", bob_websocket));

    type_in("token", token).expect("eyJ", PATIENCE);
    serving.interrupt();
    serving.expect("stopped", PATIENCE);
}

#[test]
fn only_blocks_of_shell_commands_are_typed() {
    let markdown = "Run `x`:\n\n```sh\none\ntwo\n```\n\n```rust\nthree\n```\nfour\n```sh\nfive\n```\n";
    assert_eq!(commands(markdown), ["one", "two", "five"]);
}
