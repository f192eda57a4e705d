//! What happens to a room while it ends.

mod stored;

use futures_util::FutureExt;
use quail_protocol::{
    Timestamp,
    bounded::{Blob, List, Text},
    id::{DeviceId, SessionId},
    message::SenderNote,
    room::{Lifetime, LifetimeKind, MuteAll, Pair, Reason, Role, SetAttributes},
    session::PlatformClass,
};

use super::*;
use crate::{
    context::Shared,
    hub::fanout::FanOut,
    session::{Identity, Streams, outbox},
    store::{RoomChange, RoomsKept, Write},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct Play {
    shared: Arc<Shared>,
    app: AppId,
    room: RoomId,
    user: UserId,
    session: Arc<Session>,
}

impl Play {
    /// A room that is kept, with its owner in it.
    fn new() -> Self {
        let shared = Arc::new(Shared::empty(NOW));
        let (app, room) = (AppId::new("demo").unwrap(), RoomId::new("r").unwrap());
        let (user, id) = (UserId::new("alice").unwrap(), SessionId([1; 16]));
        let session = Arc::new(Session::new(outbox::Config::default()));
        let device = DeviceId::new("d").unwrap();
        let class = PlatformClass::Desktop;
        let identity = Identity { app: app.clone(), user: user.clone(), device, class, session: id };
        session.log_in(identity, Streams::default()).unwrap();
        let play = Self { shared, app, room, user, session };
        play.make();
        play
    }

    fn make(&self) {
        let lifetime = Lifetime { kind: LifetimeKind::Kept, ms: 0 };
        let door = Door::Create(Settings { lifetime, ..Settings::default() });
        let note = SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member };
        let newcomer = Newcomer { user: self.user.clone(), session: SessionId([1; 16]), note };
        let (app, who) = ((&self.app, &apps::Rooms::default()), (&newcomer, &self.session));
        drop(self.shared.rooms.enter(app, &self.room, &door, who, 0, self.shared.moment()).unwrap());
    }

    fn dismiss(&self) -> Result<Answer<Dismissed>, Code> {
        let dismiss = Dismiss { room: self.room.clone(), reason: Reason::default() };
        self.shared.rooms.dismiss(&self.app, &dismiss, (&self.user, &self.session))
    }

    /// Dismisses the room while `late` has found it and waits for its lock. Returns what `late` says.
    fn dismissed_before(&self, late: impl FnOnce(&Self) -> Code + Send) -> Code {
        let rooms = &self.shared.rooms;
        let found = rooms.find(&self.app, &self.room).unwrap();
        let live = found.lock();
        let before = Arc::strong_count(&found);
        std::thread::scope(|scope| {
            let late = scope.spawn(|| late(self));
            while Arc::strong_count(&found) == before {
                std::thread::yield_now();
            }
            _ = rooms.end(
                &self.app,
                &self.room,
                &found,
                live,
                LeaveCause::Dismissed,
                Some((&self.user, &self.session, &Reason::default())),
            );
            late.join().unwrap()
        })
    }

    /// What the store holds when all is written.
    async fn kept(&self) -> RoomsKept {
        let Shared { committer, hub, rooms, store, metrics, clock, .. } = &*self.shared;
        committer.close();
        let (hub, rooms, metrics) = (hub.clone(), rooms.clone(), metrics.clone());
        let stage = FanOut { hub, rooms, store: store.clone(), metrics };
        committer.clone().run(store.clone(), stage, *clock).await.unwrap();
        store.rooms().await.unwrap()
    }
}

fn attribute(room: &RoomId) -> SetAttributes {
    let pair = Pair { key: Text::new("k").unwrap(), value: Blob::new("v").unwrap() };
    SetAttributes {
        room: room.clone(),
        set: List::new(vec![pair]).unwrap(),
        force: false,
        delete_after_owner_left: false,
        take_over: false,
    }
}

/// Something that changes a room, and the code that it is refused with.
type Late = (&'static str, fn(&Play) -> Code);

const LATE: &[Late] = &[
    ("an attribute", |play| {
        let change = |rules: &mut Rules| rules.set_attributes(&play.user, attribute(&play.room));
        play.shared.rooms.change(&play.app, &play.room, &play.session, change).map(drop).unwrap_err()
    }),
    ("its info", |play| {
        let update = UpdateInfo {
            room: play.room.clone(),
            name: Some(Text::new("late").unwrap()),
            notice: None,
            avatar: None,
            extension: None,
        };
        play.shared.rooms.update_info(&play.app, &play.user, &play.session, update).map(drop).unwrap_err()
    }),
    ("a mute of all", |play| {
        let mute = MuteAll {
            room: play.room.clone(),
            until: Some(Timestamp(0)),
            exempt: List::default(),
            reason: Reason::default(),
        };
        let who = (&play.user, &play.session);
        play.shared.rooms.mute_all(&play.app, who, mute, play.shared.moment()).map(drop).unwrap_err()
    }),
    ("another end", |play| play.dismiss().map(drop).unwrap_err()),
];

#[tokio::test]
async fn a_change_that_comes_while_a_room_is_dismissed_is_refused_and_leaves_nothing() {
    for (name, late) in LATE {
        let play = Play::new();
        let refused = play.dismissed_before(late);
        assert!(matches!(refused, Code::RoomNotFound | Code::NotInRoom), "{name}: {refused:?}");
        assert_eq!(play.kept().await.rows, [], "{name}");
    }
}

#[tokio::test]
async fn a_room_that_is_made_anew_has_nothing_of_the_one_before() {
    let play = Play::new();
    let set = |rules: &mut Rules| rules.set_attributes(&play.user, attribute(&play.room));
    drop(play.shared.rooms.change(&play.app, &play.room, &play.session, set).unwrap());
    drop(play.dismiss().unwrap());
    play.make();
    let rows = play.kept().await.rows;
    assert_eq!(rows.iter().map(|row| &*row.name).collect::<Vec<_>>(), [[0]], "what it is, and no attribute");
}

#[tokio::test]
async fn rows_of_a_room_that_is_over_do_not_keep_a_server_from_starting() {
    let play = Play::new();
    let left = (vec![4, b'k'], Some(vec![1]));
    let (app, over) = (play.app.clone(), RoomId::new("over").unwrap());
    let change = RoomChange { app, room: over, epoch: Epoch(1), rows: vec![left] };
    play.shared.store.write_batch(vec![Write::Room(change)]).await.unwrap();
    let shared = Shared::empty(NOW);
    let kept = play.kept().await;
    drop(shared.rooms.restore(kept, |_| Some(apps::Rooms::default()), shared.moment()).unwrap());
    assert_eq!(shared.rooms.count(), 1);
}

#[tokio::test]
async fn a_repetition_is_answered_no_sooner_than_the_first() {
    let play = Play::new();
    let set = || {
        let set = |rules: &mut Rules| rules.set_attributes(&play.user, attribute(&play.room));
        play.shared.rooms.change(&play.app, &play.room, &play.session, set).unwrap()
    };
    let [mut first, mut again] = [set(), set()].map(|answer| Box::pin(answer.kept()));
    assert!((&mut again).now_or_never().is_none(), "nothing is written yet");
    assert!((&mut first).now_or_never().is_none());
    play.kept().await;
    assert_eq!(again.await.unwrap(), first.await.unwrap());
}
