//! Shards that wait for the end of a turn.
//!
//! A connection often brings several messages at once, and telling a shard costs the same for one and for four. A task that
//! is begun for the first of them is run by another thread before the second is read. So while a driver takes in what came,
//! lines are gathered, and their tasks begin when it is done. Nothing waits for time.

use std::{cell::RefCell, marker::PhantomData, sync::Arc};

use super::line::Line;

thread_local! {
    /// `None` where nobody gathers.
    static GATHERED: RefCell<Option<Vec<Arc<Line>>>> = const { RefCell::new(None) };
}

/// Gathers lines on this thread until it is dropped. Not to be held over an await: it is not `Send`.
#[derive(Debug)]
#[must_use]
pub struct Gather {
    /// It is the outermost.
    begun: bool,
    _here: PhantomData<*const ()>,
}

impl Gather {
    /// From now on.
    pub fn begin() -> Self {
        let first = |gathered: &RefCell<Option<Vec<_>>>| {
            let mut gathered = gathered.borrow_mut();
            let first = gathered.is_none();
            gathered.get_or_insert_default();
            first
        };
        // A thread that ends gathers nothing.
        Self { begun: GATHERED.try_with(first).unwrap_or_default(), _here: PhantomData }
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        if self.begun {
            let gathered = GATHERED.try_with(RefCell::take).unwrap_or_default();
            gathered.into_iter().flatten().for_each(|line| line.begin());
        }
    }
}

/// Begins the task of a line, now or when whoever gathers is done.
pub(super) fn begin(line: &Arc<Line>) {
    let gather = |gathered: &RefCell<Option<Vec<_>>>| {
        let mut gathered = gathered.borrow_mut();
        gathered.iter_mut().for_each(|lines| lines.push(line.clone()));
        gathered.is_some()
    };
    if !GATHERED.try_with(gather).unwrap_or_default() {
        line.begin();
    }
}
