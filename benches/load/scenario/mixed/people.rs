//! Who does what.

use anyhow::Context;

use super::Options;
use crate::{
    clients::{self, Visitor},
    part::mingle::{Seat, Talk},
};

/// See the module.
pub(super) struct People {
    /// In the order of their numbers.
    pub(super) seats: Vec<Seat>,
    /// Pairs, groups and large rooms together, which are numbered in this order.
    pub(super) conversations: usize,
}

/// Those who speak in a large room, if so many do not say nothing.
const LIVE_SPEAKERS: usize = 10;

/// Whether this number is among such a share of all, evenly spread.
fn is_among(number: u32, share: f64) -> bool {
    let before = |number: u32| (f64::from(number) * share + 1e-9).floor();
    before(number + 1) > before(number)
}

/// A place between 0 and 1 for everybody, so that not all begin at once.
fn place(number: u32) -> f64 {
    (f64::from(number) * 0.618_034).fract()
}

/// All of them, reached as `visitor` says by name and whether they come over a WebSocket.
pub(super) fn people(options: &Options, visitor: impl Fn(String, bool) -> Visitor) -> anyhow::Result<People> {
    let users = options.users.next_multiple_of(2);
    let (pairs, groups) = (users / 2, users.div_ceil(options.group));
    let live_share = f64::from(options.live * options.live_members) / f64::from(users);
    let (mut seats, mut in_live) = (vec![], 0);
    for number in 0..users {
        let talks = is_among(number / 2, 1.0 - options.idle);
        let group = number / options.group;
        let live = is_among(number, live_share.min(1.0)).then(|| {
            in_live += 1;
            in_live % options.live
        });
        let mut says = vec![];
        if talks {
            says.push((Talk::Pair, 1.0 / options.pair_every, place(number)));
            says.push((Talk::Group, 1.0 / options.group_every, place(number + 1)));
        }
        seats.push(Seat {
            visitor: visitor(clients::user(number), is_among(number, options.websocket)),
            number,
            pair: talks.then(|| (clients::user(number ^ 1), number / 2)),
            group: Some((format!("group-{group}"), pairs + group)),
            live: live.map(|live| (format!("live-{live}"), pairs + groups + live)),
            says,
            leaves: 0.0,
        });
    }
    for live in 0..options.live {
        speak(options, &mut seats, pairs + groups + live)?;
    }
    let leaving = seats.iter_mut().filter(|seat| seat.live.is_some() && seat.says.is_empty());
    leaving.take(options.leaving as usize).for_each(|seat| seat.leaves = 1.0 / options.leave_every);
    Ok(People { seats, conversations: (pairs + groups + options.live) as usize })
}

/// Divides what is said in a large room among some of those who are there.
fn speak(options: &Options, seats: &mut [Seat], live: u32) -> anyhow::Result<()> {
    let is_there = |seat: &&mut Seat| {
        !seat.says.is_empty() && seat.live.as_ref().is_some_and(|(_, number)| *number == live)
    };
    let mut speakers: Vec<_> = seats.iter_mut().filter(is_there).take(LIVE_SPEAKERS).collect();
    let each = 1.0 / speakers.len() as f64;
    for (seat, turn) in speakers.iter_mut().zip(0..) {
        // The rooms and the kinds at different instants: otherwise what is said least often always meets all the rest.
        let at = |kind| (f64::from(turn) + place(3 * live + kind)) * each;
        seat.says.push((Talk::Barrage, options.barrage_rate * each, at(0)));
        seat.says.push((Talk::Normal, options.normal_rate * each, at(1)));
    }
    let first = speakers.first_mut().context("nobody speaks in a large room: let fewer say nothing")?;
    first.says.push((Talk::High, options.high_rate, place(3 * live + 2)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use clap::{Parser, Subcommand};

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(subcommand)]
        mixed: Mixed,
    }

    #[derive(Subcommand)]
    enum Mixed {
        Mixed(Options),
    }

    #[test]
    fn everybody_has_a_group_some_a_partner_and_each_room_those_who_speak() {
        let flags =
            ["load", "mixed", "--users", "200", "--group", "20", "--live-members", "50", "--leaving", "7"];
        let Mixed::Mixed(options) = Flags::parse_from(flags).mixed;
        let visitor = |user, websocket: bool| {
            let quic = (Ipv4Addr::LOCALHOST, 1).into();
            let websocket = websocket.then(|| "ws://localhost/ws".to_owned());
            Visitor { user, quic, fingerprint: [0; 32], websocket }
        };
        let People { seats, conversations } = people(&options, visitor).unwrap();
        let count = |of: &dyn Fn(&Seat) -> bool| seats.iter().filter(|seat| of(seat)).count();
        assert_eq!((seats.len(), conversations), (200, 100 + 10 + 2));
        assert_eq!(count(&|seat| seat.pair.is_some()), 60);
        assert_eq!(count(&|seat| seat.visitor.websocket.is_some()), 40);
        assert_eq!(count(&|seat| seat.leaves > 0.0 && seat.says.is_empty()), 7);
        for (name, members) in [("group-3", 20), ("live-0", 50), ("live-1", 50)] {
            let is_in =
                |place: &Option<(String, u32)>| place.as_ref().is_some_and(|(known, _)| known == name);
            assert_eq!(count(&|seat| is_in(&seat.group) || is_in(&seat.live)), members, "{name}");
        }
        for seat in &seats {
            let partner = seat.pair.as_ref().map(|(_, number)| {
                seats.iter().filter(|other| other.pair.as_ref().is_some_and(|(_, it)| it == number)).count()
            });
            assert!(partner.is_none_or(|both| both == 2));
        }
        let said = |talk: Talk| -> f64 {
            let all = seats.iter().flat_map(|seat| &seat.says).filter(|(it, ..)| *it == talk);
            all.map(|(_, per_second, _)| per_second).sum()
        };
        for (talk, per_second) in
            [(Talk::Pair, 15.0), (Talk::Group, 3.0), (Talk::Barrage, 8.0), (Talk::High, 1.0)]
        {
            assert!((said(talk) - per_second).abs() < 1e-6, "{talk:?}");
        }
    }
}
