//! The parts of scenarios: servers, clients, controls. Each is a process of its own.

pub(crate) mod attend;
pub(crate) mod bare_fan;
pub(crate) mod bare_serve;
pub(crate) mod bare_store;
pub(crate) mod chat;
pub(crate) mod cling;
pub(crate) mod commit;
pub(crate) mod dwell;
pub(crate) mod heed;
pub(crate) mod knock;
pub(crate) mod listen;
pub(crate) mod mingle;
pub(crate) mod pour;
pub(crate) mod publish;
pub(crate) mod regain;
pub(crate) mod relay;
pub(crate) mod serve;
pub(crate) mod sit;
pub(crate) mod subscribe;
pub(crate) mod throng;

use clap::ValueEnum;

/// A part by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// A Quail.
    Serve,
    /// A QUIC endpoint with a Quail's settings and nothing behind it.
    BareServe,
    /// A loop that writes to every stream of a room, with a Quail's settings and nothing behind it.
    BareFan,
    /// Clients that write to each other.
    Chat,
    /// Clients that come back by themselves.
    Cling,
    /// Members of rooms.
    Attend,
    /// Sessions that speak more than a server takes.
    Throng,
    /// Members of one room who read well, slowly or not at all.
    Heed,
    /// Users who do what people do.
    Mingle,
    /// Members of one room who come and go over a bad network.
    Dwell,
    /// Clients that say nothing.
    Sit,
    /// Clients that come and go.
    Knock,
    /// A client that sends to one other.
    Pour,
    /// Clients that are cut off while others write to them.
    Regain,
    /// A client that takes what comes.
    Listen,
    /// A client that sends to topics, over any carrier.
    Publish,
    /// A client that listens to topics, over any carrier.
    Subscribe,
    /// A bad network between two TUN devices.
    Relay,
    /// Committer and engine without a network.
    Commit,
    /// The engine alone.
    BareStore,
}

impl Part {
    /// As it stands on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::BareServe => "bare-serve",
            Self::BareFan => "bare-fan",
            Self::Chat => "chat",
            Self::Cling => "cling",
            Self::Attend => "attend",
            Self::Throng => "throng",
            Self::Mingle => "mingle",
            Self::Heed => "heed",
            Self::Dwell => "dwell",
            Self::Sit => "sit",
            Self::Knock => "knock",
            Self::Pour => "pour",
            Self::Regain => "regain",
            Self::Listen => "listen",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Relay => "relay",
            Self::Commit => "commit",
            Self::BareStore => "bare-store",
        }
    }
}

/// Plays a part.
pub(crate) fn run(part: Part) -> anyhow::Result<()> {
    // As many threads for a server as the `quail` command gives it; one for what is only to keep it busy.
    let mut runtime = match part {
        Part::Serve | Part::BareServe | Part::BareFan => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    let done = runtime.block_on(async {
        match part {
            Part::Serve => serve::run().await,
            Part::BareServe => bare_serve::run().await,
            Part::BareFan => bare_fan::run().await,
            Part::Chat => chat::run().await,
            Part::Cling => cling::run().await,
            Part::Attend => attend::run().await,
            Part::Throng => throng::run().await,
            Part::Mingle => mingle::run().await,
            Part::Heed => heed::run().await,
            Part::Dwell => dwell::run().await,
            Part::Sit => sit::run().await,
            Part::Knock => knock::run().await,
            Part::Pour => pour::run().await,
            Part::Regain => regain::run().await,
            Part::Listen => listen::run().await,
            Part::Publish => publish::run().await,
            Part::Subscribe => subscribe::run().await,
            Part::Relay => relay::run().await,
            Part::Commit => commit::run().await,
            Part::BareStore => bare_store::run().await,
        }
    });
    // Reading standard input blocks a thread that nothing can wake.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_its_name() {
        for part in Part::value_variants() {
            assert_eq!(Part::from_str(part.name(), false), Ok(*part));
        }
    }
}
