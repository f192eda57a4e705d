//! The life of a connection as a pure state machine: greeting, open, leaving, closed.
//!
//! It knows which requests may be served, when reading must stop, and when the connection must end. It has no clock,
//! no socket and no task: the driver feeds it and obeys.

mod allowance;
mod window;

use std::time::{Duration, Instant};

use quail_protocol::{Close, limits::REQUESTS_IN_FLIGHT_MAX};

use self::{allowance::Allowance, window::Window};

/// Refused logins after which a connection is closed.
const REFUSED_LOGINS_MAX: u8 = 3;

/// The deadlines of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the start to a successful login.
    pub greeting: Duration,
    /// From the last bytes heard to the next.
    pub idle: Duration,
    /// From the last bytes taken to the next, while some are pending.
    pub write: Duration,
    /// From logout or drain to the end.
    pub leave: Duration,
    /// From the warning to the end of a token.
    pub token_warning: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes arrived.
    Heard,
    /// A request arrived.
    Request {
        /// Its id.
        request_id: u32,
    },
    /// The reply to a request was handed to the carrier.
    Answered,
    /// A visitor came.
    Visiting,
    /// A login succeeded.
    LoggedIn,
    /// A login succeeded that goes on with a session.
    Resumed {
        /// The largest request id of the session so far.
        newest: u32,
    },
    /// A token was put in force.
    Token {
        /// When it expires.
        expires: Instant,
    },
    /// Logins refused so far.
    LoginsRefused(u8),
    /// So many requests were answered that drew from no bucket of their user.
    Free(u32),
    /// A logout was served.
    LoggedOut,
    /// The carrier took bytes, or has none to take any more.
    Wrote {
        /// Bytes are still waiting.
        pending: bool,
    },
    /// The carrier takes nothing of what is waiting.
    WriteStalled,
    /// The server goes away.
    Drain,
    /// Time passed.
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting {
        until: Instant,
    },
    /// A visitor is there, who may log in.
    Visiting,
    Open,
    Leaving {
        until: Instant,
        close: Close,
    },
    Closed,
}

/// The state of one connection.
#[derive(Debug)]
pub struct State {
    phase: Phase,
    deadlines: Deadlines,
    window: Window,
    allowance: Allowance,
    in_flight: usize,
    heard: Instant,
    write_stalled_since: Option<Instant>,
    token_expires: Option<Instant>,
    token_warned: bool,
}

impl State {
    /// A connection that was established at `now`, and may ask for so much per second that draws from no bucket.
    pub fn new(deadlines: Deadlines, free_per_second: u32, now: Instant) -> Self {
        Self {
            phase: Phase::Greeting { until: now + deadlines.greeting },
            deadlines,
            window: Window::default(),
            allowance: Allowance::new(free_per_second),
            in_flight: 0,
            heard: now,
            write_stalled_since: None,
            token_expires: None,
            token_warned: false,
        }
    }

    /// Takes one input. `Some` ends the connection with that code, once.
    pub fn handle(&mut self, input: Input, now: Instant) -> Option<Close> {
        let close = match input {
            Input::Heard => {
                self.heard = now;
                None
            }
            Input::Request { request_id } => self.request(request_id),
            Input::Answered => {
                self.in_flight = self.in_flight.saturating_sub(1);
                None
            }
            Input::Visiting => {
                if matches!(self.phase, Phase::Greeting { .. }) {
                    self.phase = Phase::Visiting;
                }
                None
            }
            Input::LoggedIn => {
                if matches!(self.phase, Phase::Greeting { .. } | Phase::Visiting) {
                    self.phase = Phase::Open;
                }
                None
            }
            Input::Resumed { newest } => {
                if matches!(self.phase, Phase::Greeting { .. }) {
                    self.phase = Phase::Open;
                    self.window = Window::behind(newest);
                }
                None
            }
            Input::Token { expires } => {
                self.token_expires = Some(expires);
                self.token_warned = false;
                None
            }
            Input::LoginsRefused(count) => {
                let logs_in = matches!(self.phase, Phase::Greeting { .. } | Phase::Visiting);
                if logs_in && count >= REFUSED_LOGINS_MAX {
                    self.leave(Close::LoginRefused, now);
                }
                None
            }
            Input::Free(count) => {
                self.allowance.charge(count, now);
                None
            }
            Input::LoggedOut => {
                self.leave(Close::LoggedOut, now);
                None
            }
            Input::Drain => {
                self.leave(Close::Draining, now);
                None
            }
            Input::Wrote { pending } => {
                self.write_stalled_since = pending.then_some(now);
                None
            }
            Input::WriteStalled => {
                self.write_stalled_since.get_or_insert(now);
                None
            }
            Input::Tick => {
                self.allowance.tick(now);
                self.overdue(now)
            }
        };
        if self.phase == Phase::Closed {
            return None;
        }
        if close.is_some() {
            self.phase = Phase::Closed;
        }
        close
    }

    /// True while another request may be read. Before login one at a time, a visitor's too, so that what is behind a login
    /// is served after it. None while a connection that asked for too much for free is held.
    pub fn may_read(&self) -> bool {
        if self.is_held() {
            return false;
        }
        match self.phase {
            Phase::Greeting { .. } | Phase::Visiting => self.in_flight == 0,
            Phase::Open => self.in_flight < REQUESTS_IN_FLIGHT_MAX,
            Phase::Leaving { .. } | Phase::Closed => false,
        }
    }

    /// True while nothing is read because the connection asked for too much that draws from no bucket.
    pub fn is_held(&self) -> bool {
        self.allowance.held_until().is_some()
    }

    /// True while a visitor is there.
    pub fn is_visiting(&self) -> bool {
        matches!(self.phase, Phase::Visiting)
    }

    /// True once a login succeeded.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// True between logout or drain and the end: nothing is served any more.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// When the client was heard last.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Instant {
        let phase = match self.phase {
            Phase::Greeting { until } | Phase::Leaving { until, .. } => until,
            Phase::Visiting | Phase::Open | Phase::Closed => self.heard + self.deadlines.idle,
        };
        let stalled = self.write_stalled_since.map(|since| since + self.deadlines.write);
        [stalled, self.token_deadline(), self.allowance.held_until()]
            .into_iter()
            .flatten()
            .fold(phase, Instant::min)
    }

    /// How long the token still holds, once, when it is time to tell.
    pub fn token_warning(&mut self, now: Instant) -> Option<Duration> {
        let expires = self.token_expires.filter(|_| self.is_open() && !self.token_warned)?;
        let left = expires.saturating_duration_since(now);
        if left > self.deadlines.token_warning {
            return None;
        }
        self.token_warned = true;
        Some(left)
    }

    /// When the token is to be warned of or has expired.
    fn token_deadline(&self) -> Option<Instant> {
        let expires = self.token_expires.filter(|_| self.is_open())?;
        let warning = expires.checked_sub(self.deadlines.token_warning).unwrap_or(expires);
        Some(if self.token_warned { expires } else { warning })
    }

    fn request(&mut self, request_id: u32) -> Option<Close> {
        if self.window.accept(request_id) {
            self.in_flight += 1;
            None
        } else {
            Some(Close::ProtocolViolation)
        }
    }

    fn leave(&mut self, close: Close, now: Instant) {
        if !matches!(self.phase, Phase::Leaving { .. } | Phase::Closed) {
            self.phase = Phase::Leaving { until: now + self.deadlines.leave, close };
        }
    }

    fn overdue(&self, now: Instant) -> Option<Close> {
        if self.write_stalled_since.is_some_and(|since| now >= since + self.deadlines.write) {
            return Some(Close::Slow);
        }
        match self.phase {
            Phase::Greeting { until } if now >= until => Some(Close::GreetingTimeout),
            Phase::Open if self.token_expires.is_some_and(|expires| now >= expires) => {
                Some(Close::TokenExpired)
            }
            Phase::Visiting | Phase::Open if now >= self.heard + self.deadlines.idle => Some(Close::Idle),
            Phase::Leaving { until, close } if now >= until => Some(close),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests;
