use quail_client::{CallError, Events};
use quail_protocol::{
    Code, Conversation, Epoch, Event, Seq,
    bounded::{List, Text},
    conversation::Mark,
    frame,
    id::UserId,
    session::LoggedIn,
    user::{Feed, FeedPage, ProfileUpdated, Query, Update},
};
use quail_tests::{
    Carrier, FAST, STRICT, Town,
    raw::{self, Raw},
    within,
};

#[tokio::test]
async fn a_profile_is_what_its_user_said_at_login() {
    let town = Town::new().await;
    let (alice, _events) =
        within(town.client(Carrier::Quic, "alice").name("Alice").avatar("https://a.example/a.png").connect())
            .await
            .unwrap();
    let (_bob, _events) = town.connect(Carrier::WebSocket, "bob").await;
    let users = ["bob", "nobody", "alice"].map(|id| UserId::new(id).unwrap());
    let found = alice.call(Query { users: List::new(users.to_vec()).unwrap() }).await.unwrap();
    let found: Vec<_> =
        found.profiles.iter().map(|p| (p.user.as_str(), p.name.as_str(), p.avatar.as_str())).collect();
    assert_eq!(found, [("bob", "", ""), ("alice", "Alice", "https://a.example/a.png")]);
}

#[tokio::test]
async fn a_login_without_a_name_keeps_the_one_before() {
    let town = Town::new().await;
    let named = town.client(Carrier::Quic, "alice").name("Alice");
    within(named.connect()).await.unwrap().0.close().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let query = Query { users: List::new(vec![UserId::new("alice").unwrap()]).unwrap() };
    assert_eq!(alice.call(query).await.unwrap().profiles[0].name.as_str(), "Alice");
}

#[tokio::test]
async fn profiles_do_not_cross_apps() {
    let town = Town::new().await;
    let (_alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let stranger = town.client_of(Carrier::Quic, STRICT, "eve");
    let (eve, _events) = within(stranger.connect()).await.unwrap();
    let query = Query { users: List::new(vec![UserId::new("alice").unwrap()]).unwrap() };
    assert!(eve.call(query).await.unwrap().profiles.is_empty());
}

fn rename(name: &str) -> Update {
    Update { name: Some(Text::new(name).unwrap()), avatar: None, extension: None }
}

async fn next_profile(events: &mut Events) -> ProfileUpdated {
    match within(events.recv()).await {
        Some(Event::ProfileUpdated(updated)) => updated,
        other => panic!("no profile: {other:?}"),
    }
}

#[tokio::test]
async fn a_profile_changes_for_all_and_the_users_other_terminals_are_told() {
    for (left, right) in [(Carrier::Quic, Carrier::WebSocket), (Carrier::WebSocket, Carrier::Quic)] {
        let town = Town::new().await;
        let named = town.client(left, "alice").name("Alice").avatar("a.png");
        let (phone, mut to_phone) = within(named.connect()).await.unwrap();
        let (laptop, mut to_laptop) = town.connect(right, "alice").await;
        let updated = phone.call(rename("Al")).await.unwrap().profile;
        assert_eq!((updated.name.as_str(), updated.avatar.as_str()), ("Al", "a.png"), "the avatar was kept");
        assert_eq!(next_profile(&mut to_laptop).await.profile, updated);
        let (bob, _events) = town.connect(left, "bob").await;
        let query = Query { users: List::new(vec![UserId::new("alice").unwrap()]).unwrap() };
        assert_eq!(bob.call(query).await.unwrap().profiles[0], updated);

        phone.call(rename("Al")).await.unwrap();
        let updated = laptop.call(rename("Ally")).await.unwrap().profile;
        assert_eq!(next_profile(&mut to_phone).await.profile, updated);
        phone.call(rename("Alice")).await.unwrap();
        let told = next_profile(&mut to_laptop).await;
        assert_eq!(told.profile.name.as_str(), "Alice", "what changed nothing was not told");
        let again = town.client(right, "alice").name("A");
        let _again = within(again.connect()).await.unwrap();
        let told_by_login = next_profile(&mut to_laptop).await;
        assert_eq!((told_by_login.profile.name.as_str(), told_by_login.feed), ("A", told.feed.next()));
        town.stop().await;
    }
}

#[tokio::test]
async fn a_feed_tells_a_terminal_that_was_away_what_changed() {
    for carrier in Carrier::ALL {
        let town = Town::new().await;
        let (alice, _events) = within(town.client(carrier, "alice").name("Alice").connect()).await.unwrap();
        alice.peer("bob").unwrap().send("x").await.unwrap();
        let conversation = Conversation::Peer(UserId::new("bob").unwrap());
        let mark = Mark { conversation, epoch: Epoch(1), delivered: Seq(1), read: Seq(1) };
        alice.call(mark).await.unwrap();
        alice.call(rename("Al")).await.unwrap();
        alice.call(rename("Al")).await.unwrap();
        alice.call(rename("Alice")).await.unwrap();
        alice.close().await;

        let (alice, _events) = town.connect(carrier, "alice").await;
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &raw::login(FAST, "alice")).await;
        let logged_in: LoggedIn = frame::decode(&raw.reply(1).await.unwrap()).unwrap();
        assert_eq!(logged_in.feed.seq, Seq(3), "it can tell that it missed something");
        let read = async |after, limit| -> FeedPage {
            within(alice.call(Feed { after: Seq(after), limit })).await.unwrap()
        };
        let page = read(0, 2).await;
        assert_eq!((page.head.seq, page.first, page.next), (Seq(3), Seq(1), Some(Seq(2))));
        let [one, two] = &page.entries[..] else { panic!("{page:?}") };
        assert!(matches!(one.event().unwrap(), Event::ProfileUpdated(told) if told.feed == one.seq));
        assert!(
            matches!(two.event().unwrap(), Event::ProfileUpdated(told) if told.profile.name.as_str() == "Al")
        );
        let page = read(2, 100).await;
        assert_eq!((page.entries.len(), page.next), (1, None));

        let (bob, _events) = town.connect(carrier, "bob").await;
        let none = bob.call(Feed { after: Seq(0), limit: 100 }).await.unwrap();
        assert_eq!((none.head.seq, none.entries.len()), (Seq(0), 0), "a feed is its user's alone");
        for limit in [0, 101] {
            let refused = bob.call(Feed { after: Seq(0), limit }).await;
            assert!(
                matches!(refused, Err(CallError::Reject(reject)) if reject.code == Code::InvalidArgument)
            );
        }
        town.stop().await;
    }
}
