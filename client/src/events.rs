//! The app's end of the event queue, and the driver's.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use quail_protocol::Event;
use tokio::sync::{
    Semaphore,
    mpsc::{self, OwnedPermit, error::SendError, error::TrySendError},
};

/// What the server says unasked, in the order of each lane.
///
/// Of a conversation the app gets each message once, in the order of each priority, from the first one on that was placed
/// after the client connected or that this client has seen or sent: what was lost on the way or during a reconnect is
/// fetched from the history before what follows. [`Event::Behind`] is only seen where messages are no longer kept or are
/// of another epoch, where the server refuses the history, and for one of more conversations than a client follows.
///
/// The queue is bounded and drops nothing: while it is full the client reads nothing from the server, **replies
/// included**. A task that waits for a call between two events can therefore only be overtaken by as many events as the
/// queue holds; a busy app receives in one task and calls in others. Dropping this value discards events unread.
///
/// ```no_run
/// # async fn f(mut events: quail_client::Events) {
/// use quail_client::protocol::Event;
///
/// while let Some(event) = events.recv().await {
///     match event {
///         Event::MessageSent(message) => println!("{}: {:?}", message.sender, message.body),
///         Event::Behind(behind) => println!("{} has messages up to {:?}", behind.conversation, behind.head),
///         other => println!("{other:?}"),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event, or `None` after the connection ended for good and all events were taken. Cancel safe.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// Like [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(cx)
    }
}

type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<Event>, SendError<()>>> + Send>>;

/// The driver's end: holds one event that found no room.
pub(crate) struct EventQueue {
    sender: mpsc::Sender<Event>,
    held: Option<(Event, Room)>,
}

/// A queue of `capacity` events, at least one.
pub(crate) fn queue(capacity: usize) -> (EventQueue, Events) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    (EventQueue { sender, held: None }, Events(receiver))
}

impl EventQueue {
    /// Ready when the next event may be pushed.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((_, room)) = &mut self.held {
            let permit = ready!(room.as_mut().poll(cx));
            if let (Some((event, _)), Ok(permit)) = (self.held.take(), permit) {
                permit.send(event);
            }
        }
        Poll::Ready(())
    }

    /// Hands an event to the app. Only after `poll_ready` was ready.
    pub(crate) fn push(&mut self, event: Event) {
        match self.sender.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(event)) => {
                self.held = Some((event, Box::pin(self.sender.clone().reserve_owned())));
            }
            // The app dropped its end: it wants no events.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// True if the app wants no events any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Gives up the event that waits.
    pub(crate) fn discard(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use quail_protocol::event::Kind;

    use super::*;

    fn event(number: u16) -> Event {
        Event::Unknown { kind: Kind(number), body: Default::default() }
    }

    #[test]
    fn a_capacity_without_bound_is_the_largest_there_is() {
        let (mut queue, mut events) = queue(usize::MAX);
        queue.push(event(1));
        assert!(events.poll_recv(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn an_event_without_room_waits_and_keeps_its_place() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut queue, mut events) = queue(1);
        queue.push(event(1));
        assert!(queue.poll_ready(&mut cx).is_ready());
        queue.push(event(2));
        assert!(queue.poll_ready(&mut cx).is_pending());
        assert_eq!(events.poll_recv(&mut cx), Poll::Ready(Some(event(1))));
        assert!(queue.poll_ready(&mut cx).is_ready());
        assert_eq!(events.poll_recv(&mut cx), Poll::Ready(Some(event(2))));
        drop(events);
        queue.push(event(3));
        assert!(queue.poll_ready(&mut cx).is_ready());
    }
}
