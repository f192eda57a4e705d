use quail_protocol::{bounded::List, id::UserId, user::Query};
use quail_tests::{Carrier, STRICT, Town, within};

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
