//! What a user says, and when it leaves its large room, whatever became of what it said before.

use std::{sync::Arc, time::Duration};

use quail_client::CallError;
use quail_protocol::{Code, Priority, message::Sent};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Hall, Round, Seat, Talk,
    user::{Became, User},
};
use crate::{body, cpu, flight::Flight};

/// What became of a message.
type Answered = (Talk, u32, Result<Sent, CallError>);

/// How long somebody stays out of a large room.
const LEFT_FOR: Duration = Duration::from_secs(1);

/// Of a hundred messages, how many are no longer than this.
const SIZES: [(u64, u64); 4] = [(50, 64), (80, 160), (95, 600), (100, 2048)];

/// Bytes of a message on average.
pub(crate) const BYTES_MEAN: u32 = 180;

/// Bytes of message `nth` of somebody: most are short, a few long.
fn bytes(number: u32, nth: u64) -> usize {
    // A step that has no factor in common with the number of sizes meets all of them.
    let turn = (u64::from(number) * 37 + nth * 61) % 100;
    let mut shortest = body::BYTES_MIN as u64;
    for (share, longest) in SIZES {
        if turn < share {
            let spread = (u64::from(number) * 7919 + nth * 104_729) % (longest - shortest + 1);
            return (shortest + spread) as usize;
        }
        shortest = longest;
    }
    shortest as usize
}

/// What is due next: which of those that are said so often, and when.
fn due(says: &[(Talk, f64, f64)], said: &[u64]) -> Option<(usize, Duration)> {
    let times = says.iter().zip(said).map(|((_, per_second, offset), said)| {
        Duration::try_from_secs_f64((*said as f64 + offset) / per_second).unwrap_or(Duration::MAX)
    });
    times.enumerate().min_by_key(|(_, time)| *time)
}

/// Talks for a round, and waits for the answers.
pub(super) async fn talk(
    user: Arc<User>,
    round: Round,
    in_flight: usize,
    hall: Arc<Hall>,
) -> anyhow::Result<()> {
    let (begun, begun_at) = (Instant::now(), cpu::since_boot());
    let [warm_up, duration] = [round.warm_up, round.duration].map(Duration::from_millis);
    hall.known().from = begun_at + warm_up;
    let until = warm_up + duration;
    let Seat { says, leaves, number, .. } = &user.seat;
    let leaving = tokio::spawn(leave(user.clone(), begun + until, *leaves, hall.clone()));
    let mut said = vec![0; says.len()];
    let mut flight = Flight::<Answered>::new();
    while let Some((line, intended)) = due(says, &said).filter(|(_, intended)| *intended < until) {
        let full = flight.len() >= in_flight;
        tokio::select! {
            biased;
            Some(answered) = flight.answer() => answer(&user, &hall, answered),
            () = sleep_until(begun + intended), if !full => {
                let talk = says[line].0;
                said[line] += 1;
                let nth = user.next();
                let (conversation, outgoing) =
                    user.message(talk, nth, begun_at + intended, bytes(*number, nth))?;
                *hall.known().said.sent.entry(talk).or_default() += 1;
                let sending = async move {
                    (talk, conversation, outgoing.send().await.map_err(|unsent| unsent.error))
                };
                if let Some(answered) = flight.begin(sending).await {
                    answer(&user, &hall, answered);
                }
            }
        }
    }
    while let Some(answered) = flight.answer().await {
        answer(&user, &hall, answered);
    }
    leaving.await?
}

fn answer(user: &User, hall: &Hall, (talk, conversation, answered): Answered) {
    let asked = match talk {
        Talk::High => Priority::High,
        Talk::Barrage => Priority::Low,
        Talk::Pair | Talk::Group | Talk::Normal => Priority::Normal,
    };
    let (became, why) = match answered {
        Ok(sent) => (Became::Accepted(sent.priority), None),
        // Given up by the server, which may do it all the same.
        Err(CallError::Reject(reject)) if !matches!(reject.code, Code::TimedOut | Code::Internal) => {
            (Became::Refused, Some(format!("{:?}", reject.code)))
        }
        Err(error) => (Became::Unknown, Some(error.to_string())),
    };
    user.answered(conversation, asked, &became);
    if let Some(why) = why {
        *hall.known().said.refused.entry(format!("{}: {why}", talk.name())).or_default() += 1;
    }
}

/// Leaves its large room again and again, and comes back.
async fn leave(user: Arc<User>, until: Instant, per_second: f64, hall: Arc<Hall>) -> anyhow::Result<()> {
    let Some((room, _)) = user.seat.live.as_ref().filter(|_| per_second > 0.0) else { return Ok(()) };
    let (room, pause) = (user.client.room(room)?, Duration::try_from_secs_f64(1.0 / per_second)?);
    while Instant::now() + pause + LEFT_FOR < until {
        sleep(pause).await;
        room.leave().await?;
        sleep(LEFT_FOR).await;
        room.join(0).await?;
        hall.known().said.left += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_messages_are_short_and_a_few_are_long() {
        let mut sizes: Vec<_> =
            (0..20).flat_map(|number| (0..100).map(move |nth| bytes(number, nth))).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!(mean.abs_diff(BYTES_MEAN as usize) < 20, "{mean}");
        sizes.sort_unstable();
        let at = |share: usize| sizes[sizes.len() * share / 100];
        assert!((16..=32).contains(&at(0)) && (32..=64).contains(&at(49)), "{} {}", at(0), at(49));
        assert!((64..=160).contains(&at(79)) && (160..=600).contains(&at(94)));
        assert!((1000..=2048).contains(&sizes[sizes.len() - 1]));
    }

    #[test]
    fn what_is_meant_first_is_said_first() {
        let says = [(Talk::Pair, 2.0, 0.5), (Talk::Group, 1.0, 0.0)];
        let ms = |said: &[u64]| due(&says, said).map(|(line, time)| (line, time.as_millis()));
        assert_eq!([ms(&[0, 0]), ms(&[0, 1]), ms(&[2, 1])], [Some((1, 0)), Some((0, 250)), Some((1, 1000))]);
        assert_eq!(due(&[], &[]), None);
    }
}
