//! Strangers who do not keep the rules: what each is told, and that it costs nobody else anything.

mod caps;
mod datagrams;
mod door;
mod flood;
mod garbage;
mod memory;
mod slow;
mod streams;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use quail_protocol::{
    Opcode, Operation,
    frame::{self, Head},
    session::Ping,
};
use quail_tests::{Carrier, Town, next_message, within};

/// Two users who exchange a thousand messages and get every one.
async fn thousand_round_trips(town: &Town) {
    let (alice, mut to_alice) = town.connect(Carrier::Quic, "alice").await;
    let (bob, mut to_bob) = town.connect(Carrier::WebSocket, "bob").await;
    let (to, back) = (alice.peer("bob").unwrap(), bob.peer("alice").unwrap());
    for i in 0..1000u64 {
        let sent = within(to.send("ping")).await.unwrap();
        assert_eq!(sent.position.seq.0, 2 * i + 1);
        assert_eq!(next_message(&mut to_bob).await.position, sent.position);
        let answered = within(back.send("pong")).await.unwrap();
        assert_eq!(next_message(&mut to_alice).await.position, answered.position);
    }
}

/// Runs the round trips, and `attack` again and again until they are done, but at least once.
async fn beside(town: &Town, attack: impl AsyncFn()) {
    let done = AtomicBool::new(false);
    let trips = async {
        thousand_round_trips(town).await;
        done.store(true, Ordering::Release);
    };
    let attacks = async {
        loop {
            attack().await;
            if done.load(Ordering::Acquire) {
                break;
            }
        }
    };
    futures_util::future::join(trips, attacks).await;
}

fn request(request_id: u32, opcode: Opcode, body: &[u8]) -> Bytes {
    frame::encode_raw(&Head::Request { request_id, opcode }, body)
}

fn ping(request_id: u32) -> Bytes {
    request(request_id, Ping::INFO.opcode, &[])
}
