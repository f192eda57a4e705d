//! A running broker, set up for what it is asked here as its manual says.

use std::{
    fs,
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    process::{Child, Command},
    time::{interval, timeout},
};

use super::{Protocol, Target};
use crate::child::PATIENCE;

/// How to start a broker.
pub(crate) struct Order<'a> {
    /// Which, and what its clients speak.
    pub(crate) protocol: Protocol,
    /// Whether it speaks TLS, and only that.
    pub(crate) tls: bool,
    /// Where it and its configuration are kept: a directory that others use, too.
    pub(crate) scratch: &'a Path,
    /// Where it listens.
    pub(crate) listen: IpAddr,
    /// The network namespace it runs in, if not in this one.
    pub(crate) namespace: Option<&'a str>,
}

/// A broker that is not installed.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not installed: apt-get install {0}")]
pub(crate) struct Absent(pub(crate) &'static str);

/// See the module. Killed when dropped.
pub(crate) struct Broker {
    process: Child,
    id: u32,
    /// How clients reach it.
    pub(crate) target: Target,
    /// What it says of its version.
    pub(crate) version: String,
    /// Its configuration.
    pub(crate) configuration: String,
}

/// Certificate and key as files.
struct Pem {
    certificate: PathBuf,
    key: PathBuf,
}

/// How often is looked whether it listens.
const LOOKING: Duration = Duration::from_millis(5);

/// Where Debian has daemons, which is not on everybody's path.
const DAEMONS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

impl Broker {
    /// Starts one and waits until it listens; fails with [`Absent`] if it is not installed.
    pub(crate) async fn start(order: Order<'_>) -> anyhow::Result<Self> {
        let Order { protocol, tls, scratch, listen, namespace } = order;
        let program = find(protocol.program()).ok_or(Absent(protocol.program()))?;
        let version = version(protocol, &program).await?;
        lift_open_files()?;
        let directory = tempfile::Builder::new().prefix(protocol.program()).tempdir_in(scratch)?.keep();
        let pem = if tls { Some(certificate(&directory, listen)?) } else { None };
        let address = SocketAddr::new(listen, free_port()?);
        let configuration = configuration(protocol, address, pem.as_ref());
        let path = directory.join("configuration");
        fs::write(&path, &configuration)?;
        let mut command = match namespace {
            None => Command::new(&program),
            Some(namespace) => {
                // `ip` becomes the broker, so that it is that which is killed.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&program);
                command
            }
        };
        let log = fs::File::create(directory.join("log"))?;
        let mut process = command
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let id = process.id().context("it ended at once")?;
        let wait = async {
            let mut often = interval(LOOKING);
            while !listens(id, address.port())? {
                if let Some(status) = process.try_wait()? {
                    let log = fs::read_to_string(directory.join("log"))?;
                    bail!("{} ended early ({status}): {log}", program.display());
                }
                often.tick().await;
            }
            Ok(())
        };
        timeout(PATIENCE, wait).await.with_context(|| format!("{} does not listen", program.display()))??;
        let target = Target { protocol, address, certificate: pem.map(|pem| pem.certificate) };
        Ok(Self { process, id, target, version, configuration })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("{} ended early ({status})", self.target.protocol.program());
        }
        Ok(self.process.kill().await?)
    }
}

/// A program on the path or among the daemons.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = DAEMONS.into_iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(daemons).map(|at| at.join(program)).find(|file| file.is_file())
}

async fn version(protocol: Protocol, program: &Path) -> anyhow::Result<String> {
    let asked = match protocol {
        Protocol::Nats => "--version",
        Protocol::Mqtt(_) => "-h",
    };
    let output = Command::new(program).arg(asked).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().context("it has no version")?.to_owned())
}

/// Lets this process and those that it starts from now on have as many open files as the system allows.
fn lift_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("cannot lift the limit of files")
}

/// A port that nobody has; neither broker tells which one it took by itself.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A new certificate for the address, with the same kind of key as a Quail's.
fn certificate(directory: &Path, listen: IpAddr) -> anyhow::Result<Pem> {
    let made = rcgen::generate_simple_self_signed([listen.to_string()])?;
    let pem = Pem { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
    fs::write(&pem.certificate, made.cert.pem())?;
    let mut key = fs::File::create(&pem.key)?;
    key.write_all(made.signing_key.serialize_pem().as_bytes())?;
    Ok(pem)
}

/// Whether a process listens on the port, by the sockets of the network namespace that it is in.
fn listens(process: u32, port: u16) -> anyhow::Result<bool> {
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{process}/net/{table}");
        // A machine may be without IPv6.
        if has_listener(&fs::read_to_string(path).unwrap_or_default(), port) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a table of sockets has one that listens on the port.
fn has_listener(table: &str, port: u16) -> bool {
    /// What the kernel calls it.
    const LISTEN: &str = "0A";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (fields.next(), fields.next(), fields.next());
        let local = local.and_then(|local| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok());
        local == Some(port) && state == Some(LISTEN)
    })
}

/// What the broker is started with.
fn configuration(protocol: Protocol, address: SocketAddr, pem: Option<&Pem>) -> String {
    match protocol {
        Protocol::Nats => nats(address, pem),
        Protocol::Mqtt(_) => mosquitto(address, pem),
    }
}

/// By <https://docs.nats.io/running-a-nats-service/configuration>. Nobody logs in: `authorization` is left out, and with it
/// what checking a token costs a Quail.
fn nats(address: SocketAddr, pem: Option<&Pem>) -> String {
    // As many clients as there may be (64 Ki by default), and more than a burst for whoever lags, so that nobody is cut off
    // as a slow consumer in a run that ought to lose nothing (64 MB and 10 s by default). Nobody is asked whether they are
    // there while another side has its turn (2 min by default).
    let mut text = format!(
        "listen: \"{address}\"\nmax_connections: 1000000\nmax_pending: 256MB\nwrite_deadline: \"60s\"\nping_interval: \"10m\"\n\
         log_file: \"/dev/null\"\n"
    );
    if let Some(Pem { certificate, key }) = pem {
        // Ciphers of TLS 1.3 cannot be chosen here; the client offers only one.
        text += &format!(
            "tls {{\n  cert_file: \"{}\"\n  key_file: \"{}\"\n  timeout: 60\n}}\n",
            certificate.display(),
            key.display()
        );
    }
    text
}

/// By mosquitto.conf(5).
fn mosquitto(address: SocketAddr, pem: Option<&Pem>) -> String {
    // It would become another user, who cannot read the certificate. Nothing is logged, stored or published by itself. Each
    // message leaves at once, as with NATS, which has no other way. Nothing that waits is dropped, and whoever acknowledges
    // may be behind by any number of messages (1,000 and 20 by default).
    let mut text = format!(
        "user root\nlistener {} {}\nallow_anonymous true\nmax_connections -1\npersistence false\nlog_dest none\n\
         sys_interval 0\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0\n",
        address.port(),
        address.ip()
    );
    if let Some(Pem { certificate, key }) = pem {
        text += &format!(
            "certfile {}\nkeyfile {}\ntls_version tlsv1.3\nciphers_tls1.3 TLS_AES_128_GCM_SHA256\n",
            certificate.display(),
            key.display()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::broker::{Qos, Told, client::Connector};

    #[test]
    fn whoever_listens_is_found_among_the_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000\n";
        assert_eq!([8080, 8081, 8082].map(|port| has_listener(table, port)), [true, false, false]);
        assert!(!has_listener("", 8080));
    }

    #[tokio::test]
    async fn what_one_client_publishes_another_hears_in_order() {
        let scratch = tempfile::tempdir().unwrap();
        let all = [Protocol::Nats, Protocol::Mqtt(Qos::AtMostOnce), Protocol::Mqtt(Qos::AtLeastOnce)];
        for (protocol, tls) in all.into_iter().flat_map(|protocol| [(protocol, false), (protocol, true)]) {
            let listen = IpAddr::from([127, 0, 0, 1]);
            let order = Order { protocol, tls, scratch: scratch.path(), listen, namespace: None };
            let broker = match Broker::start(order).await {
                Err(error) if error.is::<Absent>() => {
                    // There is no other reason to leave it out.
                    assert_eq!(find(protocol.program()), None);
                    continue;
                }
                started => started.unwrap(),
            };
            assert!(broker.version.contains('.'), "{}", broker.version);
            let connector = Connector::new(broker.target.clone()).unwrap();
            let (mut one, mut other) =
                (connector.connect("one").await.unwrap(), connector.connect("other").await.unwrap());
            other.subscribe("a").await.unwrap();
            let said: Vec<Vec<u8>> = [0, 5, 300, 20_000].map(|bytes| vec![b'x'; bytes]).to_vec();
            let mut out = BytesMut::new();
            said.iter().for_each(|body| one.publish(&mut out, "a", body));
            one.send(out.freeze()).await.unwrap();
            for body in &said {
                let Told::Message { body: heard, packet } = other.next().await.unwrap() else { panic!() };
                assert_eq!((&heard[..], packet.is_some()), (&body[..], protocol.acknowledges()));
            }
            other.answer().await.unwrap();
            if protocol.acknowledges() {
                for packet in 1..=said.len() as u16 {
                    assert_eq!(one.next().await.unwrap(), Told::Acknowledged(packet));
                }
            }
            one.settle().await.unwrap();
            other.settle().await.unwrap();
            broker.stop().await.unwrap();
        }
    }

    #[test]
    fn a_program_that_nobody_has_is_not_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("quail-no-such-broker"), None);
    }
}
