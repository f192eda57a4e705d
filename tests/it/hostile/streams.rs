//! More streams than there may be, and more begun on them than there may be.

use std::time::Duration;

use quail_protocol::{
    Close, Code, Lane, Opcode,
    limits::{FRAME_BYTES_MAX, GREETING_FRAME_BYTES_MAX},
};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, close_of, quic},
    within,
};
use quinn::{Connection, RecvStream, SendStream};

use super::{beside, ping, request};

#[tokio::test]
async fn a_stream_that_names_no_lane_and_a_fifth_stream_of_a_lane_are_refused() {
    let town = Town::new().await;
    let (_endpoint, connection) = quic(&town).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&[5]).await.unwrap();
    assert_eq!(close_of(&within(connection.closed()).await), Close::Malformed);

    let (_endpoint, connection) = quic(&town).await;
    let mut streams = vec![];
    for _ in 0..5 {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[Lane::Low.tag()]).await.unwrap();
        streams.push((send, receive));
    }
    assert_eq!(close_of(&within(connection.closed()).await), Close::ProtocolViolation);
}

#[tokio::test]
async fn requests_may_come_on_any_stream_of_any_lane() {
    let town = Town::new().await;
    let mut raw = Raw::log_in(&town, Carrier::Quic, FAST, "alice").await;
    let Raw::Quic { connection, .. } = &raw else { unreachable!() };
    let connection = connection.clone();
    let mut streams = vec![];
    let mut request_id = 1;
    for lane in Lane::ALL {
        for _ in 0..if lane == Lane::Control { 3 } else { 4 } {
            request_id += 1;
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(&[&[lane.tag()], &ping(request_id)[..]].concat()).await.unwrap();
            streams.push((send, receive));
            assert!(raw.reply(request_id).await.is_ok(), "{lane:?}");
        }
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), connection.open_bi()).await.is_err(),
        "twenty streams are all there may be"
    );
}

/// Begins a frame of `length` bytes on as many streams of each lane as there may be, and tells all but its last byte.
/// Control has one stream less: another is open already.
async fn begin_everywhere(connection: &Connection, length: usize) -> Vec<(SendStream, RecvStream)> {
    let begun = request(1_000_000, Opcode(0xffff), &vec![0; length - 10]);
    let mut streams = vec![];
    for lane in Lane::ALL {
        for _ in 0..if lane == Lane::Control { 3 } else { 4 } {
            let Ok((mut send, receive)) = connection.open_bi().await else { return streams };
            // The server ends it at some point of this.
            _ = send.write_all(&[lane.tag()]).await;
            _ = send.write_all(&begun[..begun.len() - 1]).await;
            streams.push((send, receive));
        }
    }
    streams
}

#[tokio::test]
async fn more_begun_frames_than_one_for_each_lane_end_a_connection_and_disturb_nobody() {
    let town = Town::new().await;
    let before = town.population().await;
    beside(&town, async || {
        let (_endpoint, stranger) = quic(&town).await;
        let _streams = within(begin_everywhere(&stranger, GREETING_FRAME_BYTES_MAX)).await;
        assert_eq!(close_of(&within(stranger.closed()).await), Close::FrameTooLarge, "before login");
        let user = Raw::log_in(&town, Carrier::Quic, FAST, "mallory").await;
        let _streams = within(begin_everywhere(user.connection(), FRAME_BYTES_MAX)).await;
        assert_eq!(close_of(&within(user.connection().closed()).await), Close::FrameTooLarge, "after login");
    })
    .await;
    town.settles(&before).await;
}

#[tokio::test]
async fn one_frame_of_the_largest_size_may_be_under_way_on_each_lane() {
    let town = Town::new().await;
    let mut raw = Raw::log_in(&town, Carrier::Quic, FAST, "alice").await;
    let connection = raw.connection().clone();
    let mut streams = vec![];
    for (request_id, lane) in (2..).zip(Lane::ALL) {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        let largest = request(request_id, Opcode(0xffff), &vec![0; FRAME_BYTES_MAX - 5]);
        send.write_all(&[lane.tag()]).await.unwrap();
        within(send.write_all(&largest[..largest.len() - 1])).await.unwrap();
        streams.push((send, receive));
    }
    for (send, _receive) in &mut streams {
        send.write_all(&[0]).await.unwrap();
    }
    let mut answered = vec![];
    for _ in 0..streams.len() {
        let (request_id, code) = raw.any_refusal().await;
        assert_eq!(code, Code::UnknownOperation);
        answered.push(request_id);
    }
    answered.sort_unstable();
    assert_eq!(answered, [2, 3, 4, 5, 6]);
}
