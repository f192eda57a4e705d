//! Whether a history kept what Quail promises. Pure, and in `O(n log n)`: it reads records and nothing else.
//!
//! What it takes for granted, so that it never blames a server for how a test wrote things down:
//!
//! - Records stand in the order of time. `Send` and `LoggedIn` are written before anything that follows from them, all
//!   others when their task learns of them; where that may be late against another task's record, [`LAG`] is allowed.
//! - A thread's last `Log` is read after everything stopped. I1, I17 and what is missing at the end (I15, I22) say
//!   nothing of a thread without one.
//! - An app whose client is made anew writes `AppRestarted`. Its calls without an answer end there, without a record.
//! - A device *follows* a thread from the first it was handed, told or had acknowledged of it in this life of its app,
//!   or from a cursor it resumed with, whichever stands first. `AppRestarted { kept: false }` begins a new life.
//! - What a device sent is its *own*: it may fill a number without being received. Handed to the same run of the app that
//!   sent it, it breaks I4.
//! - A number goes on across epochs or starts again at 1; a `prev` means the newest incarnation of that number that is
//!   not newer than the message, and so does a cursor. Messages of an epoch before the head's that are not in the log were rolled back: nobody
//!   has to have them, and their ids may be placed again.
//! - I6 compares sends that were begun and acknowledged in one stretch between `LoggedIn` and `Disconnected`, each
//!   recorded once. Calls of one priority go out in the order of their `Send` records.
//! - I7 and I9 take the first `Send` of an id as its beginning, and a `Received` for as good as an ack.
//! - An epoch may step from the `ServerEnded` before a `ServerStarted { epoch_stepped: true }` on.
//! - I14: a device asks for one mark after the other. Marks may go back when an epoch steps, because they have none.
//! - I15 and I22 look at the end only if there was `Healed`, at devices that were not kicked out; `Disconnected` after
//!   the first `Log` or `Complete` is the test putting things away. A gap covers whatever stands up to it.
//! - A number that nobody saw may be an own send without an answer, if the device has one; else I5 misses it.
//! - I18: an answer that comes after the device's next login says nothing.

use std::{fmt, time::Duration};

use crate::history::Record;

mod device;
mod index;
mod mark;
mod order;
mod place;
pub mod room;
mod settle;

/// A record may be so much later than what it tells of.
pub const LAG: Duration = Duration::from_secs(1);

/// After nothing is broken any more, everything is settled within this time.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(10);

macro_rules! rules {
    ($($name:ident $says:literal,)*) => {
        /// A promise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $says] $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it promises.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says),* }
            }
        }
    };
}

rules! {
    I1 "an acknowledged message stands in the log at its place",
    I2 "what is handed out was sent, by this user, with this content",
    I3 "a number of a thread means one message to everybody, and the log has no hole",
    I4 "a message has one place, and an app is handed it once",
    I5 "an app is handed each priority in order, and nothing is skipped in silence",
    I6 "what a session sends at one priority stands in the order it was sent",
    I7 "what was sent after another was acknowledged stands behind it",
    I9 "a number is given once in an epoch, and epochs step only when planned",
    I14 "read is at most delivered, delivered at most the head, and neither goes back",
    I15 "the answer to a cursor is true, and what it announces arrives",
    I17 "a send without an answer was placed once or not at all, a refused one not at all",
    I18 "a session that was ended sends nothing more",
    I20 "a device is handed nothing of other users' threads",
    I22 "after faults end, every call is answered and every device is complete",
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// The records that show it.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {}", self.rule, self.rule.says(), self.text)
    }
}

/// Every promise that `history` shows broken; a consequence may be listed beside its cause.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let index = index::Index::new(history);
    let mut found = Found::default();
    place::check(&index, &mut found);
    order::check(&index, &mut found);
    let follows = device::check(&index, &mut found);
    mark::check(&index, &mut found);
    settle::check(&index, &follows, &mut found);
    found.0
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: Rule, text: String) {
        self.0.push(Violation { rule, text });
    }
}

#[cfg(test)]
mod tests;
