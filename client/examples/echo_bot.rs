//! Answers every text message with the same text.
//!
//! `cargo run -p quail-client --example echo_bot -- 127.0.0.1:4433 <fingerprint> <token> echo`

use std::{env, error::Error};

use quail_client::{
    Client, Platform, Trust,
    protocol::{
        Conversation, Event,
        message::{MessageKind, Text},
    },
};
use tokio::task::JoinSet;

/// Answers under way at a time; further messages wait in the event queue.
const ANSWERS_MAX: usize = 32;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, fingerprint, token, me] = arguments.as_slice() else {
        return Err("usage: echo_bot <host:port> <certificate sha-256> <token> <me>".into());
    };
    let (client, mut events) = Client::builder(address)
        .app("demo")
        .user(me)
        .token(token)
        .platform(Platform::Bot)
        .trust(Trust::fingerprint(fingerprint)?)
        .connect()
        .await?;
    let mut answers = JoinSet::new();
    while let Some(event) = events.recv().await {
        let Event::MessageSent(message) = event else { continue };
        let to_me = matches!(&message.conversation, Conversation::Peer(user) if user == client.user_id());
        if !to_me || message.sender == *client.user_id() || message.content.kind != MessageKind::Text {
            continue;
        }
        let answer = client.peer(message.sender.as_str())?.message(Text::decode(&message.content.body)?.text);
        while answers.len() >= ANSWERS_MAX {
            answers.join_next().await;
        }
        answers.spawn(async move {
            if let Err(unsent) = answer.send().await {
                eprintln!("not answered: {}", unsent.error);
            }
        });
    }
    Err("the connection ended".into())
}
