//! One user who writes to their partner.

use std::{sync::Arc, time::Duration};

use quail_client::{CallError, Peer};
use quail_protocol::message::Sent;
use tokio::time::sleep_until;

use super::hall::{Hall, Way};
use crate::{body, flight::Flight, schedule::Schedule};

/// What became of a message: its number, when it was meant to go, and the answer.
type Answered = (u64, Duration, Result<Sent, CallError>);

struct Sender {
    hall: Arc<Hall>,
    way: Arc<Way>,
    partner: Peer,
    bytes: usize,
    in_flight: usize,
    flight: Flight<Answered>,
}

/// What one user sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sends {
    /// When; `None`: again when it may.
    pub(crate) schedule: Option<Schedule>,
    /// Unanswered messages at most.
    pub(crate) in_flight: u32,
    /// Bytes of a text.
    pub(crate) bytes: u32,
    /// So many messages, if it does not go on to the end.
    pub(crate) messages: Option<u64>,
}

/// Sends until the end and waits for the answers.
pub(crate) async fn send_all(hall: Arc<Hall>, way: Arc<Way>, sends: Sends, partner: Peer) {
    let Sends { schedule, in_flight, bytes, messages } = sends;
    let (in_flight, bytes) = (in_flight as usize, bytes as usize);
    let mut sender = Sender { hall, way, partner, bytes, in_flight, flight: Flight::new() };
    for number in 0..messages.unwrap_or(u64::MAX) {
        let intended = match schedule {
            Some(schedule) => schedule.intended(number),
            None => sender.room().await,
        };
        if sender.hall.is_over(intended) {
            break;
        }
        if schedule.is_some() {
            sender.wait(intended).await;
            // It may have been a long wait.
            if sender.hall.is_over(intended) {
                break;
            }
        }
        sender.send(intended).await;
    }
    while let Some(answered) = sender.flight.answer().await {
        sender.answered(answered);
    }
}

impl Sender {
    /// When there is room for another message: now, from the start.
    async fn room(&mut self) -> Duration {
        while self.flight.len() >= self.in_flight {
            let Some(answered) = self.flight.answer().await else { break };
            self.answered(answered);
        }
        self.hall.elapsed()
    }

    /// Waits until a message is due and there is room for it.
    async fn wait(&mut self, intended: Duration) {
        let due = sleep_until(self.hall.at(intended));
        tokio::pin!(due);
        loop {
            let full = self.flight.len() >= self.in_flight;
            tokio::select! {
                biased;
                Some(answered) = self.flight.answer() => self.answered(answered),
                () = &mut due, if !full => return,
            }
        }
    }

    async fn send(&mut self, intended: Duration) {
        let number = self.way.ledger().send();
        let message = self.partner.message(body::write(number, intended, self.bytes));
        let sending = async move { (number, intended, message.send().await.map_err(|unsent| unsent.error)) };
        self.hall.sending(intended);
        if let Some(answered) = self.flight.begin(sending).await {
            self.answered(answered);
        }
    }

    fn answered(&self, (number, intended, answer): Answered) {
        self.hall.answered(&self.way, number, intended, answer);
    }
}
