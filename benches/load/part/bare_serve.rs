//! A QUIC endpoint with the settings and the certificate of a Quail, and nothing behind it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use quail_server::{carrier::quic, clock::Clock, data::DataDirectory, entropy::Entropy, tls::Identity};
use quinn::{Connection, Endpoint, Incoming, VarInt};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    child::{Orders, say},
    clients::Target,
};

/// What is said at the end has so long to be sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// A directory of its own, or of an endpoint that has ended, whose place this one takes.
    pub(crate) data: PathBuf,
    /// On which port. 0: on any.
    pub(crate) port: u16,
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
    let Order { data, port } = orders.first().await?;
    let (clock, entropy) = (Clock::system(), Entropy::from_system()?);
    let directory = DataDirectory::open(&data)?;
    let identity = Identity::for_development(&data, clock.timestamp())?;
    let secrets = directory.endpoint_secrets(&entropy)?;
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let config = quic::Config { listen, ..quic::Config::default() };
    let endpoint = quic::endpoint(&config, identity.quic()?, &secrets)?;
    say(&Target { quic: endpoint.local_addr()?, certificate: data.join("certificate.der") })?;
    let accepting = tokio::spawn(accept(endpoint.clone()));
    _ = orders.next::<()>().await?;
    accepting.abort();
    endpoint.close(VarInt::from_u32(0), b"");
    // Everybody is told, but nobody is waited for who does not answer.
    _ = timeout(GOODBYE, endpoint.wait_idle()).await;
    drop(directory);
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
