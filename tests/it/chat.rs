//! `quail chat`, typed into.

use std::{path::Path, process::Stdio};

use quail_server::data;

use crate::process::{ANYWHERE, Process, quail, run};

/// Somebody who chats with another user, and is connected.
fn chat(directory: &Path, me: &str, to: &str) -> Process {
    let chat = ["chat", "--as", me, "--to", to];
    let mut person = Process::start(quail(directory, chat).stdin(Stdio::piped()));
    person.until("connected");
    person
}

#[test]
fn a_chat_shows_kinds_receipts_unread_counts_recalls_and_history() {
    let directory = tempfile::tempdir().unwrap();
    let _server = Process::serve(directory.path());
    let chat = |me, to| chat(directory.path(), me, to);
    let mut alice = chat("alice", "bob");
    for (typed, shown) in [
        ("/command dim now", "! not delivered: bob is not there"),
        ("one", "sent as 1"),
        ("/high two", "sent as 2"),
        ("/location 48.1372 11.5755 Old Town Hall", "sent as 3"),
        ("/recall 2", "took back message 2"),
        ("/history", "3  alice: (place 48.13720 11.57550 Old Town Hall)"),
        ("/nonsense", "! /nonsense is not known"),
    ] {
        alice.say(typed);
        alice.until(shown);
    }
    let mut bob = chat("bob", "alice");
    bob.until("* 3 unread of peer alice");
    bob.say("/history 2");
    bob.until("2  (taken back) alice");
    bob.say("/typing");
    alice.until("* bob is writing");
    alice.say("/custom quiz 6 times 7?");
    bob.until("alice: (quiz 0: 6 times 7?)");
    alice.until("bob has read up to 4");
    alice.say("/command dim now");
    bob.until("alice: (command dim now)");
    alice.say("/recall");
    bob.until("* alice took back message 4");
    alice.say("/quit");
    alice.until("left");
}

#[test]
fn a_chat_that_is_out_of_its_room_comes_into_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let _server = Process::serve(directory.path());
    let mut alice = chat(directory.path(), "alice", "bob");
    alice.say("/enter lobby");
    alice.until("* in room lobby");
    // It is out when it asks to switch.
    alice.say("/leave\n/enter den");
    alice.until("* in room den");
    alice.say("/leave\n/leave");
    alice.until("* [den] left it");
    alice.say("to bob");
    alice.until("sent as 1");
    alice.say("/quit");
    alice.until("left");
}

#[test]
fn a_chat_in_a_room_says_there_what_is_typed_and_shows_who_comes_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let _server = Process::serve(directory.path());
    let chat = |me, to| chat(directory.path(), me, to);
    let mut alice = chat("alice", "bob");
    alice.say("/leave");
    alice.until("! you are in no room");
    alice.say("/enter lobby");
    alice.until("* in room lobby, which is new: 1 are there");
    alice.say("anybody here?");
    alice.until("sent as 1");
    let mut bob = chat("bob", "alice");
    bob.say("/enter lobby");
    bob.until("* in room lobby: 2 are there");
    bob.until("[lobby] alice: anybody here?");
    alice.until("* [lobby] bob came in, 2 are there");
    bob.say("I am");
    alice.until("[lobby] bob: I am");
    alice.say("/command dim now");
    bob.until("[lobby] alice: (command dim now)");
    alice.say("/typing");
    alice.until("! that is for the other user");
    alice.say("/history 1");
    alice.until("2  bob: I am");
    // Alice owns the room, and may take back what others said.
    alice.say("/recall 2");
    alice.until("took back message 2");
    bob.until("* [lobby] alice took back message 2");
    // From one room into another, and back to the other user.
    bob.say("/enter den");
    bob.until("* in room den, which is new: 1 are there");
    alice.until("* [lobby] bob left, 1 are there");
    bob.say("/leave");
    bob.until("* [den] left it");
    bob.say("to you alone");
    bob.until("sent as 1");
    alice.until("bob: to you alone");
    alice.say("/quit");
    alice.until("left");
}

#[test]
fn a_chat_over_websocket_has_tls_where_the_server_has() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut server = Process::start(quail(directory, ANYWHERE).env("QUAIL_WEBSOCKET__TLS", "true"));
    server.until("--as bob");
    let found = data::read_development(&directory.join("quail-data")).unwrap();
    let over_websocket = |me, to, more: &[&str]| {
        let chat = ["chat", "--as", me, "--to", to, "--carrier", "websocket"];
        let mut command = quail(directory, [&chat[..], more].concat());
        command.stdin(Stdio::piped());
        command
    };
    let mut alice = Process::start(&mut over_websocket("alice", "bob", &[]));
    alice.until("connecting to wss://127.0.0.1:");
    alice.until("connected as alice");
    let token = run(quail(directory, ["token", "--user", "bob"])).stdout;
    std::fs::write(directory.join("token"), token).unwrap();
    let named = ["--server", &found.websocket, "--token-file", "token", "--fingerprint"];
    let named = |fingerprint| over_websocket("bob", "alice", &[&named[..], &[fingerprint]].concat());
    let mut bob = Process::start(&mut named(&found.fingerprint));
    bob.until("connected as bob");
    bob.say("hi");
    alice.until("bob: hi");
    let refused = run(named(&"07".repeat(32)));
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("the server's certificate was refused"), "{}", refused.stderr);
}
