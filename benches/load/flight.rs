//! What was begun and has no answer yet.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use futures_util::{StreamExt, stream::FuturesUnordered};

/// See the module. Everything that is added is begun at once, in the order in which it is added.
pub(crate) struct Flight<T>(FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Flight<T> {
    /// Nothing was begun.
    pub(crate) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    /// How many have no answer yet.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins one; its answer, if that is there at once.
    pub(crate) async fn begin(&mut self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
        // Calls go out in the order in which they are first polled.
        match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => {
                self.0.push(future);
                None
            }
        }
    }

    /// The next answer; `None` if none is missing.
    pub(crate) async fn answer(&mut self) -> Option<T> {
        self.0.next().await
    }
}
