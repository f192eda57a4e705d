use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn state() -> (State, Instant) {
    let now = Instant::now();
    let deadlines = Deadlines {
        greeting: 5 * SECOND,
        idle: 30 * SECOND,
        write: 10 * SECOND,
        leave: SECOND,
        token_warning: 3 * SECOND,
    };
    (State::new(deadlines, 50, now), now)
}

/// Feeds inputs, each so many seconds after the start, and expects the last to end the connection, or not.
#[track_caller]
fn check(inputs: &[(u32, Input)], expected: Option<Close>) {
    let (mut state, start) = state();
    let (last, before) = inputs.split_last().unwrap();
    for (seconds, input) in before {
        assert_eq!(state.handle(*input, start + *seconds * SECOND), None, "{input:?} at {seconds}");
    }
    assert_eq!(state.handle(last.1, start + last.0 * SECOND), expected);
}

#[test]
fn each_phase_has_its_deadline() {
    use Input::*;
    check(&[(4, Tick)], None);
    check(&[(5, Tick)], Some(Close::GreetingTimeout));
    check(&[(4, Heard), (5, Tick)], Some(Close::GreetingTimeout));
    check(&[(1, LoggedIn), (29, Tick)], None);
    check(&[(1, LoggedIn), (30, Tick)], Some(Close::Idle));
    check(&[(1, LoggedIn), (29, Heard), (58, Tick)], None);
    check(&[(1, LoggedIn), (2, LoggedOut), (3, Tick)], Some(Close::LoggedOut));
    check(&[(1, LoggedIn), (2, Drain), (3, Tick)], Some(Close::Draining));
    check(&[(1, LoggedIn), (2, LoggedOut), (2, Drain), (3, Tick)], Some(Close::LoggedOut));
    check(&[(1, LoginsRefused(2)), (2, Tick)], None);
    check(&[(1, LoginsRefused(3)), (2, Tick)], Some(Close::LoginRefused));
}

#[test]
fn a_visitor_stays_as_long_as_they_are_heard_asks_one_thing_at_a_time_and_may_log_in() {
    use Input::*;
    check(&[(1, Visiting), (29, Tick)], None);
    check(&[(1, Visiting), (30, Tick)], Some(Close::Idle));
    check(&[(1, Visiting), (29, Heard), (30, LoggedIn), (58, Tick)], None);
    check(&[(1, Visiting), (2, LoginsRefused(3)), (3, Tick)], Some(Close::LoginRefused));
    check(&[(1, LoggedIn), (2, Visiting), (3, LoginsRefused(3)), (4, Tick)], None);
    let (mut state, now) = state();
    state.handle(Visiting, now);
    assert!(state.is_visiting() && !state.is_open() && state.may_read());
    state.handle(Request { request_id: 1 }, now);
    assert!(!state.may_read());
    state.handle(Answered, now);
    assert!(state.may_read());
    state.handle(LoggedIn, now);
    assert!(!state.is_visiting() && state.is_open());
}

#[test]
fn a_reader_that_takes_nothing_is_slow_and_one_that_takes_a_little_is_not() {
    use Input::*;
    check(&[(0, LoggedIn), (1, Wrote { pending: true }), (11, Tick)], Some(Close::Slow));
    check(&[(0, LoggedIn), (1, Wrote { pending: true }), (9, Wrote { pending: true }), (11, Tick)], None);
    check(&[(0, LoggedIn), (1, Wrote { pending: true }), (9, Wrote { pending: false }), (20, Tick)], None);
    check(&[(0, LoggedIn), (1, WriteStalled), (9, WriteStalled), (11, Tick)], Some(Close::Slow));
    check(&[(0, LoggedIn), (1, WriteStalled), (9, Wrote { pending: true }), (11, Tick)], None);
}

#[test]
fn a_token_is_warned_of_once_and_ends_the_session_unless_renewed() {
    let (mut state, start) = state();
    let at = |seconds: u32| start + seconds * SECOND;
    state.handle(Input::LoggedIn, start);
    state.handle(Input::Token { expires: at(10) }, start);
    assert_eq!(state.deadline(), at(7));
    assert_eq!(state.token_warning(at(6)), None);
    assert_eq!(state.token_warning(at(7)), Some(3 * SECOND));
    assert_eq!((state.token_warning(at(7)), state.deadline()), (None, at(10)));
    state.handle(Input::Token { expires: at(20) }, at(8));
    assert_eq!(state.handle(Input::Tick, at(10)), None);
    assert_eq!(state.token_warning(at(19)), Some(SECOND));
    assert_eq!(state.handle(Input::Tick, at(20)), Some(Close::TokenExpired));
}

#[test]
fn a_connection_ends_once() {
    let (mut state, start) = state();
    assert_eq!(state.handle(Input::Tick, start + 5 * SECOND), Some(Close::GreetingTimeout));
    assert_eq!(state.handle(Input::Tick, start + 50 * SECOND), None);
    assert_eq!(state.handle(Input::Request { request_id: 0 }, start), None);
    assert!(!state.may_read());
}

#[test]
fn before_login_one_request_is_read_at_a_time() {
    let (mut state, now) = state();
    assert!(state.may_read());
    state.handle(Input::Request { request_id: 1 }, now);
    assert!(!state.may_read());
    state.handle(Input::LoggedIn, now);
    assert!(state.may_read());
}

#[test]
fn too_much_for_free_stops_reading_until_it_is_paid_and_ends_nothing() {
    let (mut state, start) = state();
    state.handle(Input::LoggedIn, start);
    assert_eq!(state.handle(Input::Free(150), start), None);
    assert!(!state.may_read());
    assert_eq!(state.deadline(), start + SECOND);
    assert_eq!(state.handle(Input::Tick, start + SECOND), None);
    assert!(state.may_read());
    assert_eq!(state.deadline(), start + 30 * SECOND);
}

#[test]
fn a_full_window_stops_reading_until_a_reply_was_written() {
    let (mut state, now) = state();
    state.handle(Input::LoggedIn, now);
    for request_id in 1..=64 {
        assert!(state.may_read());
        assert_eq!(state.handle(Input::Request { request_id }, now), None);
    }
    assert!(!state.may_read());
    state.handle(Input::Answered, now);
    assert!(state.may_read());
}
