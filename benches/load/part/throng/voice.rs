//! A session that speaks, whatever becomes of what it said before.

use std::{sync::Arc, time::Duration};

use quail_protocol::{
    Conversation,
    id::{RoomId, UserId},
    message::{Content, MessageBody, Send, Text},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Hall, Voice,
    program::Program,
    seconds::record,
    session::{self, Session},
    wire::Out,
};
use crate::{body, clients, cpu, part::attend::saying, schedule::Schedule};

/// See the module.
pub(super) struct Voiced {
    session: Arc<Session>,
    out: Out,
    hall: Arc<Hall>,
    /// Messages that it handed over since the start.
    said: u64,
}

impl Voiced {
    pub(super) fn new(session: Arc<Session>, out: Out, hall: Arc<Hall>) -> Self {
        Self { session, out, hall, said: 0 }
    }

    /// Says what the program has for it.
    pub(super) async fn speak(mut self, program: Arc<Program>) -> anyhow::Result<Self> {
        let Some(voice) = self.session.seat.voice else { return Ok(self) };
        let begin = Instant::now() + program.begin.saturating_sub(cpu::since_boot());
        for nth in 0.. {
            let Some(intended) = intended(&program, voice, nth) else { break };
            sleep_until(begin + intended).await;
            self.say(voice, program.begin + intended).await?;
        }
        Ok(self)
    }

    async fn say(&mut self, voice: Voice, intended: Duration) -> anyhow::Result<()> {
        let most = self.hall.order.in_flight;
        let request_id = self.session.hand_over(voice.priority, most);
        let Some(request_id) = request_id else {
            self.hall.note(|second| second.held_back += 1);
            return Ok(());
        };
        let frame = self.frame(voice, request_id, intended)?;
        self.said += 1;
        self.hall.note(|second| {
            second.sent += 1;
            record(&mut second.late, cpu::since_boot().saturating_sub(intended))
        })?;
        // A session that ended answers nothing, which is seen there.
        _ = self.out.write(frame).await;
        Ok(())
    }

    fn frame(&self, voice: Voice, request_id: u32, intended: Duration) -> anyhow::Result<bytes::Bytes> {
        let seat = self.session.seat;
        let number = session::number(seat.user, self.said);
        let text = Text { text: body::write(number, intended, self.hall.order.bytes as usize) };
        let content: Content = text.to_content()?;
        let conversation = match seat.partner {
            Some(partner) => Conversation::Peer(UserId::new(clients::user(partner))?),
            None => Conversation::Room(RoomId::new(format!("room-{}", seat.conversation))?),
        };
        let (id, priority) = (saying::id(number)?, voice.priority);
        if !self.hall.order.bare {
            return Ok(saying::request(request_id, &Send { conversation, id, priority, content }));
        }
        let user = UserId::new(clients::user(seat.user))?;
        let event = saying::event(conversation, &user, (id, self.said + 1), priority, content)?;
        Ok(saying::framed(&event))
    }
}

/// When a voice says its message number `nth`, from the beginning.
fn intended(program: &Program, voice: Voice, nth: u64) -> Option<Duration> {
    let (turn, of) = (u64::from(voice.turn), u64::from(voice.of));
    if voice.is_urgent() {
        let intended = Schedule::new(turn, of, program.urgent_per_second).intended(nth);
        return (intended < program.length()).then_some(intended);
    }
    program.intended(nth * of + turn)
}
