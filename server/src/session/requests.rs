//! Which requests of a session were served, and what was answered: so that a client whose connection was lost can ask
//! again and nothing is done twice. Pure.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use quail_protocol::{
    Class,
    limits::{REPLIES_KEPT_BYTES_MAX, REPLIES_KEPT_MAX, REQUEST_ID_SPREAD_MAX},
};

use super::outbox::Way;

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Serve it.
    New,
    /// It is being served already and will be answered.
    Serving,
    /// It was served; this was the answer.
    Answered(Way, Bytes),
    /// It was served, and the answer is no longer kept.
    Forgotten,
}

#[derive(Debug)]
struct Kept {
    id: u32,
    way: Way,
    frame: Bytes,
}

/// See the module. A query has no effect and is served as often as it is asked; a refused request had none.
#[derive(Debug, Default)]
pub struct Requests {
    newest: u32,
    serving: BTreeSet<u32>,
    replies: VecDeque<Kept>,
    reply_bytes: usize,
    /// Served requests whose replies were given up, as far back as a client may ask.
    forgotten: BTreeSet<u32>,
}

impl Requests {
    /// A request arrived, on whichever connection.
    pub fn begin(&mut self, id: u32, class: Class) -> Begun {
        self.newest = self.newest.max(id);
        if class == Class::Query {
            return Begun::New;
        }
        if let Some(kept) = self.replies.iter().find(|kept| kept.id == id) {
            return Begun::Answered(kept.way, kept.frame.clone());
        }
        if self.forgotten.contains(&id) || id.saturating_add(REQUEST_ID_SPREAD_MAX) <= self.newest {
            return Begun::Forgotten;
        }
        if self.serving.insert(id) { Begun::New } else { Begun::Serving }
    }

    /// A request was served.
    pub fn served(&mut self, id: u32, class: Class, way: Way, frame: Bytes) {
        if class == Class::Query {
            return;
        }
        self.serving.remove(&id);
        self.reply_bytes += frame.len();
        self.replies.push_back(Kept { id, way, frame });
        while self.replies.len() > REPLIES_KEPT_MAX || self.reply_bytes > REPLIES_KEPT_BYTES_MAX {
            let Some(oldest) = self.replies.pop_front() else { break };
            self.reply_bytes -= oldest.frame.len();
            self.forgotten.insert(oldest.id);
        }
        let reach = self.newest.saturating_sub(REQUEST_ID_SPREAD_MAX);
        while self.forgotten.first().is_some_and(|id| *id <= reach) {
            self.forgotten.pop_first();
        }
    }

    /// The answer to the login was the last so far: it is large, and is asked for on no other connection.
    pub fn logged_in(&mut self) {
        self.forgotten.extend(self.replies.drain(..).map(|kept| kept.id));
        self.reply_bytes = 0;
    }

    /// A request was refused: it may be asked again.
    pub fn refused(&mut self, id: u32) {
        self.serving.remove(&id);
    }

    /// The largest id so far.
    pub fn newest(&self) -> u32 {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::Lane;

    use super::*;

    fn frame(length: usize) -> Bytes {
        vec![7; length].into()
    }

    #[test]
    fn a_change_is_served_once_and_its_answer_repeated() {
        let mut requests = Requests::default();
        for class in [Class::Change, Class::Send] {
            let id = requests.newest() + 1;
            assert_eq!(requests.begin(id, class), Begun::New);
            assert_eq!(requests.begin(id, class), Begun::Serving);
            requests.served(id, class, Lane::High.into(), frame(3));
            assert_eq!(requests.begin(id, class), Begun::Answered(Lane::High.into(), frame(3)));
        }
    }

    #[test]
    fn a_query_is_served_again_and_a_refusal_is_not_remembered() {
        let mut requests = Requests::default();
        assert_eq!(requests.begin(1, Class::Query), Begun::New);
        requests.served(1, Class::Query, Lane::Control.into(), frame(100_000));
        assert_eq!(requests.begin(1, Class::Query), Begun::New);
        assert_eq!(requests.begin(2, Class::Change), Begun::New);
        requests.refused(2);
        assert_eq!(requests.begin(2, Class::Change), Begun::New);
        assert_eq!(requests.newest(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_given_up_is_never_served_again() {
        for bytes in [10, 2000] {
            let mut requests = Requests::default();
            for id in 1..=5000 {
                assert_eq!(requests.begin(id, Class::Change), Begun::New);
                requests.served(id, Class::Change, Lane::Control.into(), frame(bytes));
            }
            let kept = REPLIES_KEPT_MAX.min(REPLIES_KEPT_BYTES_MAX / bytes);
            assert_eq!((requests.replies.len(), requests.reply_bytes), (kept, kept * bytes));
            assert!(requests.forgotten.len() <= REQUEST_ID_SPREAD_MAX as usize);
            for id in 1..=5000 - kept as u32 {
                assert_eq!(requests.begin(id, Class::Change), Begun::Forgotten, "{id}");
            }
            assert!(matches!(requests.begin(5000, Class::Change), Begun::Answered(..)));
        }
    }

    #[test]
    fn one_answer_above_the_bound_is_given_up_at_once() {
        let mut requests = Requests::default();
        requests.begin(1, Class::Change);
        requests.served(1, Class::Change, Lane::Control.into(), frame(REPLIES_KEPT_BYTES_MAX + 1));
        assert_eq!(requests.begin(1, Class::Change), Begun::Forgotten);
        assert_eq!(requests.reply_bytes, 0);
    }

    #[test]
    fn the_answer_to_a_login_takes_no_memory() {
        let mut requests = Requests::default();
        requests.begin(1, Class::Change);
        requests.served(1, Class::Change, Lane::Control.into(), frame(8000));
        requests.logged_in();
        assert_eq!((requests.reply_bytes, requests.begin(1, Class::Change)), (0, Begun::Forgotten));
    }

    #[test]
    fn a_request_that_a_lane_held_back_is_still_new() {
        let mut requests = Requests::default();
        requests.begin(9, Class::Change);
        assert_eq!(requests.begin(4, Class::Change), Begun::New);
    }
}
