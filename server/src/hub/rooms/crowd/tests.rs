//! What sessions of small and large crowds are told, and in which order. Frames are single bytes here.

use std::sync::{Mutex, Weak};

use quail_protocol::{Conversation, Lane, Priority, id::RoomId};
use tokio::task::yield_now;

use super::*;
use crate::session::outbox::{self, Attachment};

const BOUNDS: Bounds = Bounds { direct_max: 4, shard_max: 3, waiting_max: 4 };
const NOTICE: u8 = 99;
/// What is told on the lane Low begins here.
const LOW: u8 = 50;

struct Hall {
    crowd: Crowd,
    metrics: Arc<Metrics>,
    came: u8,
}

impl Hall {
    /// With so many in it.
    fn of(count: usize) -> (Self, Vec<Arc<Session>>) {
        let metrics = Metrics::new();
        let mut hall = Self { crowd: Crowd::new(BOUNDS, metrics.clone()), metrics, came: 0 };
        let sessions = (0..count).map(|_| hall.come()).collect();
        (hall, sessions)
    }

    fn come(&mut self) -> Arc<Session> {
        self.come_with(outbox::Config::default())
    }

    fn come_with(&mut self, config: outbox::Config) -> Arc<Session> {
        let session = Arc::new(Session::new(config));
        self.came += 1;
        self.crowd.add(SessionId([self.came; 16]), session.clone());
        session
    }

    fn tell(&mut self, byte: u8, but: Option<&Arc<Session>>) -> bool {
        self.crowd.tell(telling(byte), but)
    }

    /// Lets tasks run until nothing waits.
    async fn rest(&self) {
        while !self.crowd.shards.iter().all(|shard| shard.line.is_idle()) {
            yield_now().await;
        }
    }

    fn queued(&self) -> u64 {
        let text = self.metrics.render();
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix("quail_unnumbered_total{outcome=\"queued\"} ")?.parse().ok())
            .unwrap_or_default()
    }
}

fn telling(byte: u8) -> Telling {
    let conversation = Conversation::Room(RoomId::new("r").unwrap());
    let priority = if byte < LOW { Priority::Normal } else { Priority::Low };
    Telling { frame: vec![byte].into(), conversation, priority, position: None }
}

/// What waits for a session, which takes it.
fn heard(session: &Session, lane: Lane) -> Vec<u8> {
    session
        .outbox
        .take(Attachment::default(), lane, 1000)
        .map(|batch| batch.bytes.to_vec())
        .unwrap_or_default()
}

fn told(session: &Session) -> Vec<u8> {
    heard(session, Lane::Normal)
}

/// Few, one more than is told directly, and several shards.
const SIZES: [usize; 4] = [2, 4, 5, 11];

#[tokio::test]
async fn everybody_hears_in_order_what_is_told_between_coming_and_going() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        hall.tell(1, None);
        let newcomer = hall.come();
        hall.tell(2, Some(&newcomer));
        hall.tell(3, Some(&sessions[1]));
        let gone = hall.crowd.remove(&sessions[0]);
        assert_eq!(gone, Some(SessionId([1; 16])), "{size}");
        hall.tell(4, None);
        hall.rest().await;
        assert_eq!(told(&newcomer), [3, 4], "{size}");
        assert_eq!(told(&sessions[1]), [1, 2, 4], "{size}");
        for session in &sessions[2..] {
            assert_eq!(told(session), [1, 2, 3, 4], "{size}");
        }
        assert!([1, 2, 3].starts_with(&told(&sessions[0])), "nothing behind its leaving: {size}");
        assert!(!hall.crowd.has(&sessions[0]) && hall.crowd.has(&newcomer));
        assert_eq!(hall.crowd.remove(&sessions[0]), None);
    }
}

#[tokio::test]
async fn whoever_is_put_out_hears_all_before_and_nothing_behind() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        hall.tell(1, None);
        let out = sessions[1].clone();
        let whom = |session: &Session| std::ptr::eq(session, &*out);
        let put_out = hall.crowd.put_out(whom, &vec![NOTICE].into());
        assert_eq!(put_out.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [SessionId([2; 16])]);
        hall.tell(2, None);
        hall.rest().await;
        assert_eq!((told(&out), heard(&out, Lane::Control)), (vec![1], vec![NOTICE]), "{size}");
        assert_eq!(told(&sessions[0]), [1, 2], "{size}");
        assert_eq!(hall.queued(), 2 * size as u64 - 1);
    }
}

#[tokio::test]
async fn whoever_is_put_out_and_comes_again_hears_it_in_this_order() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        hall.tell(1, None);
        let out = sessions[size - 1].clone();
        hall.crowd.put_out(|session| std::ptr::eq(session, &*out), &vec![NOTICE].into());
        // The first shard has room by now.
        hall.crowd.remove(&sessions[0]);
        hall.crowd.add(SessionId([77; 16]), out.clone());
        let answered = out.clone();
        hall.crowd.answer(&out, move || answered.outbox.push_reply(Lane::Control, vec![7].into()));
        hall.rest().await;
        assert_eq!(heard(&out, Lane::Control), [NOTICE, 7], "{size}");
    }
}

#[tokio::test]
async fn whoever_comes_again_hears_nothing_of_before() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        hall.tell(1, None);
        hall.crowd.remove(&sessions[0]);
        told(&sessions[0]);
        hall.crowd.add(SessionId([77; 16]), sessions[0].clone());
        hall.tell(2, None);
        hall.rest().await;
        assert_eq!(told(&sessions[0]), [2], "{size}");
    }
}

#[tokio::test]
async fn an_answer_stands_where_the_event_would_be() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        let sender = sessions[1].clone();
        hall.tell(1, None);
        let answered = sender.clone();
        hall.crowd.answer(&sender, move || answered.outbox.push_reply(Lane::Normal, vec![2].into()));
        hall.tell(2, Some(&sender));
        hall.tell(3, None);
        hall.rest().await;
        assert_eq!([told(&sender), told(&sessions[0])], [[1, 2, 3], [1, 2, 3]], "{size}");
    }
}

#[tokio::test]
async fn the_lock_is_free_while_many_are_told() {
    let (mut hall, sessions) = Hall::of(11);
    hall.rest().await;
    let room = Mutex::new(&mut hall);
    let newcomer = {
        let mut live = room.lock().unwrap();
        assert!(live.tell(1, None));
        let newcomer = live.come();
        assert!(live.tell(2, None));
        newcomer
    };
    yield_now().await;
    // The newcomer is in their shard, and comes between the two.
    assert!(sessions[9..].iter().all(|session| told(session) == [1]), "the other is on its way");
    assert!(room.try_lock().unwrap().crowd.has(&newcomer));
    hall.rest().await;
    assert!(sessions[9..].iter().all(|session| told(session) == [2]));
    assert_eq!(told(&newcomer), [2]);
}

#[tokio::test]
async fn an_urgent_event_is_not_told_behind_all_others() {
    let (mut hall, sessions) = Hall::of(11);
    hall.rest().await;
    for byte in [1, LOW, 2, LOW + 1] {
        hall.tell(byte, None);
    }
    yield_now().await;
    for session in &sessions {
        assert_eq!((told(session), heard(session, Lane::Low)), (vec![1, 2], vec![LOW, LOW + 1]), "at once");
    }
    assert_eq!(hall.queued(), 44);
}

#[tokio::test]
async fn at_the_end_everybody_is_told_and_no_task_is_left() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        hall.tell(1, None);
        let lines: Vec<Weak<Line>> =
            hall.crowd.shards.iter().map(|shard| Arc::downgrade(&shard.line)).collect();
        let out = hall.crowd.end(&vec![NOTICE].into(), Some(&sessions[0])).count();
        assert_eq!((out, hall.crowd.has(&sessions[1])), (size, false));
        while lines.iter().any(|line| line.strong_count() > 0) {
            yield_now().await;
        }
        assert!(heard(&sessions[0], Lane::Control).is_empty());
        for session in &sessions[1..] {
            assert_eq!((told(session), heard(session, Lane::Control)), (vec![1], vec![NOTICE]), "{size}");
        }
        assert!(sessions.iter().all(|session| Arc::strong_count(session) == 1), "{size}");
    }
}

#[tokio::test]
async fn a_crowd_that_shrank_is_told_directly_but_nothing_is_overtaken() {
    let (mut hall, sessions) = Hall::of(11);
    hall.tell(1, None);
    sessions[2..].iter().for_each(|session| _ = hall.crowd.remove(session));
    hall.tell(2, None);
    assert!(!hall.crowd.shards.is_empty(), "something waits");
    hall.rest().await;
    hall.tell(3, None);
    assert!(hall.crowd.shards.is_empty());
    for session in &sessions[..2] {
        assert_eq!(told(session), [1, 2, 3]);
    }
}

#[tokio::test]
async fn whoever_tells_more_than_is_walked_lends_a_hand() {
    let (mut hall, sessions) = Hall::of(11);
    hall.rest().await;
    (1..=9).for_each(|byte| _ = hall.tell(byte, None));
    for session in &sessions {
        assert_eq!(told(session), [1, 2, 3, 4, 5], "four wait in each line");
    }
    hall.rest().await;
    assert!(sessions.iter().all(|session| told(session) == [6, 7, 8, 9]));
    assert_eq!(hall.queued(), 99, "each delivery is counted once");
}

#[tokio::test]
async fn what_finds_no_room_together_is_told_as_far_as_it_does() {
    let (mut hall, sessions) = Hall::of(11);
    hall.rest().await;
    let slow = hall.come_with(outbox::Config { lane_items: 2, ..outbox::Config::default() });
    (1..=3).for_each(|byte| _ = hall.tell(byte, None));
    hall.rest().await;
    assert!(sessions.iter().all(|session| told(session) == [1, 2, 3]));
    let behind = told(&slow);
    assert!(behind.starts_with(&[1, 2]) && behind.len() > 3, "and what tells of the third: {behind:?}");
    assert_eq!(hall.queued(), 35);
}

#[tokio::test]
async fn nobody_is_told_where_nobody_is_connected() {
    for size in SIZES {
        let (mut hall, sessions) = Hall::of(size);
        assert!(hall.tell(1, Some(&sessions[0])));
        sessions[1..].iter().for_each(|session| _ = session.outbox.detach(Attachment::default()));
        hall.rest().await;
        assert!(!hall.tell(2, Some(&sessions[0])), "{size}");
    }
}

#[tokio::test]
async fn what_one_turn_brings_is_told_together_when_the_turn_is_over() {
    let (mut hall, sessions) = Hall::of(8);
    hall.rest().await;
    let turn = Gather::begin();
    hall.tell(1, None);
    drop(Gather::begin());
    hall.tell(2, None);
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(hall.queued(), 0, "the turn is not over");
    drop(turn);
    hall.rest().await;
    assert_eq!(hall.queued(), 2 * sessions.len() as u64);
    hall.tell(3, None);
    hall.rest().await;
    assert_eq!(hall.queued(), 3 * sessions.len() as u64, "and nobody gathers any more");
}
