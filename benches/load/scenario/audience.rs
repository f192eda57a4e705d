//! Those who listen to a server and those who speak, in processes of their own.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    child::{Child, PATIENCE},
    clients::Crowd,
    cpu::{self, Cpu, Memory},
    flags::Shared,
    latency::Latencies,
    part::{
        Part,
        attend::{Ask, Counted, Heard, House, Order, Round, Spoke},
    },
};

/// Who comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seats {
    /// Those who listen.
    pub(super) listeners: u32,
    /// Those who speak.
    pub(super) speakers: u32,
    /// Where.
    pub(super) rooms: u32,
    /// All in one process, so that those who speak know how far the others are.
    pub(super) together: bool,
}

/// See the module.
pub(super) struct Audience {
    server: u32,
    rooms: u32,
    listening: Vec<Child>,
    /// Those who speak, if they are in a process of their own.
    speaking: Option<Child>,
}

/// What a round was like.
pub(super) struct Played {
    /// Processor time of the server.
    pub(super) cpu: Cpu,
    /// On the wall, from the first word to the last that was heard.
    pub(super) seconds: f64,
    /// Bytes that the server had at most, above what it had before.
    pub(super) grown: u64,
    /// Bytes it had before.
    pub(super) resident: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) counted: Counted,
    pub(super) latencies: Latencies,
    /// Bytes of the protocol that listeners received.
    pub(super) received: u64,
    pub(super) late: Latencies,
}

impl Audience {
    /// Lets them all in; `server` is the process id of it.
    pub(super) async fn open(
        house: &House,
        server: u32,
        seats: Seats,
        shared: &Shared,
    ) -> anyhow::Result<Self> {
        let Seats { listeners, speakers, rooms, together } = seats;
        let processes = if together { 1 } else { shared.processes };
        // Speakers come behind all users that there may be.
        let first_speaker = listeners.next_multiple_of(2);
        let order = |crowd, speakers| Order { crowd, speakers, first_speaker, rooms };
        let mut listening = vec![];
        for crowd in Crowd::split(house, listeners, processes, shared.per_socket) {
            let speakers = 0..if together { speakers } else { 0 };
            listening.push(Child::start(Part::Attend, &order(crowd, speakers)).await?);
        }
        for child in &mut listening {
            child.hear::<u64>(5 * PATIENCE).await?;
        }
        let mut speaking = None;
        if !together {
            let nobody = Crowd {
                target: house.clone(),
                first: first_speaker,
                users: 0,
                per_socket: shared.per_socket,
            };
            let mut child = Child::start(Part::Attend, &order(nobody, 0..speakers)).await?;
            child.hear::<u64>(PATIENCE).await?;
            speaking = Some(child);
        }
        Ok(Self { server, rooms, listening, speaking })
    }

    /// Sends everybody away.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        for child in self.listening.into_iter().chain(self.speaking) {
            child.end().await?;
        }
        Ok(())
    }

    /// Plays a round to its last delivery.
    pub(super) async fn round(&mut self, round: Round) -> anyhow::Result<Played> {
        let resident = Memory::of(self.server)?.resident;
        cpu::forget_peak(self.server)?;
        let (before, started) = (Cpu::of(self.server)?, Instant::now());
        let patience = std::time::Duration::from_millis(round.milliseconds) + PATIENCE;
        let mut played = Played {
            cpu: Cpu::default(),
            seconds: 0.0,
            grown: 0,
            resident,
            sent: 0,
            accepted: 0,
            refused: BTreeMap::new(),
            counted: Counted::default(),
            latencies: Latencies::new()?,
            received: 0,
            late: Latencies::new()?,
        };
        let mut accepted = vec![0; self.rooms as usize];
        // Those who speak begin when everybody listens.
        for child in self.listening.iter_mut().chain(&mut self.speaking) {
            child.tell(&Ask::Speak(round)).await?;
            let spoke: Spoke = child.hear(patience).await?;
            played.sent += spoke.sent;
            accepted.iter_mut().zip(&spoke.accepted).for_each(|(sum, more)| *sum += more);
            for (reason, count) in spoke.refused {
                *played.refused.entry(reason).or_default() += count;
            }
            played.late.merge(&spoke.late);
        }
        played.accepted = accepted.iter().sum();
        for child in &mut self.listening {
            child.tell(&Ask::Settle(accepted.clone())).await?;
        }
        for child in &mut self.listening {
            let heard: Heard = child.hear(patience).await?;
            played.counted.add(&heard.counted);
            played.latencies.merge(&heard.latencies);
            played.received += heard.received;
        }
        played.seconds = started.elapsed().as_secs_f64();
        played.cpu = Cpu::of(self.server)?.since(before);
        played.grown = cpu::peak(self.server)?.saturating_sub(resident);
        Ok(played)
    }
}
