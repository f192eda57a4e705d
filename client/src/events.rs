//! The app's end of the event queue, and the driver's.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quail_protocol::Event;
use tokio::sync::{
    Semaphore,
    mpsc::{self, OwnedPermit, error::SendError, error::TrySendError},
};

use crate::{
    keeper::{Keeper, Pen},
    tracker::Told,
};

/// What the server says unasked, in the order of each lane.
///
/// Of a conversation the app gets each message once, in the order of each priority, from the first one on that was placed
/// after the client connected or that this client has seen or sent: what was lost on the way or during a reconnect is
/// fetched from the history before what follows. [`Event::Behind`] is only seen where messages are no longer kept or are
/// of another epoch, where the server refuses the history, for a room that the client is not in any more, and for one of
/// more conversations than a client follows.
///
/// One event the client makes itself: [`Event::RoomStateChanged`] says where it stands with a [room](crate::Room).
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
///         Event::MessageSent(message) => println!("{}: {:?}", message.sender, message.content),
///         Event::Behind(behind) => println!("{} has messages up to {:?}", behind.conversation, behind.head),
///         other => println!("{other:?}"),
///     }
/// }
/// # }
/// ```
pub struct Events {
    receiver: mpsc::Receiver<Queued>,
    /// Of the event that was received last.
    waited: bool,
    keeper: Option<Arc<Keeper>>,
}

impl Events {
    /// The next event, or `None` after the connection ended for good and all events were taken. Cancel safe.
    ///
    /// With a [storage](crate::Builder::storage), asking says that the app is done with the event before.
    pub async fn recv(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Like [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.taken();
        let Some(Queued { event, waited }) = ready!(self.receiver.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        if let Some(keeper) = &self.keeper {
            keeper.handed();
        }
        self.waited = waited;
        Poll::Ready(Some(event))
    }

    /// True if the event received last is a message that had waited for this client: it was placed before the connection
    /// stood over which it came. ZIM's `isOfflineMessage`.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Says that the app is done with all events it has received: after a restart they do not come again. The next
    /// [`recv`](Self::recv) says the same. Without a [storage](crate::Builder::storage) it does nothing.
    pub fn taken(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.taken();
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.left();
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.receiver.len()).finish_non_exhaustive()
    }
}

/// An event on its way to the app.
#[derive(Debug)]
struct Queued {
    event: Event,
    waited: bool,
}

type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<Queued>, SendError<()>>> + Send>>;

/// The driver's end: holds one event that found no room.
pub(crate) struct EventQueue {
    sender: mpsc::Sender<Queued>,
    pen: Option<Pen>,
    held: Option<(Queued, Room)>,
}

/// A queue of `capacity` events, at least one.
pub(crate) fn queue(capacity: usize, keeper: Option<Arc<Keeper>>) -> (EventQueue, Events) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    let queue = EventQueue { sender, pen: keeper.as_ref().map(|keeper| keeper.pen()), held: None };
    (queue, Events { receiver, waited: false, keeper })
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
    pub(crate) fn push(&mut self, told: Told) {
        if let Some(pen) = &self.pen {
            pen.queued(told.event.is_some(), told.note);
        }
        let Some(event) = told.event else { return };
        match self.sender.try_send(Queued { event, waited: told.waited }) {
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

    fn told(number: u16) -> Told {
        Told { event: Some(event(number)), ..Told::default() }
    }

    #[test]
    fn a_capacity_without_bound_is_the_largest_there_is() {
        let (mut queue, mut events) = queue(usize::MAX, None);
        queue.push(told(1));
        assert!(events.poll_recv(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn an_event_without_room_waits_and_keeps_its_place() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut queue, mut events) = queue(1, None);
        queue.push(told(1));
        assert!(queue.poll_ready(&mut cx).is_ready());
        queue.push(told(2));
        assert!(queue.poll_ready(&mut cx).is_pending());
        assert_eq!(events.poll_recv(&mut cx), Poll::Ready(Some(event(1))));
        assert!(queue.poll_ready(&mut cx).is_ready());
        assert_eq!(events.poll_recv(&mut cx), Poll::Ready(Some(event(2))));
        drop(events);
        queue.push(told(3));
        assert!(queue.poll_ready(&mut cx).is_ready());
    }
}
