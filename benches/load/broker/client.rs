//! A client of a broker: one connection and what is buffered of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Protocol, Target, Told, mqtt, nats};
use crate::clients;

/// Bytes that are read at a time, at most.
const READ_BYTES: usize = 16 * 1024;

/// TCP, or TLS over it.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Makes connections to one broker.
pub(crate) struct Connector {
    target: Target,
    tls: Option<TlsConnector>,
}

/// See the module.
pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    protocol: Protocol,
    read: BytesMut,
    /// What has to be answered.
    answers: BytesMut,
    /// Bytes that came so far, without those of TLS.
    pub(crate) received: u64,
    /// The number of the last message of MQTT.
    packet: u16,
}

impl Connector {
    /// To this one.
    pub(crate) fn new(target: Target) -> anyhow::Result<Self> {
        let tls = match &target.certificate {
            None => None,
            Some(certificate) => {
                let certificate = CertificateDer::from_pem_file(certificate).context("the certificate")?;
                Some(TlsConnector::from(Arc::new(clients::tls(certificate)?)))
            }
        };
        Ok(Self { target, tls })
    }

    /// Comes in under a name that no other client of the broker has.
    pub(crate) async fn connect(&self, name: &str) -> anyhow::Result<Client> {
        self.open(name, None).await
    }

    /// Comes in by MQTT as whoever had the name before, with what the broker kept for them, and says something at least every
    /// so many seconds.
    pub(crate) async fn come_back(&self, name: &str, often: Duration) -> anyhow::Result<Client> {
        self.open(name, Some(often)).await
    }

    async fn open(&self, name: &str, kept: Option<Duration>) -> anyhow::Result<Client> {
        let Target { protocol, address, .. } = self.target;
        let tcp = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
        tcp.set_nodelay(true)?;
        let mut client = Client {
            stream: Box::new(tcp),
            protocol,
            read: BytesMut::new(),
            answers: BytesMut::new(),
            received: 0,
            packet: 0,
        };
        // NATS greets before TLS begins.
        if protocol == Protocol::Nats {
            client.hear(&Told::Greeting).await?;
        }
        if let Some(tls) = &self.tls {
            ensure!(client.read.is_empty(), "the broker says more before TLS begins");
            let name = ServerName::IpAddress(address.ip().into());
            client.stream = Box::new(tls.connect(name, client.stream).await.context("TLS")?);
        }
        let mut hello = BytesMut::new();
        match protocol {
            Protocol::Nats => nats::connect(&mut hello, self.tls.is_some()),
            Protocol::Mqtt(_) => mqtt::connect(&mut hello, name, kept),
        }
        client.send(hello.freeze()).await?;
        match protocol {
            Protocol::Nats => client.settle().await?,
            Protocol::Mqtt(_) => client.hear(&Told::Connected).await?,
        }
        Ok(client)
    }
}

impl Client {
    /// Wants all messages of a topic from now on.
    pub(crate) async fn subscribe(&mut self, topic: &str) -> anyhow::Result<()> {
        let mut out = BytesMut::new();
        match self.protocol {
            Protocol::Nats => nats::subscribe(&mut out, topic),
            Protocol::Mqtt(qos) => mqtt::subscribe(&mut out, topic, qos),
        }
        self.send(out.freeze()).await?;
        match self.protocol {
            Protocol::Nats => self.settle().await,
            Protocol::Mqtt(_) => self.hear(&Told::Subscribed).await,
        }
    }

    /// Goes on with the numbers of an earlier connection.
    pub(crate) fn go_on_behind(&mut self, earlier: &Self) {
        self.packet = earlier.packet;
    }

    /// The number of the message of MQTT that was put together last.
    pub(crate) fn last_packet(&self) -> u16 {
        self.packet
    }

    /// Puts a message of MQTT behind others, as it was put together for an earlier connection.
    pub(crate) fn repeat(&self, out: &mut BytesMut, message: &[u8]) {
        let from = out.len();
        out.extend_from_slice(message);
        mqtt::repeat(&mut out[from..]);
    }

    /// Puts a message behind others that are sent together.
    pub(crate) fn publish(&mut self, out: &mut BytesMut, topic: &str, body: &[u8]) {
        match self.protocol {
            Protocol::Nats => nats::publish(out, topic, body),
            Protocol::Mqtt(qos) => {
                // 0 is none.
                self.packet = self.packet.checked_add(1).unwrap_or(1);
                mqtt::publish(out, topic, qos, self.packet, body);
            }
        }
    }

    /// Sends what was put together.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Whether the broker says of each message that it has it.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.protocol.acknowledges()
    }

    /// Asks whether the broker is there.
    pub(crate) async fn ping(&mut self) -> anyhow::Result<()> {
        let mut out = BytesMut::new();
        match self.protocol {
            Protocol::Nats => nats::ping(&mut out),
            Protocol::Mqtt(_) => mqtt::ping(&mut out),
        }
        self.send(out.freeze()).await
    }

    /// Waits until the broker has dealt with all that was sent.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        self.ping().await?;
        self.hear(&Told::Pong).await
    }

    /// What the broker says next.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Told> {
        loop {
            if let Some(told) = self.ready()? {
                return Ok(told);
            }
            self.answer().await?;
            ensure!(self.more().await?, "the broker ended the connection");
        }
    }

    /// Something that the broker has said already. What it wants answered is answered by [`answer`](Self::answer).
    pub(crate) fn ready(&mut self) -> anyhow::Result<Option<Told>> {
        let told = self.protocol.decode(&mut self.read)?;
        match &told {
            Some(Told::Ping) => nats::pong(&mut self.answers),
            Some(Told::Message { packet: Some(packet), .. }) => mqtt::acknowledge(&mut self.answers, *packet),
            _ => {}
        }
        Ok(told)
    }

    /// Sends the answers to all that was taken, together.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let answers = self.answers.split().freeze();
        self.send(answers).await
    }

    /// Waits for more bytes. False if there are no more.
    pub(crate) async fn more(&mut self) -> anyhow::Result<bool> {
        self.read.reserve(READ_BYTES);
        let received = self.stream.read_buf(&mut self.read).await?;
        self.received += received as u64;
        Ok(received > 0)
    }

    /// Waits for one thing, whatever is said before.
    async fn hear(&mut self, expected: &Told) -> anyhow::Result<()> {
        while self.next().await? != *expected {}
        self.answer().await
    }
}
