//! Two people and a terminal: sends each line of stdin to the other one, prints what comes back.
//!
//! `cargo run -p quail-client --example chat -- 127.0.0.1:4433 <fingerprint> <token> alice bob`

use std::{env, error::Error};

use quail_client::{
    Client, Events, Trust,
    protocol::{Event, message::Text},
};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, fingerprint, token, me, other] = arguments.as_slice() else {
        return Err("usage: chat <host:port> <certificate sha-256> <token> <me> <other>".into());
    };
    let (client, events) = Client::builder(address)
        .app("demo")
        .user(me)
        .token(token)
        .trust(Trust::fingerprint(fingerprint)?)
        .connect()
        .await?;
    let other = client.peer(other)?;
    tokio::spawn(print(events));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            continue;
        }
        match other.send(line).await {
            Ok(sent) => eprintln!("[{}]", sent.position.seq.0),
            Err(error) => eprintln!("not sent: {error}"),
        }
    }
    client.close().await;
    Ok(())
}

async fn print(mut events: Events) {
    while let Some(event) = events.recv().await {
        match event {
            Event::MessageSent(message) => match Text::decode(&message.content.body) {
                Ok(text) => println!("{}: {}", message.sender, text.text),
                Err(_) => println!("{} sent something this build cannot read", message.sender),
            },
            other => println!("{other:?}"),
        }
    }
}
