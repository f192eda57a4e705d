//! One user who writes to their partner.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quail_client::{CallError, Peer};
use quail_protocol::message::Sent;
use tokio::time::sleep_until;

use super::hall::{Hall, Way};
use crate::{body, schedule::Schedule};

/// A message without an answer: its number, when it was meant to go, and what becomes of it.
type Sending = Pin<Box<dyn Future<Output = (u64, Duration, Result<Sent, CallError>)> + Send>>;

struct Sender {
    hall: Arc<Hall>,
    way: Arc<Way>,
    partner: Peer,
    bytes: usize,
    in_flight: usize,
    flight: FuturesUnordered<Sending>,
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
    let mut sender = Sender { hall, way, partner, bytes, in_flight, flight: FuturesUnordered::new() };
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
    while let Some(answered) = sender.flight.next().await {
        sender.answered(answered);
    }
}

impl Sender {
    /// When there is room for another message: now, from the start.
    async fn room(&mut self) -> Duration {
        while self.flight.len() >= self.in_flight {
            let Some(answered) = self.flight.next().await else { break };
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
                Some(answered) = self.flight.next(), if !self.flight.is_empty() => self.answered(answered),
                () = &mut due, if !full => return,
            }
        }
    }

    async fn send(&mut self, intended: Duration) {
        let number = self.way.ledger().send();
        let message = self.partner.message(body::write(number, intended, self.bytes));
        let sending = async move { (number, intended, message.send().await.map_err(|unsent| unsent.error)) };
        let mut sending: Sending = Box::pin(sending);
        self.hall.sending(intended);
        // Calls go out in the order in which they are first polled.
        match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
            Poll::Ready(answered) => self.answered(answered),
            Poll::Pending => self.flight.push(sending),
        }
    }

    fn answered(&self, (number, intended, answer): (u64, Duration, Result<Sent, CallError>)) {
        self.hall.answered(&self.way, number, intended, answer);
    }
}
