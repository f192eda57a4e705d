//! A server, and the sessions that speak and listen to it.

mod cast;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

pub(super) use self::cast::{Cast, Size, Workload};
use crate::{
    child::{Child, PATIENCE},
    clients::Target,
    cpu::{self, Cpu, Memory},
    flags::Shared,
    part::{
        Part,
        attend::Counted,
        throng::{
            Ask, Heard, Order, Seat, Spoke,
            program::{Program, Step},
            seconds::Seconds,
            trail::{self, ByPriority},
        },
    },
};

/// What all messages have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Urgent messages per second.
    pub(super) urgent_per_second: f64,
    /// Bytes of a text.
    pub(super) bytes: u32,
    /// Unanswered messages of a session at most.
    pub(super) in_flight: u32,
}

/// What sessions come over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// QUIC.
    Quic,
    /// A WebSocket at this address.
    WebSocket(SocketAddr),
    /// QUIC, to the bare loop.
    BareLoop,
}

/// See the module.
pub(super) struct Stand {
    server: u32,
    pub(super) cast: Cast,
    manner: Manner,
    speaking: Child,
    listening: Vec<Child>,
}

/// How a program went.
pub(super) struct Played {
    /// What was played.
    pub(super) program: Program,
    /// What happened in each second of it.
    pub(super) seconds: Seconds,
    /// Resident bytes of the server before, at most, and after.
    pub(super) memory: [u64; 3],
    /// Processor time of the server until the last delivery.
    pub(super) cpu: Cpu,
    /// What was heard since the sessions came.
    pub(super) counted: Counted,
    /// Messages that only the history had, since the sessions came.
    pub(super) fetched: u64,
    /// Times that sessions were told to read the history, since they came.
    pub(super) behind: u64,
    /// Sessions that ended, since they came, by the reason.
    pub(super) closed: BTreeMap<String, u64>,
}

/// Between the order and the beginning: all processes have it by then.
const LEAD: Duration = Duration::from_millis(500);

impl Stand {
    /// Lets everybody in.
    pub(super) async fn open(
        (target, server): (&Target, u32),
        cast: Cast,
        over: Over,
        manner: Manner,
        shared: &Shared,
    ) -> anyhow::Result<Self> {
        let order = |seats: &[Seat]| Order {
            target: target.clone(),
            per_socket: shared.per_socket,
            seats: seats.to_vec(),
            bare: over == Over::BareLoop,
            websocket: if let Over::WebSocket(address) = over { Some(address) } else { None },
            bytes: manner.bytes,
            in_flight: manner.in_flight,
        };
        let mut speaking = Child::start(Part::Throng, &order(&cast.speakers)).await?;
        speaking.hear::<u64>(5 * PATIENCE).await?;
        let mut listening = vec![];
        for seats in cast.audiences(shared.processes) {
            listening.push(Child::start(Part::Throng, &order(seats)).await?);
        }
        for child in &mut listening {
            child.hear::<u64>(5 * PATIENCE).await?;
        }
        Ok(Self { server, cast, manner, speaking, listening })
    }

    /// Plays steps to the last delivery.
    pub(super) async fn play(&mut self, steps: Vec<Step>) -> anyhow::Result<Played> {
        let begin = cpu::since_boot() + LEAD;
        let program = Program { begin, steps, urgent_per_second: self.manner.urgent_per_second };
        let (server, before) = (self.server, Cpu::of(self.server)?);
        let resident = Memory::of(server)?.resident;
        cpu::forget_peak(server)?;
        let heard = self.run(&program).await?;
        let mut played = Played {
            program,
            seconds: Seconds::default(),
            memory: [resident, cpu::peak(server)?, Memory::of(server)?.resident],
            cpu: Cpu::of(server)?.since(before),
            counted: Counted::default(),
            fetched: 0,
            behind: 0,
            closed: BTreeMap::new(),
        };
        for heard in heard {
            played.seconds.add(&heard.seconds);
            played.counted.add(&heard.counted);
            played.fetched += heard.fetched;
            played.behind += heard.behind;
            for (reason, count) in heard.closed {
                *played.closed.entry(reason).or_default() += count;
            }
        }
        Ok(played)
    }

    async fn run(&mut self, program: &Program) -> anyhow::Result<Vec<Heard>> {
        let patience = program.length() + 2 * PATIENCE;
        for child in self.listening.iter_mut().chain([&mut self.speaking]) {
            child.tell(&Ask::Speak(program.clone())).await?;
        }
        let mut placed = vec![ByPriority::default(); self.cast.conversations as usize];
        for child in self.listening.iter_mut().chain([&mut self.speaking]) {
            let spoke: Spoke = child.hear(patience).await?;
            for (conversation, more) in spoke.placed {
                if let Some(sum) = placed.get_mut(conversation as usize) {
                    trail::add(sum, &more);
                }
            }
        }
        for child in self.listening.iter_mut().chain([&mut self.speaking]) {
            child.tell(&Ask::Settle(placed.clone())).await?;
        }
        let mut heard = vec![];
        for child in self.listening.iter_mut().chain([&mut self.speaking]) {
            heard.push(child.hear(5 * PATIENCE).await?);
        }
        Ok(heard)
    }

    /// Sends everybody away.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        for child in self.listening.into_iter().chain([self.speaking]) {
            child.end().await?;
        }
        Ok(())
    }
}
