//! The requests of a session, asked and asked again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quail_protocol::{Class, Lane, limits::REPLIES_KEPT_BYTES_MAX};
use quail_server::session::{
    outbox::Way,
    requests::{Begun, Requests},
};

use super::Choices;

/// What is served is served once; what is answered again is the same answer; and what is kept is bounded.
pub(super) fn run(mut choices: Choices<'_>) {
    let mut requests = Requests::default();
    let mut served: BTreeMap<u32, (Way, Bytes)> = BTreeMap::new();
    let mut serving = BTreeSet::new();
    while let (Some(choice), Some(value)) = (choices.next(), choices.next()) {
        // A connection's window lets no id 0 through.
        let id = 1 + u32::from(value) * if choice >= 128 { 37 } else { 1 };
        let class = [Class::Query, Class::Change, Class::Send][usize::from(choice / 4 % 3)];
        let way = Way::from(Lane::ALL[usize::from(value) % Lane::COUNT]);
        let newest = requests.newest();
        match choice % 4 {
            0 | 1 => match requests.begin(id, class) {
                Begun::New if class == Class::Query => {}
                Begun::New => {
                    assert!(!served.contains_key(&id) && serving.insert(id), "{id} is served twice");
                }
                Begun::Serving => assert!(serving.contains(&id)),
                Begun::Answered(way, frame) => assert_eq!(served.get(&id), Some(&(way, frame))),
                Begun::Forgotten => {}
            },
            2 if serving.remove(&id) => {
                let frame = Bytes::from(vec![choice; usize::from(value) * 300]);
                requests.served(id, Class::Change, way, frame.clone());
                served.insert(id, (way, frame));
            }
            3 if serving.remove(&id) => requests.refused(id),
            _ => {}
        }
        assert!(requests.newest() >= newest);
    }
    let again = |(id, (_, frame)): (&u32, &(Way, Bytes))| match requests.begin(*id, Class::Change) {
        Begun::Answered(..) => frame.len(),
        Begun::Forgotten => 0,
        other => panic!("{id} was served and is {other:?}"),
    };
    let kept: usize = served.iter().map(again).sum();
    assert!(kept <= REPLIES_KEPT_BYTES_MAX);
}
