//! The state of a connection, fed as the driver feeds it.

use std::time::{Duration, Instant};

use quail_protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use quail_server::session::state::{Deadlines, Input, State};

use super::Choices;

const SECOND: Duration = Duration::from_secs(1);

struct Connection {
    state: State,
    now: Instant,
    closed: bool,
    asked: u32,
    in_flight: usize,
}

/// It ends once, and then nothing is read; no more requests are read than may be in flight; and after what was due was
/// done, the next is in the future, so that the driver does not spin.
pub(super) fn run(mut choices: Choices<'_>) {
    let now = Instant::now();
    let deadlines = Deadlines {
        greeting: 5 * SECOND,
        idle: 30 * SECOND,
        write: 10 * SECOND,
        leave: SECOND,
        token_warning: 30 * SECOND,
    };
    let state = State::new(deadlines, 50, now);
    let mut connection = Connection { state, now, closed: false, asked: 0, in_flight: 0 };
    while let Some(choice) = choices.next() {
        let value = choices.next().unwrap_or_default();
        connection.step(choice, value);
    }
}

impl Connection {
    fn step(&mut self, choice: u8, value: u8) {
        match choice % 14 {
            0 => self.input(Input::Heard),
            1 => self.request(self.asked.saturating_add(1)),
            2 => self.request(u32::from(value) * 16),
            3 if self.in_flight > 0 => {
                self.in_flight -= 1;
                self.input(Input::Answered);
            }
            3 | 4 => self.input(Input::LoggedIn),
            5 => self.input(Input::Resumed { newest: value.into() }),
            6 => self.input(Input::Token { expires: self.now + u32::from(value) * SECOND }),
            7 => self.input(Input::LoginsRefused(value)),
            8 => self.input(Input::LoggedOut),
            9 => self.input(Input::Wrote { pending: value.is_multiple_of(2) }),
            10 => self.input(Input::WriteStalled),
            11 => self.input(Input::Drain),
            12 => self.input(Input::Free(value.into())),
            _ => self.now += u32::from(value) * SECOND / 8,
        }
        self.wait();
        assert!(!self.closed || !self.state.may_read());
    }

    fn request(&mut self, request_id: u32) {
        if self.state.may_read() {
            self.asked = self.asked.max(request_id);
            self.in_flight += 1;
            assert!(self.in_flight <= REQUESTS_IN_FLIGHT_MAX);
            self.input(Input::Request { request_id });
        }
    }

    fn input(&mut self, input: Input) {
        let close = self.state.handle(input, self.now);
        assert!(close.is_none() || !self.closed, "{input:?} ended it again");
        self.closed |= close.is_some();
    }

    /// As the driver waits: what is due is done until nothing is.
    fn wait(&mut self) {
        for _ in 0..4 {
            if self.closed || self.state.deadline() > self.now {
                return;
            }
            self.input(Input::Tick);
            _ = self.state.token_warning(self.now);
        }
        assert!(self.closed || self.state.deadline() > self.now, "it is due for ever: {:?}", self.state);
    }
}
