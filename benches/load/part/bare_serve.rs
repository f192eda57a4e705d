//! A QUIC endpoint with the settings and the certificate of a Quail, and nothing behind it.

use std::{net::SocketAddr, path::PathBuf};

use quail_server::{
    carrier::quic::{self, Secrets},
    clock::Clock,
    entropy::Entropy,
    tls::Identity,
};
use quinn::{Connection, Endpoint, Incoming, VarInt};
use serde::{Deserialize, Serialize};

use crate::{
    child::{Orders, say},
    clients::Target,
};

/// How to serve.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// A directory of its own, which exists.
    pub(crate) data: PathBuf,
}

/// Serves until the scenario is gone or says `null`. Answers with a [`Target`].
pub(crate) async fn run() -> anyhow::Result<()> {
    serve(accept).await
}

/// The same with whatever `accept` makes of connections.
pub(super) async fn serve<A>(accept: impl FnOnce(Endpoint) -> A) -> anyhow::Result<()>
where
    A: Future<Output = ()> + Send + 'static,
{
    let mut orders = Orders::listen();
    let Order { data } = orders.first().await?;
    let (clock, entropy) = (Clock::system(), Entropy::from_system()?);
    let identity = Identity::for_development(&data, clock.timestamp())?;
    let secrets = Secrets { reset: entropy.bytes(), token: entropy.bytes() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = quic::Config { listen, ..quic::Config::default() };
    let endpoint = quic::endpoint(&config, identity.quic()?, &secrets)?;
    say(&Target { quic: endpoint.local_addr()?, certificate: data.join("certificate.der") })?;
    let accepting = tokio::spawn(accept(endpoint.clone()));
    _ = orders.next::<()>().await?;
    accepting.abort();
    endpoint.close(VarInt::from_u32(0), b"");
    Ok(())
}

async fn accept(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(hold(incoming));
    }
}

/// Bytes of an answer at most, about as many as the answer to a login has.
const ANSWER_BYTES_MAX: usize = 160;

/// Holds a connection and its streams until its client goes, and answers what is asked on the first.
async fn hold(incoming: Incoming) -> Option<()> {
    let connection: Connection = incoming.accept().ok()?.await.ok()?;
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let mut others = vec![];
    loop {
        tokio::select! {
            opened = connection.accept_bi() => others.push(opened.ok()?),
            asked = receive.read_chunk(16 * 1024, true) => {
                let asked = asked.ok()??.bytes;
                // The name of a stream alone is no question.
                if asked.len() > 1 {
                    send.write_all(&asked[..asked.len().min(ANSWER_BYTES_MAX)]).await.ok()?;
                }
            }
        }
    }
}
